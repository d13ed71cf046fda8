"""How a store is reached: its options, out of the settings and the environment, and who asks.

Owns where each comes from. Variables that are not named in `kinds` (roles of containers and machines, web identities)
are read by the store's client itself.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from annolake.errors import ConfigError
from annolake.load.storage.kinds import S3, StoreKind


class Access(NamedTuple):
    """Options as the client names them; `credentials` where they come from a profile, as a provider for the client."""

    options: Mapping[str, str]
    credentials: Any = None

    def frozen(self) -> dict[str, str]:
        """Return all as options of this moment: temporary credentials last for minutes."""
        if self.credentials is None:
            return dict(self.options)
        now = self.credentials()
        keys = {"access_key_id": now["access_key_id"], "secret_access_key": now["secret_access_key"]}
        token = {"session_token": now["token"]} if now["token"] else {}
        return {**self.options, **keys, **token}


def access_to(kind: StoreKind, given: Mapping[str, str], environ: Mapping[str, str]) -> Access:
    """Return how a store of that kind is reached; what is `given` in the settings is above the environment.

    Raises ConfigError where an endpoint would be spoken to without encryption unasked, or a profile is missing.
    """
    options = {option: environ[name] for name, option in kind.variables.items() if environ.get(name)}
    options |= {_plain(kind, name): value for name, value in given.items()}
    endpoint = options.get("endpoint", "")
    if endpoint.startswith("http://") and options.get("allow_http", "").lower() not in {"true", "1"}:
        raise ConfigError(
            "lake.storage.endpoint: http:// is not encrypted: use https://, or set allow_http = true in [lake.storage]"
        )
    if endpoint and environ.get("AWS_ENDPOINT_URL_S3") and kind is S3:  # the client puts that variable above `endpoint`
        options["aws_endpoint_url_s3"] = endpoint
    if kind is not S3 or "access_key_id" in options or not _has_profile(environ):
        return Access(options)
    return _of_profile(options, environ)


def _plain(kind: StoreKind, name: str) -> str:
    """Return an option's shortest name: `endpoint` of AWS_ENDPOINT_URL."""
    name = name.lower()
    prefix = next((prefix for prefix in kind.prefixes if name.startswith(prefix)), "")
    return {"endpoint_url": "endpoint"}.get(name.removeprefix(prefix), name.removeprefix(prefix))


def _has_profile(environ: Mapping[str, str]) -> bool:
    if environ.get("AWS_PROFILE"):
        return True
    home = Path(environ.get("HOME", "/")) / ".aws"
    files = (
        environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials",
        environ.get("AWS_CONFIG_FILE") or home / "config",
    )
    return any(Path(file).is_file() for file in files)


def _of_profile(options: Mapping[str, str], environ: Mapping[str, str]) -> Access:
    """Ask what knows the files of ~/.aws; a machine without a profile that was named can still have a role."""
    named = environ.get("AWS_PROFILE")
    if find_spec("boto3") is None:
        if named:
            raise ConfigError('AWS_PROFILE: install what reads profiles: pip install "annolake[s3]"')
        return Access(options)
    open_profile: Callable[[str | None], Any] = import_module("annolake.load.storage.aws_profile").open_profile
    provider = open_profile(named)
    if provider is None:
        if named:
            raise ConfigError(f"AWS_PROFILE: there is no profile {named!r} with credentials: correct the name")
        return Access(options)
    return Access({**provider.config, **options}, provider)
