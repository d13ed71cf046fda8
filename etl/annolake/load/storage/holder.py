"""How the holder of a lock is named to those who want it too."""

import os
import socket
from datetime import datetime

UNKNOWN = "an unknown process"


def holder_name(since: datetime) -> str:
    """Return what tells people which process it is ("pid 12 on host a since 2026-11-20T08:00:00+00:00").

    To the microsecond: by its start an export knows a lock that an earlier attempt of its own has.
    """
    return f"pid {os.getpid()} on host {socket.gethostname()} since {since.isoformat()}"
