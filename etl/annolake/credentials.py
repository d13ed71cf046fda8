"""The key: read from where the settings say, and shown nowhere."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from annolake.config import Config
from annolake.errors import ConfigError

_NOT_IN_HEADERS = re.compile(r"[^!-~]")
_SHORTEST_KEY = 16  # characters of the key of pseudonyms


class Credentials:
    """What proves to the service who is asking; shows itself nowhere.

    `name` says where it came from; `exposed` whether that is a file which others on this machine may read.
    """

    __slots__ = ("_headers", "exposed", "name")

    def __init__(self, headers: Mapping[str, str], name: str, *, exposed: bool = False) -> None:
        self._headers = dict(headers)
        self.name = name
        self.exposed = exposed

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        return dict(self._headers)

    def __repr__(self) -> str:
        return f"Credentials(<{self.name}>)"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("credentials cannot be copied or pickled")


def credentials(config: Config, environ: Mapping[str, str]) -> Credentials:
    """Read the key, or the bearer token, from where the settings say. Raises ConfigError if there is none."""
    source, exposed = config.source, False
    if source.bearer_token_env:
        name, token = _from_variable("source.bearer_token_env", source.bearer_token_env, environ)
        headers = {"Authorization": f"Bearer {token}"}
    elif source.api_key_file:
        name = "the file of source.api_key_file"
        text, exposed = _file_text(source.api_key_file)
        headers = {"X-API-Key": _key(name, text)}
    else:
        name, key = _from_variable("source.api_key_env", source.api_key_env, environ)
        headers = {"X-API-Key": key}
    if source.tenant_id:
        headers["X-Tenant-Id"] = source.tenant_id
    return Credentials(headers, name, exposed=exposed)


def _from_variable(setting: str, variable: str, environ: Mapping[str, str]) -> tuple[str, str]:
    # A key that was pasted here passes for a variable's name, but hardly for one in capitals.
    name = variable if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", variable) else f"the variable that {setting} names"
    if variable not in environ:
        raise ConfigError(f"{name} is not set: export it with the key of the service, or change {setting}")
    return name, _key(name, environ[variable])


def _file_text(file: Path) -> tuple[str, bool]:
    """Return what a file holds, and whether its group or everybody may read it."""
    try:
        with file.open("rb") as opened:
            others = os.fstat(opened.fileno()).st_mode & (stat.S_IRGRP | stat.S_IROTH)
            return opened.read(10_000).decode(), bool(others)
    except OSError as error:
        # Its name is not shown either: it may be the key, pasted into the wrong setting.
        raise ConfigError(f"source.api_key_file: the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError("source.api_key_file: the file is not text: it should hold the key alone") from None


def _key(name: str, text: str) -> str:
    """Return the key without white space around it, checked to pass as a header."""
    key = text.strip()
    if not key:
        raise ConfigError(f"{name} is empty: it should hold the key of the service")
    if _NOT_IN_HEADERS.search(key):
        raise ConfigError(f"{name} holds more than a key: it has a space, a line break or a character beyond ASCII")
    return key


def pseudonym_key(config: Config, environ: Mapping[str, str]) -> bytes | None:
    """Read the key of pseudonyms; None where the settings ask for none. Raises ConfigError if there is none to read."""
    columns = config.columns
    if not columns.pseudonymize:
        return None
    variable = columns.pseudonym_key_env
    name = variable if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", variable) else "the variable of columns.pseudonym_key_env"
    key = environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"{name} is not set: export it with the key of pseudonyms, or leave columns.pseudonymize out")
    if len(key) < _SHORTEST_KEY:
        raise ConfigError(f"{name} is too short: a key of fewer than {_SHORTEST_KEY} characters could be guessed")
    return key.encode(errors="surrogateescape")
