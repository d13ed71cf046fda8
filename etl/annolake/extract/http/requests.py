"""Requests of the service as they go over the wire: address, headers and cookies.

Owns how they are made, as httpx would; but what all have in common is worked out once: measured, 0.2 of 0.9 ms each.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote_plus

import httpx
import msgspec

_URLS = 1_000  # that are remembered: a queue has a handful
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


class Request(msgspec.Struct, frozen=True):
    """A request: `target` is path and query of its address, while `url` has no query; `headers` are all of them."""

    method: str
    url: httpx.URL
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    content: bytes | None

    def __repr__(self) -> str:
        """Show neither headers, which have the key, nor what is sent."""
        return f"Request({self.method} {self.url.path})"

    @property
    def address(self) -> httpx.URL:
        """The whole address."""
        return self.url.copy_with(raw_path=self.target)


class Requests:
    """Makes requests with the address, the headers and the cookies of `http`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._urls: dict[str, httpx.URL] = {}
        self._headers = http.build_request("GET", "").headers.raw

    def get(self, endpoint: str, params: Mapping[str, str | int | bool | Sequence[str]]) -> Request:
        """Return a GET of an endpoint, a path like /api/v1/..."""
        url = self._url(endpoint)
        query = "&".join(f"{name}={_quoted(text)}" for name, value in params.items() for text in _texts(value))
        target = b"%b?%b" % (url.raw_path, query.encode("ascii")) if query else url.raw_path
        return self._request("GET", url, target)

    def post(self, endpoint: str, content: bytes) -> Request:
        """Return a POST of JSON."""
        url = self._url(endpoint)
        return self._request("POST", url, url.raw_path, content)

    def to(self, url: httpx.URL, method: str, content: bytes | None) -> Request:
        """Return a request of an address of the service."""
        return self._request(method, url, url.raw_path, content)

    def keep_cookies(self, request: Request, headers: httpx.Headers) -> None:
        """Have the requests to come bring along what an answer has set."""
        if "Set-Cookie" in headers:
            to = httpx.Request(request.method, request.url)
            self._http.cookies.extract_cookies(httpx.Response(HTTPStatus.OK, headers=headers, request=to))

    def _request(self, method: str, url: httpx.URL, target: bytes, content: bytes | None = None) -> Request:
        headers = self._headers
        if content is not None or self._http.cookies:
            json = {"Content-Type": "application/json"} if content is not None else None
            headers = self._http.build_request(method, url, content=content, headers=json).headers.raw
        return Request(method, url, target, headers, content)

    def _url(self, endpoint: str) -> httpx.URL:
        if endpoint not in self._urls:
            if len(self._urls) >= _URLS:
                self._urls.clear()
            self._urls[endpoint] = self._http.build_request("GET", endpoint).url
        return self._urls[endpoint]


def _texts(value: str | int | bool | Sequence[str]) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [str(value).lower()] if isinstance(value, int) else value  # true and false


def _quoted(text: str) -> str:
    """Quote what has to be. Most texts are ids and numbers: measured, of 43 of them 18 us in place of 80."""
    return text if _PLAIN.fullmatch(text) else quote_plus(text)
