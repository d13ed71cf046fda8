"""Rows of a model, and the plainest memory of those met."""

from collections.abc import Sequence


def key(number: int) -> bytes:
    """Return the key of a model row."""
    return number.to_bytes(16, "big")


class PlainSeenKeys:
    """The plainest thing that does what `readings.SeenKeys` asks."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}

    def meet(self, keys: Sequence[bytes], number: int) -> list[int]:
        """See `readings.SeenKeys`."""
        earlier = [self.numbers.get(one, 0) for one in keys]
        self.numbers.update(dict.fromkeys(keys, number))
        return earlier
