"""What a setting's value must look like where its type does not say: addresses, ids, folders, options.

Owns which values are refused, and which of them may not be shown because they can hold a secret.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

# Texts, since `re` compiles each when it is first used, and an export into a folder uses two: 2 ms of each start.
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PAGE = rf"(?i)https?://[^@?#]*/annotation-queues/(?P<id>{_UUID})(?:[/?#].*)?"
_NEARLY_A_UUID = r"(?i)[0-9a-f-]{24,}"  # a misspelt id
_LIKE_A_KEY = r"lsv2_|ls__"
_BY_ID = "of a queue with such a name give the id"
_NOT_IN_HEADERS = r"[^!-~]"


class UnfitError(ValueError):
    """A part of a value that does not fit; None is never shown. `advice` says what may have been meant."""

    def __init__(self, part: object, advice: str = "") -> None:
        super().__init__("unfit")
        self.part, self.advice = part, advice


class SecretError(UnfitError):
    """A value that must not be written into a file; `instead` says where it belongs."""

    def __init__(self, part: str, instead: str) -> None:
        super().__init__(part)
        self.instead = instead


def read_url(value: Any) -> str:
    """Return an address without a trailing slash or /api/v1, which every request's path begins with.

    Raises ValueError, TypeError or AttributeError if it is none.
    """
    if "@" in value:
        raise UnfitError(None)  # a password may stand before it
    parts = urlsplit(value)
    more = parts.query or parts.fragment or re.search(_NOT_IN_HEADERS, value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or more:
        raise UnfitError(value)
    parts.hostname.encode("idna")  # ValueError: a part between dots is empty or too long to be looked up
    return str(value).rstrip("/").removesuffix("/api/v1").rstrip("/")


def read_queues(value: Any) -> tuple[str, ...] | Literal["all"]:
    """Return ids in lower case and names as they are, each once; of a page's address its id. Raises as `read_url`."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise UnfitError(value)
    if list(parts) == ["all"]:
        return "all"
    return tuple(dict.fromkeys(map(_read_queue, parts)))


def read_names(value: Any) -> tuple[str, ...]:
    """Return names, each once; of a variable those between its commas. Raises as `read_url`."""
    parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part.strip() for part in parts):
        raise UnfitError(value)
    return tuple(dict.fromkeys(part.strip() for part in parts))


def is_queue_id(text: str) -> bool:
    """Tell whether a text is an id as queues have it."""
    return bool(re.fullmatch(_UUID, text.lower()))


def _read_queue(value: Any) -> str:
    text = value.strip()
    if "://" in text:
        page = re.fullmatch(_PAGE, text)
        if not page:
            raise UnfitError(None if re.search("[@?]", text) else text, _BY_ID)  # a secret may stand there
        text = page["id"]
    if is_queue_id(text):
        return str(text.lower())
    if not text or text == "all" or re.match(_LIKE_A_KEY, text):
        raise UnfitError(value)
    if re.fullmatch(_NEARLY_A_UUID, text):
        raise UnfitError(value, _BY_ID)
    return str(text)


def read_path(value: Any) -> Path:
    """Return a path of the file system. Raises as `read_url` does."""
    if not value or "\0" in str(value) or "://" in str(value):
        raise UnfitError(value)
    return Path(value)


_ADDRESS = r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]+(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._=-]+)*/?"
_SPOILT_ADDRESS = r"(s3|gs|az):/"  # as `pathlib.Path` has them: a folder of that name is meant by nobody
_OPTION = r"[A-Za-z][A-Za-z0-9_]*"
_SENSITIVE_OPTION = r"(?i)key|secret|token|password|sas\Z|sas_|signature|credential"
_HARMLESS_OPTION = (
    r"(?i)kms_key_id\Z|bucket_key_enabled\Z|_(file|path|uri)\Z|application_credentials\Z|skip_signature\Z"
)
_SENSITIVE_VALUE = (
    r"(?i)://[^/]*@|\b(AKIA|ASIA)[0-9A-Z]{16}|sig=|AccountKey=|SharedAccessSignature=|-----BEGIN|private_key"
)
_SECRET_VARIABLES = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "service_account": "GOOGLE_SERVICE_ACCOUNT_KEY",
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "sas": "AZURE_STORAGE_SAS_KEY",
    "client_secret": "AZURE_STORAGE_CLIENT_SECRET",
}


def read_lake_path(value: Any) -> Path | str:
    """Return a folder as a path, an address of an object store as text. Raises as `read_path` does."""
    if "://" not in str(value):
        if re.match(_SPOILT_ADDRESS, str(value)):
            raise UnfitError(str(value))
        return read_path(value)
    if not re.fullmatch(_ADDRESS, value):
        raise UnfitError(None if re.search("[@?]", value) else value)  # a secret may stand there
    return str(value).rstrip("/")


def read_storage(value: Any) -> Mapping[str, str]:
    """Return the options of a store by name, as text. Raises as `read_url` does, SecretError for a secret."""
    if isinstance(value, str):
        value = dict(pair.split("=", 1) for pair in value.split(",") if pair.strip())
    options = {}
    for name, given in value.items():
        if not re.fullmatch(_OPTION, name.strip()) or isinstance(given, float) or not isinstance(given, str | int):
            raise UnfitError(None)
        options[name.strip()] = json.dumps(given) if isinstance(given, int) else given.strip()
        _refuse_secret(name.strip(), options[name.strip()])
    return options


def _refuse_secret(name: str, value: str) -> None:
    if (re.search(_SENSITIVE_OPTION, name) and not re.search(_HARMLESS_OPTION, name)) or re.search(
        _SENSITIVE_VALUE, value
    ):
        plain = name.lower()
        variable = next((variable for part, variable in _SECRET_VARIABLES.items() if part in plain), None)
        raise SecretError(name, f"the environment variable {variable}" if variable else "the store's own variable")
