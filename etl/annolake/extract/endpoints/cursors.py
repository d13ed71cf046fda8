"""What endpoints with a cursor have in common: a cursor goes into the URL, and a URL has an end."""

from annolake.errors import UnavailableError

MOST_CURSOR = 4_096


def require_short(cursor: str | None, *, title: str, endpoint: str) -> None:
    """Raise UnavailableError where a cursor is too long for a URL; `title` names what it is a cursor of."""
    if cursor is not None and len(cursor) > MOST_CURSOR:
        raise UnavailableError(
            f"{title} has a cursor of {len(cursor):,} characters, too long for a URL: "
            "run again later, or report it to whoever runs the service",
            status=200,
            endpoint=endpoint,
            attempts=1,
        )
