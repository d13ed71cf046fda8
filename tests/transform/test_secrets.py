"""Secrets in JSON text: however they are written, none is left, and nothing else changes."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annolake.transform.secrets import scrubbed, scrubbed_words

SECRET = "5ecret5ignature"

CLEANED = [
    (rb'{"ROOT": {"presigned_url": "https://h/p?X-Sig=1&a=b"}}', rb'{"ROOT": {"presigned_url": "https://h/p"}}'),
    (rb'"https:\/\/h\/p?sig=1\u0026b=2"', rb'"https:\/\/h\/p"'),
    (rb'"https\u003a\u002f\u002fh\u002Fp\u003fsig=1"', rb'"https\u003a\u002f\u002fh\u002Fp"'),
    (rb'"https://h/p\u003Fsig=\"1\""', rb'"https://h/p"'),
    (rb'["look at https://h/p?sig=1 then", "why?"]', rb'["look at https://h/p then", "why?"]'),
    (rb'"s3://bucket/key?versionId=1"', rb'"s3://bucket/key"'),
    (rb'"HTTPS://h?a"', rb'"HTTPS://h"'),
    (rb'{"https://h/?sig=1": "what? https: //x"}', rb'{"https://h/": "what? https: //x"}'),
    (rb'"https://h/p#frag"', rb'"https://h/p"'),
    (rb'"https://h/p;v=1;sig=2?a"', rb'"https://h/p"'),
    (rb'"https://user:pw@h:8080/p@x"', rb'"https://h:8080/p@x"'),
    (rb'"https://user:p/w?@h/p"', rb'"https://h/p"'),
    (rb'"https://proxy/https://user:pw@h/p"', rb'"https://proxy/https://h/p"'),
    (rb'"/api/v1/public/download?jwt=a.b.c"', rb'"/api/v1/public/download"'),
    (rb'"GET /api/v1/public/download?jwt=a.b.c failed"', rb'"GET /api/v1/public/download failed"'),
    (rb'"/download;sig=1"', rb'"/download"'),
    (rb'"/download#1"', rb'"/download"'),
    (rb'"public/download;sig=1"', rb'"public/download"'),
    (rb'"download?jwt=1"', rb'"download"'),
    (rb'"//h/p?1"', rb'"//h/p"'),
    (rb'"\\\\h\\p?1"', rb'"\\\\h\\p"'),
    (
        rb'{"a": "{\"u\":\"https:\\/\\/h\\/p\\u003fsig=1\",\"n\":1}"}',
        rb'{"a": "{\"u\":\"https:\\/\\/h\\/p\",\"n\":1}"}',
    ),
    (rb'{"share_token": ["a", {"b": "]"}], "n": 1.10}', rb'{"share_token": null, "n": 1.10}'),
    (rb'{"share\u005ftoken" : {"a": "}"} , "n": 1}', rb'{"share\u005ftoken" : null , "n": 1}'),
    (rb'[{"share_token":1e5},{"shareToken":true}]', rb'[{"share_token":null},{"shareToken":null}]'),
    (rb'{"share_url": "https://h/public/1/r"}', rb'{"share_url": null}'),
    (rb'"{\"share_token\": \"1\", \"n\": 2}"', rb'"{\"share_token\": \"\", \"n\": 2}"'),
    (rb'{"share_token": ["cut off', rb'{"share_token": null'),
    (rb'{"a": https://h/p?sig=1}', rb'{"a": https://h/p'),
    (b'"\xff https://h/p?sig=1 \\ud800"', b'"\xff https://h/p \\ud800"'),
]


@pytest.mark.parametrize(("sent", "kept"), CLEANED)
def test_secrets_go_and_nothing_else(sent: bytes, kept: bytes) -> None:
    """What gives access goes, however JSON writes it; the path and all other text stay as sent."""
    assert scrubbed(sent) == kept
    assert scrubbed(kept) == kept


KEPT = [
    rb'["why?", "he/she?!", "a ? b : c", "and/or?", "C# or F#; both", "50% // a comment; see #3", "x?"]',
    rb'"text/plain;charset=utf-8"',
    rb'"data:text/plain;charset=utf-8,hello"',
    rb'["c: \\Users\\x;D:\\y", "a=1;b=2", "id=1; path=/; domain=x", "/^https?:\\/\\//", "me@example.com"]',
    rb'{"attachment.report #2?.pdf": {"size": 3, "mime_type": "application/json; charset=utf-8"}}',
    rb'["https://h/p", "see https://h/p?", "(https://h/p;)", "https://[::1]:80/p", "/a/b", "//h/p"]',
    rb'[1.10, 1E-7, -0.0, {"b": 1, "a": 2, "b": "\ud800 \u00e9 \/"}, "share this: token", "shared?"]',
]


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_a_little_like_it_stays(text: bytes) -> None:
    """Prose, code, media types, names of files and numbers are no URLs with something behind their path."""
    assert scrubbed(text) == text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb'{"ROOT": {"presigned_url": "download?1"}}', rb'{"ROOT": {"presigned_url": "download"}}'),
        (rb'"download;sig=1"', rb'"download"'),
        (rb'"https://h/p?sig=1 2\n3"', rb'"https://h/p"'),
        (rb'"/p;1 2"', rb'"/p"'),
    ],
)
def test_where_urls_stand_shorter_ones_are_found(sent: bytes, kept: bytes) -> None:
    """In a column of URLs a text is one, whatever it looks like."""
    assert scrubbed(sent, urls=True) == kept


def test_words_that_are_no_json_are_cleaned_too() -> None:
    """A path in a message may hold a name that is a URL."""
    assert scrubbed_words("$.https://h/p?sig=1") == "$.https://h/p"
    assert scrubbed_words("$.ü\ud800".encode(errors="replace").decode()) == "$.ü?"


# --- random documents

PLAIN = st.text(st.characters(exclude_characters="/\\?#;@:=", exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: "share" not in text.lower()  # else it can be the name of what grants access
)
LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from([1.5, -0.0, 1e300]) | PLAIN
LINKS = [
    f"https://host/a/b?X-Amz-Signature={SECRET}",
    f"https://host/a/b?{SECRET}",
    f"HTTPS://host:443?sig={SECRET}&x=1",
    f"/api/v1/public/download?jwt={SECRET}",
    f"/api/v1/public/download?{SECRET}",
    f"api/v1/public/download?jwt={SECRET}",
    f"//host/a/b?{SECRET}",
    f"//user:{SECRET}@host/a/b",
    f"https://user:{SECRET}@host/a",
    f"https://{SECRET}@host",
    f"https://host/a#sig={SECRET}",
    f"https://host/a#{SECRET}",
    f"/a/b#sig={SECRET}",
    f"https://host/a;sig={SECRET}",
    f"https://host/a;{SECRET}/b",
    f"//host/a;{SECRET}",
    f"/a;sig={SECRET}",
    f"s3://bucket/key?x=y&token={SECRET}",
    f"\\\\host\\a?{SECRET}",
]
GRANTS = ["share_token", "share_url", "shareToken", "Share-Token", "SHARE_URL"]


class Planted:
    """Writes a JSON document in a drawn spelling of each of its characters."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def text(self, value: Any) -> bytes:
        """Return the JSON text of a value."""
        return "".join(self._pieces(value)).encode("utf-8", "surrogatepass")

    def _pieces(self, value: Any) -> Iterator[str]:
        space = self._rng.choice(["", "", " ", "\n\t"])
        if isinstance(value, str):
            escapes = self._rng.choice([0.0, 0.1, 1.0])
            yield '"' + "".join(self._char(char, escapes) for char in value) + '"'
        elif isinstance(value, list):
            yield "[" + f"{space},".join("".join(self._pieces(inside)) for inside in value) + "]"
        elif isinstance(value, tuple):  # of pairs: an object whose keys may come twice
            members = ("".join([*self._pieces(key), ":", space, *self._pieces(inside)]) for key, inside in value)
            yield "{" + space + f",{space}".join(members) + "}"
        else:
            yield json.dumps(value)

    def _char(self, char: str, escapes: float) -> str:
        if ord(char) > 0xFFFF:
            return char
        if self._rng.random() < escapes:
            code = f"{ord(char):04x}"
            return "\\/" if char == "/" and self._rng.random() < 0.5 else "\\u" + self._rng.choice([code, code.upper()])
        return json.dumps(char)[1:-1] if char in '"\\' or char < " " else char


