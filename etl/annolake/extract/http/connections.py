"""The connections to the service, and the threads in which requests go over them.

Owns how they are made: headers, proxies, whom to trust.
"""

import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar

import httpx
import msgspec

from annolake.errors import ConfigError
from annolake.extract.http.request_threads import RequestThreads


class Connections(msgspec.Struct, frozen=True):
    """As many as requests were ever under way at once; for any number of clients. `http` itself sends nothing."""

    http: httpx.Client
    threads: RequestThreads

    def close(self) -> None:
        """Close every connection, and end the threads."""
        self.threads.close()
        self.http.close()


def connect(base_url: str, headers: Mapping[str, str], timeout_s: float, version: str) -> Connections:
    """Return connections to the service, none of them opened yet.

    Raises ConfigError where the environment's proxy or certificate settings do not fit.
    """
    own = {"User-Agent": f"annolake/{version}", "Accept": "application/json", "Accept-Encoding": "gzip"}

    cookies = CookieJar()  # of them all

    def made() -> httpx.Client:
        return httpx.Client(
            base_url=base_url,
            verify=trusted,
            headers={**own, **headers},
            cookies=cookies,
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
    return Connections(http, RequestThreads(made))


def _trust(base_url: str) -> ssl.SSLContext:
    """Return whom to trust: nobody where the service is reached without TLS, for no request leaves its origin."""
    # Reading the authorities takes 30 ms, once more for each proxy.
    is_tls = httpx.URL(base_url).scheme == "https"
    return httpx.create_ssl_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
