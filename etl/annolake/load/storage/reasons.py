"""What a system's error number means to an operator, in words."""

import errno
import os

_ADVICE = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space and run again",
    errno.EFBIG: "free some space and run again",
    errno.EROFS: "make it writable and run again",
    errno.EACCES: "make it writable for this user and run again",
    errno.EPERM: "make it writable for this user and run again",
    errno.ENOTDIR: "a file is where a folder should be, move it away",
    errno.EEXIST: "a file is where a folder should be, move it away",
    errno.EISDIR: "a folder is where a file should be, move it away",
}

DAMAGED = "it is damaged, cut off or not written by annolake; restore it or move it away, then run again"


def reason(exc: OSError) -> str:
    """Put the reason into words without the foreign message, which may quote what is in a file."""
    if exc.errno is None:  # pyarrow's own, of a file that it can't make sense of
        return DAMAGED
    return f"{os.strerror(exc.errno)}; {_ADVICE.get(exc.errno, 'fix that and run again')}"
