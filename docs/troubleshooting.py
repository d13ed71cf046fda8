"""The page docs/troubleshooting.md: each message that annolake can print, with its cause and what to do.

Owns its form. The messages are found in the code (messages.py), what is said of each stands in messages.toml. A message
without an entry there is an error, and so is an entry without a message.
"""  # noqa: INP001 - a script's module, no package

import runpy
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_ENTRIES = Path(__file__).with_name("messages.toml")

_FOUND = runpy.run_path(str(Path(__file__).with_name("messages.py")))
PARTIAL, PART, FINDING, EVENT = (_FOUND[kind] for kind in ("PARTIAL", "PART", "FINDING", "EVENT"))

_SECTIONS = {
    "2": (
        "Exit code 2: the command line or the settings",
        "Nothing was exported, or nothing of a queue whose worker says so. Correct it, and run again.",
    ),
    PARTIAL: (
        "Exit code 3: something is missing",
        "The export finished, and says what is missing. The rows that were met are in the lake.",
    ),
    "4": ("Exit code 4: the service", "What the lake has stays as it is. The next export brings what is missing."),
    "5": ("Exit code 5: the lake", "An export stops rather than guess. No file that is in doubt is replaced."),
    "6": ("Exit code 6: a lock", "Another export has the queue, which this one skipped."),
    "130": ("Exit codes 130 and 143: interrupted", "The export ended in good order. It can be run again at once."),
    FINDING: ("What `annolake verify` finds", "Each finding stands behind the path of a file or folder."),
    EVENT: (
        "Events of the log",
        "Named behind `event=`, or under `event` in JSON, with its facts. `--quiet` leaves those of level info out.",
    ),
}

_BUG = """\
## Exit code 1: a bug

`` a bug (…): report it with the traceback ``, `` this is a bug; please report it with the lines above ``

annolake met an error that it did not foresee. Other queues were exported; this one is as it was. Report it with the
traceback, which holds no row, and with `annolake --version`."""

_INTRO = """\
Search this page for the words of a message; `…` stands for what is filled in. A message is on standard error, in the
report (`error`, `incomplete_because`, `because`), and in what `annolake status` says the next morning. Most of them say
what to do; here is what is behind them. `annolake check` asks service and lake the same as an export within seconds.
[operating.md](operating.md#exit-codes) says what an exit code asks for."""


def stale(messages: Iterable[Any]) -> tuple[list[str], list[str]]:
    """Return the messages without an entry, and the entries without a message, each with its section."""
    there = {(message.kind, message.text) for message in messages}
    written = set()
    for topic in _topics():
        for text in (text for entry in topic["entry"] for text in entry["messages"]):
            kinds = [kind for kind in (topic["section"], PART) if (kind, text) in there]
            written |= {(kind, text) for kind in kinds or [topic["section"]]}
    tell = "{0[0]}: {0[1]}".format
    return sorted(map(tell, there - written)), sorted(map(tell, written - there))


def complaint() -> str | None:
    """Return in which messages code and messages.toml differ, None where they agree."""
    messages, unread = _FOUND["found"]()
    missing, gone = stale(messages)
    told = {
        "docs/messages.toml has no entry for": missing,
        "docs/messages.toml has entries that are no longer in the code": gone,
        "the text of an error is not to be read where it is made": unread,
    }
    return "\n".join(f"{what}:\n  " + "\n  ".join(which) for what, which in told.items() if which) or None


def page_parts() -> Iterator[str]:
    """Yield the parts of the page."""
    messages, _ = _FOUND["found"]()
    yield _INTRO
    for section, (title, about) in _SECTIONS.items():
        yield f"## {title}\n\n{about}"
        yield from (part for topic in _topics() if topic["section"] == section for part in _of_topic(topic, messages))
    yield _BUG


def _of_topic(topic: Mapping[str, Any], messages: Iterable[Any]) -> Iterator[str]:
    yield f"### {topic['title']}"
    if "about" in topic:
        yield topic["about"]
    for entry in topic["entry"]:
        shown = [_shown(text, topic["section"], messages) for text in entry["messages"]]
        yield "\n".join([*(f"- {each}" for each in shown), "", f"{entry['cause']} **What to do:** {entry['todo']}"])


def _shown(text: str, section: str, messages: Iterable[Any]) -> str:
    code = f"`` {text} ``" if "`" in text else f"`{text}`"
    if section != EVENT:
        return code
    levels = {message.level for message in messages if (message.kind, message.text) == (EVENT, text)}
    facts = dict.fromkeys(fact for message in messages if message.text == text for fact in message.facts)
    return f"{code} ({' or '.join(sorted(levels))}){': ' if facts else ''}{', '.join(f'`{fact}`' for fact in facts)}"


def _topics() -> list[dict[str, Any]]:
    topics: list[dict[str, Any]] = tomllib.loads(_ENTRIES.read_text())["topic"]
    return topics
