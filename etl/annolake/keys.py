"""The fixed-width form of a row's key, shared by paging, decoding and the lake's index.

A queue of millions of rows is remembered by 16 bytes a row, not by Python strings. A key of two ids has 16 bytes too.
"""

import hashlib
import re

KEY_BYTES = 16

JOINING = 0x9E3779B97F4A7C15
"""What the key of the ids before is multiplied by, each half of it, before that of the next id is added."""

_HALF = 1 << 64
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def key_of(row_id: str) -> bytes:
    """Return the 16 bytes that stand for `row_id`, such as a queue_run_id.

    A UUID in its canonical lower-case form is its own 16 bytes; any other text is hashed (BLAKE2b, 128 bits),
    so that an id of another form next year costs nothing but a little time.
    """
    if _UUID.fullmatch(row_id):
        return bytes.fromhex(row_id.replace("-", ""))
    return hashlib.blake2b(row_id.encode(), digest_size=KEY_BYTES).digest()


def joint_key_of(*row_ids: str) -> bytes:
    """Return the 16 bytes that stand for several ids together, in their order; of one id those of `key_of`."""
    low = high = 0
    for row_id in row_ids:
        key = key_of(row_id)
        low = (low * JOINING + int.from_bytes(key[:8], "little")) % _HALF
        high = (high * JOINING + int.from_bytes(key[8:], "little")) % _HALF
    return low.to_bytes(8, "little") + high.to_bytes(8, "little")
