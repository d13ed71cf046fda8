"""Text from elsewhere, fit to be shown: nothing in it moves a cursor, ends a line or turns the direction of reading.

Owns what is escaped on its way to a terminal, into a log of text and into a message.
"""

import json
import unicodedata
from typing import Any

import msgspec

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, formats (directions among them), surrogates, line ends
_JOINERS = "\u200c\u200d"  # formats that letters and emoji are made with


def printable(text: str) -> str:
    """Return a text with each character that is not seen but does something written as Python writes it."""
    return text if text.isprintable() else text.translate({ord(c): _escaped(c) for c in {*text} if _acts(c)})


def is_utf8(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: the name of a file, or an argument, need not be in it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def printable_lines(text: str) -> str:
    """Do so for a text whose line ends are annolake's own."""
    return "\n".join(map(printable, text.split("\n")))


def counted(number: int, what: str) -> str:
    """Return a number of things in words: "1 row", "2,000 rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def json_line(value: Any) -> str:
    """Return a value as one line of JSON, exact, in which such characters are escaped as JSON escapes them."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
    return text if text.isprintable() else text.translate({ord(c): json.dumps(c)[1:-1] for c in {*text} if _acts(c)})


def _acts(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
