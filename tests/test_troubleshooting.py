"""docs/troubleshooting.md has every message that the code can print, and what was printed is found there."""

import re
import runpy
from pathlib import Path

import pytest

from annolake.load.storage.reasons import DAMAGED
from exporting import annolake

ROOT = Path(__file__).parents[1]
DOCS, PACKAGE = ROOT / "docs", ROOT / "etl/annolake"

PAGE = runpy.run_path(str(DOCS / "troubleshooting.py"))
MESSAGES = PAGE["_FOUND"]

FOUND, UNREAD = MESSAGES["found"]()


def texts_of(kind: str) -> list[str]:
    """Return the page's messages of one kind."""
    return [message.text for message in FOUND if message.kind == kind]


def fits(said: str, text: str) -> bool:
    """Tell whether a printed message is the one of the page, with something filled in."""
    return re.fullmatch(".*?".join(map(re.escape, text.split("…"))), said) is not None


def test_each_message_has_an_entry_and_each_entry_a_message() -> None:
    """None is missing, none is stale, and none is made in a way that cannot be read."""
    assert PAGE["complaint"]() is None
    assert UNREAD == []
    assert len(FOUND) > 200


def test_a_message_without_an_entry_is_told_and_so_is_one_that_is_gone() -> None:
    """The texts are those to be copied into messages.toml, or to be searched there."""
    lock = next(message for message in FOUND if message.kind == "6")
    changed = [*(message for message in FOUND if message != lock), MESSAGES["Message"]("5", "cannot do … by …")]

    assert PAGE["stale"](changed) == (["5: cannot do … by …"], [f"6: {lock.text}"])


WAYS = '''
from annolake.errors import LakeError, LockedError
from annolake.load.storage.reasons import DAMAGED
_WHY = "a reason of the module"

class OtherError(LakeError):
    """Another one."""

def worded(path):
    return f"cannot word {path}"

def fail(path, log, kind, more):
    if path:
        raise LakeError(f"cannot read {path!r}: {_WHY}") from None
    why = "one thing" if path else f"another of {path}"
    kind = LakeError if path else LockedError
    log.warning("told", why=why, **more)
    raise OtherError("in two " "parts: " + why)
    raise kind(worded(path))
    raise (LakeError if path else LockedError)(f"cannot: {DAMAGED}")
    raise LakeError(more["message"])
'''


def test_messages_are_found_however_they_are_made() -> None:
    """Literals, constants of this module and of others, conditions, functions; what cannot be read is told."""
    read = MESSAGES["_read"]
    reasons = read("annolake.load.storage.reasons", (PACKAGE / "load/storage/reasons.py").read_text())
    modules = {module.name: module for module in (read("annolake.ways", WAYS), reasons)}
    finder = MESSAGES["_Finder"](modules["annolake.ways"], modules, MESSAGES["_error_classes"](modules.values()))

    assert {(each.kind, each.text, each.level, each.facts) for each in finder.found()} == {
        ("5", "cannot read …: a reason of the module", "", ()),
        ("5", "in two parts: one thing", "", ()),
        ("5", "in two parts: another of …", "", ()),
        ("5", "cannot word …", "", ()),
        ("5", f"cannot: {DAMAGED}", "", ()),
        ("event", "told", "warning", ("why",)),
    }
    assert finder.unread == ["annolake.ways: LakeError(more['message'])"]


@pytest.mark.parametrize(
    ("command", "settings", "exit_code"),
    [
        ("run", None, 2),
        ("run", "[source]\nqueues = 'all'\npage_size = 0", 2),
        ("run", "[source]\nqueue = 'all'", 2),
        ("run", "[source", 2),
        ("run", "[source]\nqueues = 'all'\n[lake]\npath = 'there'", 2),
        ("run --on dask:/host", "[source]\nqueues = 'all'\n[lake]\npath = 'there'", 2),
        ("run --quite", "", 2),
        ("verify", "[lake]\npath = 'nowhere'", 5),
        ("unlock 00000000-0000-4000-8000-000000000000", "[lake]\npath = 'annolake.toml'", 5),
    ],
)
def test_what_is_printed_is_on_the_page(command: str, settings: str | None, exit_code: int, tmp_path: Path) -> None:
    """Each line of an error fits a message of its exit code."""
    if settings is not None:
        (tmp_path / "annolake.toml").write_text(settings)
    ran = annolake(*command.split(), cwd=tmp_path, environ={"LANGSMITH_API_KEY": ""})
    said = [re.sub(r"^annolake( run)?: (error: )?", "", line) for line in ran.err.splitlines() if "annolake" in line]
    texts = texts_of(str(exit_code))

    assert ran.exit_code == exit_code, ran.err
    assert said
    for line in [line for line in said if not line.startswith("usage")]:
        assert [text for text in texts if fits(line, text)], line