@st.composite
def planted(draw: st.DrawFn) -> Any:
    """Draw a document with secrets in its texts and keys, at any depth, in words and in JSON in a text."""
    link = st.sampled_from(LINKS)
    whole = link | st.builds(lambda one, other: f"see {one} and {other} (twice)", link, link)
    nested = st.builds(lambda one: json.dumps({"url": one, "n": [1]}).replace("/", "\\/"), link)
    texts = whole | nested | st.builds(json.dumps, nested)
    grant = st.tuples(st.sampled_from(GRANTS), st.sampled_from([SECRET, [SECRET, [SECRET]], ((SECRET, SECRET),)]))
    members = st.tuples(PLAIN | link, LEAVES | texts) | grant
    return draw(
        st.recursive(
            LEAVES | texts,
            lambda inside: (
                st.lists(inside, max_size=4)
                | st.lists(members | st.tuples(PLAIN | link, inside), max_size=4).map(tuple)
            ),
            max_leaves=10,
        )
    )


@given(planted(), st.integers(0, 10**6), st.booleans())
def test_no_planted_secret_survives(document: Any, seed: int, urls: bool) -> None:
    """Whatever the spelling, no decoded form of the output holds one, and the output is JSON where the input was."""
    text = Planted(seed).text(document)

    kept = scrubbed(text, urls=urls)

    assert SECRET not in "".join(readings(kept))
    assert json.loads(kept) is not ...
    assert scrubbed(kept, urls=urls) == kept


