"""Taking secrets out of JSON text: signatures of URLs and values of share tokens (docs/guarantees.md#secrets).

Owns what counts as a secret, and how it goes: a URL keeps scheme, host and path and loses user name, password and all
that stands behind the path; a share token's value becomes null. It is the *decoded* text that is looked at, and what
it holds escaped once more (JSON in a text). Only characters are left out, so that everything else stays as it was
sent: numbers, escapes, order, keys that come twice. Text without any of this comes back as it is.

In a text of many words a URL is `scheme://...`, `//host...`, `/path?...` with something like a signature behind it, or
anything followed by `?name=`; a text that is one word, or stands where URLs stand (`urls`), may be a shorter one.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_LITERAL = re.compile(rb"[^,\]}]*+")
_SPACE = b" \t\r\n"

# Most signed URLs: a whole string, nothing escaped. Only for speed: measured, a tenth of the time of looking closely.
_SIGNED = re.compile(rb'"((?:https?:/)?/[\w.:/~%+-]*+)\?\w[^"\\\s]*+"')
# What stands between the strings of JSON has none of these.
_NO_JSON = re.compile(rb"[^\[\]{},: \t\r\n0-9A-Za-z.+\-]")

_GRANTS = frozenset({"sharetoken", "shareurl"})  # members whose value gives access to whoever holds it
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

# In a text of many words: where a URL may begin, who logs in to its host (and not the host's port), and its end, where
# a signature stands. Bounded, so that a hostile text costs time in proportion to its length.
_BEGIN, _BEGIN_OF_PATH = r"(?<![^\s\"'`(<>\[{=,:;|&])", r"(?<![^\s\"'`(<>\[{])"
_TAIL = r"(?:[^\s\"\\]++|(?!\\*+\"[,}\]])\S)*+"  # up to white space, or the end of a string in JSON in a text
_USER = r"[^\s\\/?#]*@|[^\s\\/?#:\[]*+:(?!\d*+(?:[\\/?#\s]|\Z))\S{0,1000}@"
_HOSTED = re.compile(
    rf"{_BEGIN}[\\/]{{2,}}+(?P<user>{_USER})?(?:(?!:[\\/]{{2}})[^\s?#;])*+(?P<tail>[?#;]{_TAIL})?", re.ASCII
)
_PATH = re.compile(
    rf"{_BEGIN_OF_PATH}[\\/](?![\\/])\S{{0,200}}?(?P<tail>(?:[?#;][\w.~%-]++=|\?[\w.~%+/=-]{{12,}}){_TAIL})", re.ASCII
)
_QUERY = re.compile(rf"(?P<tail>\?[\w.~%\[\]-]++={_TAIL})", re.ASCII)
_GRANT = re.compile(
    r"share[_-]?(?:token|url)[\"'\\]*+\s*+[:=][\s\"'\\\[{]*+(?!(?:null|none)\b)(?P<tail>[^\s\"'\\,;&}\])]++)",
    re.ASCII | re.IGNORECASE,
)
_TELLING = re.compile(r"[\w%]")  # an end without any of these ends a sentence, not a URL

# In a text that is a URL as a whole.
_URL = re.compile(r"\s*+(?:[A-Za-z][A-Za-z0-9+.-]*+:)?+[\\/][^?#;]*+", re.ASCII)
_WORD = re.compile(r"\s*+(?P<path>[^\s?#;\"'{}<>]*+)(?P<tail>[?#;]\S*+)\s*+", re.ASCII)
_PARAMETER, _ANY_QUERY = re.compile(r"[?#;][\w.~%-]++=", re.ASCII), re.compile(r"\?(?=[\w%])", re.ASCII)
_MEDIA_TYPE = re.compile(
    r"\s*+(?:data:)?(?:application|audio|font|image|message|model|multipart|text|video)/", re.IGNORECASE
)

Cut = tuple[int, int]


def scrubbed(text: bytes, *, urls: bool = False) -> bytes:
    """Return JSON text, or what should have been some, without secrets; `urls`: its strings are known to be URLs."""
    if not suspect(text) or not suspect(text := _SIGNED.sub(rb'"\1"', text)):
        return text
    kept, at = [], 0
    while string := _STRING.search(text, at):
        kept.append(_without_secrets_between(text[at : string.start()]))
        at = string.end()
        colon = _COLON.match(text, at)
        if colon and _is_grant(string.group()):
            at = _end_of_value(text, colon.end())
            kept += [string.group(), colon.group(), b"null"]
        else:
            kept.append(b'"' + _without_secrets(string.group()[1:-1], escaped=True, urls=urls and not colon) + b'"')
    kept.append(_without_secrets_between(text[at:]))
    return b"".join(kept)


def suspect(text: bytes) -> bool:
    """Return whether there can be a secret in a text.

    Measured, a row of 2.7 kB: 3 us, and 40 us with one regular expression.
    """
    signs = b"?" in text or b"#" in text or b";" in text or b"@" in text
    escapes = b"\\" in text and b"\\u" in text  # to look for one character takes a tenth of the time
    return signs or escapes or b"share" in text.lower()


def scrubbed_words(text: str) -> str:
    """Return a text that is no JSON without secrets."""
    return _without_secrets(text.encode(), escaped=False, urls=False).decode(errors="replace")


def _without_secrets_between(text: bytes) -> bytes:
    """Return what stands between two strings; of text that is no JSON it is words."""
    return _without_secrets(text, escaped=False, urls=False) if _NO_JSON.search(text) else text


def _is_grant(name: bytes) -> bool:
    if not suspect(name):
        return False
    plain = _Layer(name[1:-1].decode("latin-1")).within().text.lower()
    return re.sub(r"[_\-\s]", "", plain) in _GRANTS


def _end_of_value(text: bytes, at: int) -> int:
    """Return where the value that begins at `at` ends; of one that is cut off, the end of all."""
    if text[at : at + 1] not in (b"[", b"{", b'"'):
        literal = _LITERAL.match(text, at)
        return at + len(literal.group().rstrip(_SPACE)) if literal else at
    depth = 0
    for token in _TOKEN.finditer(text, at):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    return len(text)


def _without_secrets(raw: bytes, *, escaped: bool, urls: bool) -> bytes:
    """Return a string's text without secrets, looked for in it as it reads and as what it escapes would read."""
    if not suspect(raw):
        return raw
    layer = _Layer(raw.decode("latin-1"))  # so that a character is a byte, whatever it is a part of
    cuts: list[Cut] = [] if escaped and "\\" in layer.text else list(_secrets(layer.text, urls=urls))
    while "\\" in layer.text:
        inner = layer.within()
        if len(inner.text) == len(layer.text):
            break
        layer = inner
        cuts += [(layer.outside(start), layer.outside(end)) for start, end in _secrets(layer.text, urls=urls)]
    return _cut(raw, cuts)


