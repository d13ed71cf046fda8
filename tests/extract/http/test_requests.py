"""How a request is written: its query as the standard library would write it."""

from urllib.parse import urlencode

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from annolake.extract.http.requests import Requests

REQUESTS = Requests(httpx.Client(base_url="http://127.0.0.1/prefix"))
ENDPOINT = "/api/v1/feedback"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3), st.integers(), st.booleans())
@example(["a b", "+&=#%/?\n", "~._-", ""], 0, True)
@example(["12:00+00:00", "a+b", "abc\n"], 0, True)
def test_a_query_is_what_the_standard_library_makes_of_it(texts: list[str], number: int, flag: bool) -> None:
    """Whatever the texts are: most are ids, and are taken as they are."""
    target = REQUESTS.get(ENDPOINT, {"run": texts, "offset": number, "names": flag, "key": "".join(texts)}).target

    pairs = [*(("run", text) for text in texts), ("offset", number), ("names", str(flag).lower())]
    assert target == f"/prefix{ENDPOINT}?{urlencode([*pairs, ('key', ''.join(texts))])}".encode()


def test_without_parameters_there_is_no_query() -> None:
    """Nor with a parameter that has no value."""
    assert (
        REQUESTS.get(ENDPOINT, {}).target
        == REQUESTS.get(ENDPOINT, {"run": []}).target
        == b"/prefix" + ENDPOINT.encode()
    )
