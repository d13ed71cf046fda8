"""What stands in the lake for the id of a person: a keyed hash, the same wherever and whenever the id is met.

Owns its form, by which a pseudonym of the same key is known again, so that none is made of one. The key is shown
nowhere and never travels.
"""

import hashlib
import hmac
from typing import NoReturn

PREFIX = "pn_"

_BODY, _CHECK = 32, 8  # hexadecimal digits
_LENGTH = len(PREFIX) + _BODY + _CHECK
_MOST_REMEMBERED = 10_000


class Pseudonyms:
    """Pseudonyms by HMAC-SHA256 with one key. `check` tells two keys apart and tells nothing of them."""

    __slots__ = ("_key", "_known", "check")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}
        self.check = self._digest(b"check", b"")[:16]

    def of(self, person: str) -> str:
        """Return the pseudonym of an id; of a pseudonym of this key that one itself."""
        found = self._known.get(person)
        if found is None:
            found = person if self.is_one(person) else self._made(person)
            if len(self._known) < _MOST_REMEMBERED:
                self._known[person] = found
        return found

    def is_one(self, text: str) -> bool:
        """Tell whether a text is a pseudonym that was made with this key."""
        if len(text) != _LENGTH or not text.startswith(PREFIX):
            return False
        body, check = text[len(PREFIX) : -_CHECK], text[-_CHECK:]
        return hmac.compare_digest(
            self._digest(b"made", body.encode(errors="replace"))[:_CHECK].encode(), check.encode(errors="replace")
        )

    def _made(self, person: str) -> str:
        body = self._digest(b"id", person.encode(errors="surrogatepass"))[:_BODY]
        return f"{PREFIX}{body}{self._digest(b'made', body.encode())[:_CHECK]}"

    def _digest(self, purpose: bytes, content: bytes) -> str:
        return hmac.new(self._key, purpose + b"\0" + content, hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return "Pseudonyms(<key>)"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("the key of pseudonyms cannot be copied or pickled")
