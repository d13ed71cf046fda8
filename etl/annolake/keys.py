"""The fixed-width form of a row's key, shared by paging, decoding and the lake's index.

A queue of millions of rows is remembered by 16 bytes a row, not by Python strings.
"""

import hashlib
import re

KEY_BYTES = 16

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def key_of(queue_run_id: str) -> bytes:
    """Return the 16 bytes that stand for `queue_run_id`.

    A UUID in its canonical lower-case form is its own 16 bytes; any other text is hashed (BLAKE2b, 128 bits),
    so that an id of another form next year costs nothing but a little time.
    """
    if _UUID.fullmatch(queue_run_id):
        return bytes.fromhex(queue_run_id.replace("-", ""))
    return hashlib.blake2b(queue_run_id.encode(), digest_size=KEY_BYTES).digest()
