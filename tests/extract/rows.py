"""Rows of a model, and the plainest memory of those met."""

from collections.abc import Sequence


def key(number: int) -> bytes:
    """Return the key of a model row."""
    return number.to_bytes(16, "big")


class PlainSeenKeys:
    """The plainest thing that does what `readings.SeenKeys` asks."""

    def __init__(self) -> None:
        self.readings: dict[bytes, int] = {}

    def meet(self, keys: Sequence[bytes], reading: int) -> tuple[list[int], list[int]]:
        """See `readings.SeenKeys`; a row's number is that of its key."""
        earlier = [self.readings.get(one, 0) for one in keys]
        self.readings.update(dict.fromkeys(keys, reading))
        return earlier, [int.from_bytes(one, "big") for one in keys]
