"""The ids and names of people that one row has, and their replacement in its other texts.

Owns when a word of a text is taken for one of them: a long id, a name of several words or an address anywhere; a short
one only where it stands alone, in JSON as a whole string, for a number or a field's name may look like it.
"""

import json
import re
from functools import lru_cache

_LONG = 20  # characters of an id that is taken for one wherever it stands
_SHORTEST = 2
_REMEMBERED = 10_000


class Found:
    """What is to be replaced, and by what: an id by its pseudonym, a name by nothing."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._words)

    def add_id(self, person: str, pseudonym: str) -> None:
        """Note an id; a pseudonym stays what it is."""
        if len(person) >= _SHORTEST and person != pseudonym:
            self._words[person] = pseudonym

    def add_name(self, name: object) -> None:
        """Note a name or an address, if it is one."""
        if isinstance(name, str) and len(name.strip()) >= _SHORTEST:
            self._words.setdefault(name.strip(), "")

    def add_all(self, other: "Found") -> None:
        """Note what another one has."""
        self._words.update(other._words)  # noqa: SLF001 - of this class

    def replaced(self, text: str) -> str:
        """Return a plain text, or that of JSON, without them."""
        for word, instead in self._words.items():
            if word in text:
                text = _alone(word).sub(instead, text)
        return text

    def replaced_bytes(self, text: bytes) -> bytes:
        """Return JSON text without them, however their characters are escaped there."""
        for word, instead in self._words.items():
            for spelt in _spellings(word):
                if spelt not in text:
                    continue
                if _stands_anywhere(word):
                    text = text.replace(spelt, instead.encode())
                else:
                    text = text.replace(b'"' + spelt + b'"', b'"' + instead.encode() + b'"')
        return text


def _stands_anywhere(word: str) -> bool:
    return len(word) >= _LONG or " " in word or "@" in word


@lru_cache(_REMEMBERED)
def _alone(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word) if _stands_anywhere(word) else rf"(?<!\w){re.escape(word)}(?!\w)")


@lru_cache(_REMEMBERED)
def _spellings(word: str) -> tuple[bytes, ...]:
    """Return the ways in which JSON writes a text, without the quotes."""
    plain, escaped = (json.dumps(word, ensure_ascii=is_ascii)[1:-1] for is_ascii in (False, True))
    upper = re.sub(r"\\u[0-9a-f]{4}", lambda escape: "\\u" + escape[0][2:].upper(), escaped)
    return tuple(dict.fromkeys(way.encode(errors="surrogatepass") for way in (plain, escaped, upper)))
