"""Whether a list grows as fast as it is read (docs/paging.md#the-end-of-a-list)."""


class Growth:
    """Short slices in a row, each with new rows, beyond the list's reported size.

    So may the slices of a service that cuts them. What lies a little ahead tells: nothing, where the list grows; then
    it is followed so far and no further, for what came later was not there when the reading began.
    """

    _IN_A_ROW = 2
    _ROWS = 10  # for each row that the last slice brought

    def __init__(self) -> None:
        self._shorts = 0
        self._patience = self._IN_A_ROW
        self._brought = 0
        self._left: int | None = None  # rows to follow

    def saw(self, new: int, *, met: int, short: bool, beyond: bool) -> bool:
        """Note a slice with `new` rows behind the frontier, `met` of its rows for the first time in this reading.

        Tells whether the list has been followed far enough: a reading that went back brings rows that do not count.
        """
        self._shorts = self._shorts + 1 if new and short and beyond else 0
        self._brought = new
        if self._left is not None:
            self._left -= met
        return bool(new) and short and self._left is not None and self._left <= 0

    @property
    def suspected(self) -> bool:
        """Tell whether it is time to look ahead."""
        return self._shorts > self._patience and self._left is None

    @property
    def ahead(self) -> int:
        """How many rows behind the end nothing may be shown."""
        return max(1, self._brought) * self._ROWS

    def looked(self, *, clear: bool) -> None:
        """Note whether nothing was shown there."""
        if clear:
            self._left = self.ahead
        self._shorts, self._patience = 0, self._patience * 2