def _cut(raw: bytes, cuts: list[Cut]) -> bytes:
    if not cuts:
        return raw
    kept, at = [], 0
    for start, end in sorted(cuts):
        kept.append(raw[at : max(at, start)])
        at = max(at, end)
    return b"".join([*kept, raw[at:]])


class _Layer:
    """A text, and where in the bytes that it was read from each of its characters begins."""

    def __init__(self, text: str, outer: "_Layer | None" = None) -> None:
        self.text = text
        self._outer = outer
        self._places: list[int] = []  # of characters that were escaped
        self._longer: list[int] = [0]  # by how much the text before each of them, and behind all, is longer outside

    def within(self) -> "_Layer":
        """Return the text with its escapes read; one that is none stands for what is escaped."""
        inner = _Layer("", self)
        pieces, at, length, longer = [], 0, 0, []
        for escape in _ESCAPE.finditer(self.text):
            code, char = escape.groups()
            length += escape.start() - at
            inner._places.append(length)
            longer.append(len(escape.group()) - 1)
            pieces += [self.text[at : escape.start()], chr(int(code, 16)) if code else _CONTROLS.get(char, char)]
            at, length = escape.end(), length + 1
        inner.text = "".join([*pieces, self.text[at:]])
        inner._longer = list(accumulate(longer, initial=0))
        return inner

    def outside(self, place: int) -> int:
        """Return where the character at `place` begins in the bytes."""
        if self._outer is None:
            return place
        return self._outer.outside(place + self._longer[bisect_left(self._places, place)])


def _secrets(text: str, *, urls: bool) -> Iterator[Cut]:
    """Yield what is secret in a text; some of it may be yielded twice."""
    for found in _HOSTED.finditer(text):
        if found["user"]:
            yield found.span("user")
        if found["tail"] and _TELLING.search(found["tail"]):
            yield found.span("tail")
    for pattern in (_PATH, _QUERY, _GRANT):
        for found in pattern.finditer(text):
            yield found.span("tail")
    if url := _URL.match(text) if urls else None:
        yield url.end(), len(text) if _TELLING.search(text, url.end()) else url.end()
    elif word := _WORD.fullmatch(text):
        yield from _secrets_of_word(word, urls=urls)


def _secrets_of_word(word: re.Match[str], *, urls: bool) -> Iterator[Cut]:
    """Yield what is secret in a text that is one word, and perhaps a relative URL."""
    path, tail = word["path"], word["tail"]
    if path.startswith(("/", "\\")):
        if _TELLING.search(tail):
            yield word.span("tail")
    elif not _MEDIA_TYPE.match(path):
        begins = [_PARAMETER.search(tail)] if urls or "/" in path else []
        begins += [_ANY_QUERY.search(tail)] if urls else []
        for begin in begins:
            if begin:
                yield word.start("tail") + begin.start(), word.end("tail")
