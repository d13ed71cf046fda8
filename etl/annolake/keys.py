"""The fixed-width form of a row's key, shared by paging, decoding and the lake's index.

A queue of millions of rows is remembered by 16 bytes a row, not by Python strings. A key of two ids has 16 bytes too.
"""

import hashlib
import re
from collections.abc import Sequence

KEY_BYTES = 16

JOINING = 0x9E3779B97F4A7C15
"""What the key of the ids before is multiplied by, each half of it, before that of the next id is added."""

_HALF = 1 << 64
_UUID_CHARS = 36
_DASHES = (8, 13, 18, 23)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def key_of(row_id: str) -> bytes:
    """Return the 16 bytes that stand for `row_id`, such as a queue_run_id.

    A UUID in its canonical lower-case form is its own 16 bytes; any other text is hashed (BLAKE2b, 128 bits),
    so that an id of another form next year costs nothing but a little time.
    """
    if _UUID.fullmatch(row_id):
        return bytes.fromhex(row_id.replace("-", ""))
    return hashlib.blake2b(row_id.encode(), digest_size=KEY_BYTES).digest()


def keys_of(row_ids: Sequence[str]) -> list[bytes]:
    """Return what `key_of` says of each. Measured, an id: a third of the time, where all are UUIDs."""
    text = "".join(row_ids)
    try:
        spelt = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        spelt = b""
    count = len(row_ids)
    # just as many digits, in lower case, no blanks among them, and dashes where a UUID has them, but nowhere else
    whole = len(spelt) == count * KEY_BYTES and text == text.lower() and set(map(len, row_ids)) <= {_UUID_CHARS}
    if whole and all(text[dash::_UUID_CHARS] == "-" * count for dash in _DASHES):
        return [spelt[start : start + KEY_BYTES] for start in range(0, len(spelt), KEY_BYTES)]
    return [key_of(each) for each in row_ids]


def joint_key_of(*row_ids: str) -> bytes:
    """Return the 16 bytes that stand for several ids together, in their order; of one id those of `key_of`."""
    low = high = 0
    for row_id in row_ids:
        key = key_of(row_id)
        low = (low * JOINING + int.from_bytes(key[:8], "little")) % _HALF
        high = (high * JOINING + int.from_bytes(key[8:], "little")) % _HALF
    return low.to_bytes(8, "little") + high.to_bytes(8, "little")
