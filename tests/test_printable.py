"""Text from elsewhere does nothing where it is shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.printable import json_line, printable, printable_lines

ACTING = "\x00\x1b\r\n\x7f\x9b\u00ad\u202e\u2028\ud800"


@pytest.mark.parametrize("text", ["", "plain", "訳文 é", "👩\u200d💻", "नी\u200cम", "a\u00a0b"])
def test_what_is_seen_is_shown_as_it_is(text: str) -> None:
    """Letters of every script, and the joiners that some are made with."""
    assert printable(text) == text


@pytest.mark.parametrize("character", ACTING)
def test_what_acts_is_written_as_python_writes_it(character: str) -> None:
    """In the middle of a text, too."""
    assert printable(f"a{character}é") == f"a{character.encode('unicode_escape').decode()}é"


def test_line_ends_of_annolake_s_own_stay() -> None:
    """Each line is made fit by itself."""
    assert printable_lines("one\n\x1btwo\r\n") == "one\n\\x1btwo\\r\n"


@given(st.text(st.characters()))
def test_json_is_one_line_and_exact(text: str) -> None:
    """A parser reads what was written, and no character in it acts."""
    line = json_line({"name": text})

    assert json.loads(line) == {"name": text}
    assert printable(line) == line
