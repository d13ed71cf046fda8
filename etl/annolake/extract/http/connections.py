"""The connections to the service, each for one request at a time.

Owns how they are made: headers, proxies, whom to trust.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

import httpcore
import httpx

from annolake.errors import ConfigError
from annolake.extract.http.network import Network, nothing
from annolake.extract.http.requests import Request, Requests


class Connection:
    """One connection, of a client that has no other: `proxied` where it goes through a proxy of the environment."""

    def __init__(self, http: httpx.Client) -> None:
        self.network = Network()
        self._http = http
        transport = http._transport_for_url(http.base_url)  # noqa: SLF001 - httpx has no other word for it
        self.proxied = transport is not http._transport  # noqa: SLF001
        self._pool = self.network.under(transport)
        self._extensions = {"timeout": http.timeout.as_dict()}

    def send(self, request: Request) -> httpcore.Response:
        """Send a request, and return its answer, whose body is still to be read. Raises what httpcore raises.

        It does not go through httpx, which would read each address and answer for what is not needed: measured,
        0.2 of 0.9 ms.
        """
        url = request.url
        return self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=request.target),
                headers=request.headers,
                content=request.content,
                extensions=self._extensions,
            )
        )

    def close(self) -> None:
        """Close it."""
        self._http.close()


class Connections:
    """As many as requests were ever under way at once; for any number of clients.

    `http` sends nothing: what it knows of the service is in the `requests`. `connect` returns one connection more, with
    a client of its own: one that has ten looks at all of them twice a request, 0.15 ms.
    """

    def __init__(self, http: httpx.Client, connect: Callable[[], Connection]) -> None:
        self.http = http
        self.requests = Requests(http)
        self._connect = connect
        self._free: list[Connection] = []
        self._closed = False
        self._lock = Lock()

    @contextmanager
    def one(self, ask: Callable[[], None]) -> Iterator[Connection]:
        """Lend one that is free, whose network asks whether to go on (see there)."""
        with self._lock:
            lent = self._free.pop() if self._free else None
        connection = lent or self._connect()
        connection.network.ask = ask
        try:
            yield connection
        finally:
            connection.network.ask = nothing
            with self._lock:
                closed = self._closed
                if not closed:
                    self._free.append(connection)
            if closed:
                connection.close()

    def close(self) -> None:
        """Close every connection, those in use once their request has ended."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()
        self.http.close()


def connect(base_url: str, headers: Mapping[str, str], timeout_s: float, version: str) -> Connections:
    """Return connections to the service, none of them opened yet.

    Raises ConfigError where the environment's proxy or certificate settings do not fit, or the service's host is none.
    """
    if not _has_host(base_url):
        raise ConfigError(f"source.base_url: the host of {base_url} is no name that can be looked up: correct it")
    own = {"User-Agent": f"annolake/{version}", "Accept": "application/json", "Accept-Encoding": "gzip"}

    def made() -> httpx.Client:
        return httpx.Client(
            base_url=base_url,
            verify=trusted,
            headers={**own, **headers},
            timeout=timeout_s,
            follow_redirects=False,  # httpx would take X-API-Key along to another host
        )

    try:
        trusted = _trust(base_url)
        http = made()
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise ConfigError(
            "the proxy or certificate settings of the environment cannot be used: check HTTPS_PROXY, "
            "HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from error
    return Connections(http, lambda: Connection(made()))


def _has_host(address: str) -> bool:
    """Tell whether httpx can read the host of an address: 999.1.1.1 is none, and not all that begins with xn-- is."""
    try:
        return bool(httpx.URL(address).host)
    except (ValueError, httpx.InvalidURL):
        return False


def _trust(base_url: str) -> ssl.SSLContext:
    """Return whom to trust: nobody where the service is reached without TLS, for no request leaves its origin."""
    # Reading the authorities takes 30 ms, once more for each proxy.
    is_tls = httpx.URL(base_url).scheme == "https"
    return httpx.create_ssl_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
