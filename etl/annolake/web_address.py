"""Where the service's web application shows what its interface returned (docs/service.md#pages-of-runs).

Owns the rule by which the application's address follows from the interface's: that of the public SDK, where it has
one. Where no rule fits there is no address, since a wrong link is worse than none.
"""

import re
from urllib.parse import urlsplit

_CLOUD = re.compile(r"(?P<region>(?:eu|apac|aws|dev|beta)\.)?api\.(?P<host>smith\.langchain\.com)")
_REGIONS = tuple(f"{region}api.smith.langchain.com" for region in ("", "eu.", "apac.", "aws."))
_API_PATH = re.compile(r"(?P<kept>(?:/[\w.~-]+)*?)/api(?:/v1)?/?", re.ASCII)

_SEGMENT = "A-Za-z0-9_.~!$&'()*+,=:@%-"

APP_PATH = rf"^(/(?:[{_SEGMENT}][{_SEGMENT}/]{{0,999}})?)(?:[?#;](?s:.*))?$"
"""A path as the service writes it, as a pattern that Python, Rust and RE2 read alike.

Its one group is the path without query, fragment and parameter, where a token may stand. `$` is the end of the text: in
Python `fullmatch` sees to that.
"""


def run_url(base_url: str, app_path: str) -> str | None:
    """Return the address of a run's page, without query and fragment; None where it is not known.

    `base_url` is the setting `source.base_url`, `app_path` the run's field of that name.
    """
    web, path = web_address(base_url), re.fullmatch(APP_PATH, app_path)
    return web + path[1] if web is not None and path else None


def other_regions(host: str) -> tuple[str, ...]:
    """Return the hosts of the service's other regions, of which each has keys of its own; none of a host elsewhere."""
    return tuple(other for other in _REGIONS if other != host) if host in _REGIONS else ()


def web_address(base_url: str) -> str | None:
    """Return where the application is, without a slash at the end; None where that is not known."""
    parts = urlsplit(base_url)
    host, path = parts.hostname or "", _API_PATH.fullmatch(parts.path)
    if parts.path not in {"", "/"} and not path:
        return None  # a gateway, perhaps
    if cloud := _CLOUD.fullmatch(host):
        return f"https://{cloud['region'] or ''}{cloud['host']}"
    if not host or "@" in parts.netloc or "api" in host.split("."):
        return None
    return f"{parts.scheme}://{parts.netloc}{path['kept'] if path else ''}"
