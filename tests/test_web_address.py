"""The address of a run's page, as it follows from the interface's."""

import pytest
from langsmith.utils import get_host_url

from annolake.web_address import run_url

APP_PATH = "/o/1/projects/p/2/r/3"
CLOUD = [
    "https://api.smith.langchain.com",
    *(f"https://{region}.api.smith.langchain.com" for region in ("eu", "apac", "aws", "dev", "beta")),
]
SELF_HOSTED = [
    "https://langsmith.example/api",
    "https://langsmith.example/api/v1",
    "https://langsmith.example:8443/tools/langsmith/api/v1",
    "http://10.0.0.7:1980/api",
]


@pytest.mark.parametrize("base_url", [*CLOUD, *SELF_HOSTED])
def test_the_address_is_that_of_the_sdk(base_url: str) -> None:
    """In every region, and where the path says which part of a server the interface is."""
    assert run_url(base_url, APP_PATH) == get_host_url(None, base_url) + APP_PATH


@pytest.mark.parametrize(
    ("base_url", "web"),
    [
        ("https://api.smith.langchain.com/api/v1", "https://smith.langchain.com"),
        ("https://eu.api.smith.langchain.com/v1", None),
        ("https://langsmith.example", "https://langsmith.example"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://api.langsmith.example", None),
        ("https://mars.api.smith.langchain.com", None),
        ("https://gateway.example/langsmith", None),
        ("https://langsmith.example/api/v2", None),
        ("https://langsmith.example/apiary", None),
        ("https://user:password@langsmith.example", None),
    ],
)
def test_an_address_of_another_form(base_url: str, web: str | None) -> None:
    """Where the interface has a host to itself nothing is guessed; else the application is on the same one."""
    assert run_url(base_url, APP_PATH) == (web + APP_PATH if web else None)


@pytest.mark.parametrize("more", ["?trace_id=4&start_time=2026", "#top", ";sig=5ignatur3", "?a=\n\x1b[31m"])
def test_what_stands_behind_the_path_is_left_out(more: str) -> None:
    """The page is found without, and a token could stand there."""
    assert run_url(CLOUD[0], APP_PATH + more) == f"https://smith.langchain.com{APP_PATH}"


@pytest.mark.parametrize(
    "app_path",
    [
        *("", "o/1", "//evil.example/r", "/\\evil.example/r", "https://evil.example/r", "\\o\\1", "/a b", "/a\nb"),
        *("/\u202e", "/é", "/\ud800", "/\x1b[31m", "/a\\b", "?x", "/" + "x" * 2000),
    ],
)
def test_a_path_of_another_form_leads_nowhere(app_path: str) -> None:
    """Another host, a terminal's commands, words: no address rather than one that was not meant."""
    assert run_url(CLOUD[0], app_path) is None
