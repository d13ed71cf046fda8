"""What httpcore and tenacity can raise stops at the client: a class that a new release adds fails here first.

httpx sends nothing. An address that it cannot read is told where it comes from: the settings, or a redirect.
"""

import ssl
from collections.abc import Iterator
from types import ModuleType

import httpcore
import httpx
import pytest
import tenacity

from annolake.clock import Clock
from annolake.errors import RefusedError, UnavailableError
from annolake.extract.http.client import Client
from annolake.extract.http.connections import Connection, Connections
from annolake.extract.http.rate_limit import RateLimits
from annolake.extract.http.requests import Request

ASKED_AGAIN = {
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.LocalProtocolError,
    httpcore.NetworkError,
    httpcore.PoolTimeout,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.ReadError,
    httpcore.ReadTimeout,
    httpcore.RemoteProtocolError,
    httpcore.TimeoutException,
    httpcore.WriteError,
    httpcore.WriteTimeout,
}

NEVER_RAISED = {
    httpcore.ConnectionNotAvailable: "a pool takes another connection, or opens one",
    httpcore.UnsupportedProtocol: "the config checks base_url, a redirect to another scheme is refused",
    tenacity.RetryError: "the last fault is raised itself",
    tenacity.TryAgain: "only our own fault is asked again",
}


URL = "https://service.example"


def _exceptions(module: ModuleType) -> Iterator[type[BaseException]]:
    for name in dir(module):
        thing = getattr(module, name)
        if not name.startswith("_") and isinstance(thing, type) and issubclass(thing, BaseException):
            yield thing


def _client(error: BaseException, attempts: list[Request]) -> Client:
    class Broken(Connection):
        def send(self, request: Request) -> httpcore.Response:
            attempts.append(request)
            raise error

    clock = Clock(sleep=lambda _: None)
    client = Client(
        base_url=URL,
        headers={},
        timeout_s=1,
        max_attempts=3,
        max_wait_s=1,
        lanes=1,
        rate_limits=RateLimits(clock),
        clock=clock,
        random=lambda: 0.0,
        version="0",
    )
    # A socket cannot be made to raise each class.
    client._sender.connections = Connections(httpx.Client(base_url=URL), lambda: Broken(httpx.Client(base_url=URL)))
    return client


def test_every_class_is_accounted_for() -> None:
    """Each public exception of httpcore and tenacity is asked again or known never to be raised, and not both."""
    public = {*_exceptions(httpcore), *_exceptions(tenacity)}

    assert public == ASKED_AGAIN | set(NEVER_RAISED)
    assert not ASKED_AGAIN & set(NEVER_RAISED)


@pytest.mark.parametrize("kind", sorted(ASKED_AGAIN, key=str))
def test_a_passing_fault_is_asked_again_and_then_ours(kind: type[Exception]) -> None:
    """Three attempts, then our error; nothing of the foreign text, which may quote a header, is repeated."""
    attempts: list[Request] = []
    with (
        _client(kind("Illegal header value b'lsv2_secret'"), attempts) as client,
        pytest.raises(UnavailableError, match=r"^service\.example gave no usable answer to /x in 3 attempts") as caught,
    ):
        client.get("/x", {}, bytes)

    assert len(attempts) == 3
    assert "secret" not in str(caught.value)


def test_a_certificate_that_cannot_be_verified_is_refused_at_once() -> None:
    """Asking again would not change whom the certificate belongs to."""
    error = httpcore.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")
    attempts: list[Request] = []
    with _client(error, attempts) as client, pytest.raises(RefusedError, match="certificate that cannot be verified"):
        client.get("/x", {}, bytes)

    assert len(attempts) == 1


def test_a_bug_passes_through() -> None:
    """What is none of the listed classes is no fault of the service, and is not asked again."""
    attempts: list[Request] = []
    with _client(RuntimeError("a bug"), attempts) as client, pytest.raises(RuntimeError, match="a bug"):
        client.get("/x", {}, bytes)

    assert len(attempts) == 1
