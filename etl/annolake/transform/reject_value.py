"""What a reject is about, taken out of its row's text: the value that does not fit, and other members.

Owns what a reject's path means (docs/lake.md#rejects); `decode` and `join` write it. A row's text may be megabytes and
no JSON at all: it is cut without parsing it, and what cannot be found is None. Raises nothing.
"""

import json
import re
from typing import Any

from annolake.transform.json_cut import members, split_array
from annolake.transform.secrets import scrubbed

SHOWN = 80
"""Characters of a value that are shown."""

_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>[0-9]{1,9})\]|(?P<some>\[\.\.\.\])")
OF_RUN = re.compile(r"\A\$\.run(?![^.\[])")
"""Begins the path of a reject over items that is its run's: then its text is, too."""


class RejectedRow:
    """The text of a rejected row: over items that of the item, or of its run where the path begins with `$.run`."""

    def __init__(self, text: str) -> None:
        self._text = text.encode(errors="backslashreplace").strip()
        self._members = _members(self._text)

    def text_of(self, name: str) -> str | None:
        """Return a member that is a text, None where there is none."""
        try:
            value: Any = json.loads(self._members.get(name, b"null"))
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, str) else None

    def shown(self, path: str) -> str | None:
        """Return the JSON text of the value at a path, without secrets and cut after `SHOWN` characters.

        None where the row has no such value: a field that is missing.
        """
        value = self._at(path)
        if value is None:
            return None
        text = scrubbed(value).decode(errors="backslashreplace")
        return text if len(text) <= SHOWN else text[:SHOWN] + "..."

    def _at(self, path: str) -> bytes | None:
        if "run" not in self._members:
            path = OF_RUN.sub("$", path)
        if path == "$":
            return self._text
        for name, value in self._members.items():  # a name that the contract does not know may hold anything
            if path == f"$.{name.encode('ascii', 'backslashreplace').decode()[:100]}":
                return value
        if not path.startswith("$"):
            return None
        try:
            return _walked(self._text, path[1:])
        except (ValueError, IndexError, KeyError):
            return None


def _walked(value: bytes, steps: str) -> bytes:
    """Follow the steps from a value; up to `[...]`, which stands for a key that is not named."""
    at = 0
    while at < len(steps):
        step = _STEP.match(steps, at)
        if step is None:
            raise ValueError("not a path")
        if step["some"]:
            break
        value = _members(value)[step["name"]] if step["name"] else split_array(value)[int(step["index"])]
        at = step.end()
    return value


def _members(text: bytes) -> dict[str, bytes]:
    """Return an object's members by name, the last of two that are alike; none where it is no object."""
    try:
        return {name: bytes(value) for name, value in members(text).items()}
    except ValueError:
        return {}