def readings(text: bytes) -> list[str]:
    """Return a text, what it reads as JSON, and what the texts in it read, until there is nothing to read."""
    found, todo = [], [text.decode("utf-8", "surrogatepass")]
    while todo:
        found.append(todo.pop())
        try:
            value = json.loads(found[-1], object_pairs_hook=list)
        except ValueError:
            continue
        while value:
            value = value if isinstance(value, list | tuple) else [value]
            todo += [one for one in value if isinstance(one, str)]
            value = [inside for one in value if isinstance(one, list | tuple) for inside in one]
    return found


DOCUMENTS = st.recursive(
    LEAVES,
    lambda inside: st.lists(inside, max_size=4) | st.lists(st.tuples(PLAIN, inside), max_size=4).map(tuple),
    max_leaves=12,
)


@given(DOCUMENTS, st.integers(0, 10**6), st.booleans())
def test_text_without_urls_is_unchanged(document: Any, seed: int, urls: bool) -> None:
    """Byte for byte, in any spelling, duplicate keys and odd numbers included."""
    text = Planted(seed).text(document)

    assert scrubbed(text, urls=urls) == text


@given(st.binary(max_size=60))
def test_any_bytes_pass(data: bytes) -> None:
    """What is no JSON, nor UTF-8, is cleaned as words and never raises."""
    assert len(scrubbed(data)) <= len(data) + len(b"null") * data.count(b":")


@pytest.mark.parametrize(
    "piece", [b"lorem ipsum; what? ", b"//a:b:", b"\\\\", b"'/", b"share_token:", b"?a", b"//a@", b'"share', b"{"]
)
def test_hostile_text_takes_time_by_its_length(piece: bytes) -> None:
    """No text makes the search start over and over: a megabyte passes in the time of a test."""
    scrubbed(b'["' + piece * (1_000_000 // len(piece)) + b'?"]')
