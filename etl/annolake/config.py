"""Settings: what there is to set, what was set, and where (DESIGN 4).

Owns the one list of settings, from which the checks, the example file and the README's table are made, and their
order of precedence (command line, environment, file, default). What could be a key that was pasted into the wrong
place is never repeated; the key itself is read by `credentials`.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from annolake.errors import ConfigError

DEFAULT_FILE = Path("annolake.toml")
PREFIX = "ANNOLAKE_"

_TEN_YEARS_S = 315_360_000
_SHOWN = 80  # characters of a value in a message
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOT_IN_HEADERS = re.compile(r"[^!-~]")
_LOOKS_LIKE_A_KEY = re.compile(r"lsv2_|ls__")
_SPEAKS_OF_KEYS = re.compile(r"key|token|secret|password|bearer", re.IGNORECASE)


class _UnfitError(ValueError):
    """A part of a value that does not fit; None is never shown."""

    def __init__(self, part: object) -> None:
        super().__init__("unfit")
        self.part = part


def _url(value: Any) -> str:
    """Return an address without the trailing slash. Raises ValueError, TypeError or AttributeError if it is none."""
    if "@" in value:
        raise _UnfitError(None)  # a password may stand before it
    parts = urlsplit(value)
    more = parts.query or parts.fragment or _NOT_IN_HEADERS.search(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or more:
        raise _UnfitError(value)
    return str(value).rstrip("/")


def _queues(value: Any) -> tuple[str, ...] | Literal["all"]:
    """Return the ids in lower case, each once. Raises as `_url` does."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise _UnfitError(value)
    if list(parts) == ["all"]:
        return "all"
    ids = []
    for part in parts:
        ids.append(part.strip().lower())
        if not _UUID.fullmatch(ids[-1]):
            raise _UnfitError(part)
    return tuple(dict.fromkeys(ids))


def _path(value: Any) -> Path:
    if not value or "\0" in str(value) or "://" in str(value):
        raise _UnfitError(value)
    return Path(value)


# What a type and its bounds do not say. `read` is stricter than the type; a `secret` is never shown.
_URL = {"read": _url, "allowed": "an http or https address without user name, query or spaces"}
_KEY_FILE = {"read": lambda value: None if value == "" else _path(value), "allowed": "a file", "secret": True}
_VARIABLE = {"allowed": "the name of an environment variable", "secret": True}
_WORKSPACE = {"allowed": "a workspace's id", "secret": True}
_LIST = {
    "read": _queues,
    "allowed": 'a list of queue ids (UUIDs), or "all"',
    "example": [f"{0:08}-0000-0000-0000-{0:012}"],
}
_FOLDER = {"read": _path, "allowed": "a folder", "example": "./lake"}

# The formatter would spread each setting over ten lines.
# fmt: off


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The service, and how it is asked."""

    base_url: Annotated[str, Meta(description="The service's address.", extra=_URL)] = "https://api.smith.langchain.com"
    api_key_env: Annotated[str, Meta(
        pattern=r"^(?!lsv2_|ls__)[A-Za-z_][A-Za-z0-9_]*\Z", extra=_VARIABLE,
        description="The variable that holds the API key; never the key itself.",
    )] = "LANGSMITH_API_KEY"
    api_key_file: Annotated[Path | None, Meta(
        extra=_KEY_FILE,
        description="The file that holds the API key, instead of a variable; only its owner should be able to read it.",
    )] = None
    tenant_id: Annotated[str, Meta(
        pattern=r"^[!-~]*\Z", extra=_WORKSPACE,
        description="The workspace, for keys that see several; sent as X-Tenant-Id.",
    )] = ""
    bearer_token_env: Annotated[str, Meta(
        pattern=r"^(?!lsv2_|ls__)([A-Za-z_][A-Za-z0-9_]*)?\Z", extra=_VARIABLE,
        description="The variable that holds a bearer token, sent instead of a key; tenant_id is then required.",
    )] = ""
    queues: Annotated[tuple[str, ...] | Literal["all"], Meta(
        extra=_LIST, description='The queues to export; "all": every one the key can see. In a variable: with commas.',
    )]
    endpoint: Annotated[Literal["auto", "runs", "items"], Meta(
        description="Which of the service's listings is read; auto: runs while it lives, then items.",
    )] = "auto"
    include_archived: Annotated[bool, Meta(
        description="Export finished rows too; without them no row is ever marked removed.",
    )] = True
    include_stats: Annotated[bool, Meta(description="Ask for the feedback statistics of each row.")] = True
    subtree_usage: Annotated[bool, Meta(
        description="Tokens and costs of a run include its descendants', as the runs listing has them.",
    )] = True
    status: Annotated[Literal["", "needs_my_review", "needs_others_review", "completed"], Meta(
        description="Export only rows in this state of review; then no row is marked removed. Runs endpoint only.",
    )] = ""
    page_size: Annotated[int, Meta(
        ge=1, le=100, description="Rows in one answer at most; fewer are asked for when rows are heavy.",
    )] = 100
    concurrency: Annotated[int, Meta(ge=1, le=64, description="Lanes: requests under way at once.")] = 8
    max_requests_per_second: Annotated[float, Meta(
        ge=0, le=10_000, description="Never send more; 0: no limit of one's own. 429s slow it down in any case.",
    )] = 0.0
    max_inflight_mb: Annotated[int, Meta(
        ge=1, le=65_536, description="Pages held in memory, all lanes together, in MB.",
    )] = 64
    timeout_s: Annotated[float, Meta(
        gt=0, le=3600, description="The longest silence of the service within a request, in seconds.",
    )] = 30.0
    request_timeout_s: Annotated[float, Meta(
        gt=0, le=86_400, description="The longest that one request may take, all of its answer included, in seconds.",
    )] = 300.0
    max_response_mb: Annotated[int, Meta(
        ge=1, le=65_536, description="The largest answer, unpacked, in MB; fewer rows are asked for instead of more.",
    )] = 256


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often, and how patiently, a request is repeated."""

    max_attempts: Annotated[int, Meta(ge=1, le=100, description="Attempts before a request is given up.")] = 8
    max_wait_s: Annotated[float, Meta(
        ge=0, le=3600, description="The longest wait between two attempts, Retry-After included, in seconds.",
    )] = 60.0


class Sync(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What --new-only reads."""

    lookback_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S, description="What was added up to this long before the mark is read again, in seconds.",
    )] = 86_400
    full_every_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S, description="When the last complete full export is older, all is read, in seconds.",
    )] = 604_800


class Lake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the rows go."""

    path: Annotated[Path, Meta(
        extra=_FOLDER, description="The lake. Written in a file, a relative path starts from the file's folder.",
    )]
    compression: Annotated[Literal["zstd", "snappy", "gzip", "lz4", "none"], Meta(
        description="How the Parquet files are compressed.",
    )] = "zstd"
    row_group_mb: Annotated[int, Meta(ge=1, le=1024, description="Uncompressed data in one row group, in MB.")] = 32
    keep_reports: Annotated[int, Meta(ge=1, le=1_000_000, description="Reports kept in the lake.")] = 500


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is logged to standard error."""

    log_format: Annotated[Literal["text", "json"], Meta(
        description="One line of key=value, or one JSON object, for each event.",
    )] = "text"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of an export."""

    source: Source
    retry: Retry
    sync: Sync
    lake: Lake
    log: Log

# fmt: on


class _Setting(NamedTuple):
    """One key, as everything here sees it; `default` is msgspec.NODEFAULT where it is required."""

    key: str
    hint: Any
    meta: Meta
    default: Any

    @property
    def extra(self) -> Mapping[str, Any]:
        return self.meta.extra or {}

    @property
    def variable(self) -> str:
        return PREFIX + self.key.upper().replace(".", "__")

    @property
    def choices(self) -> tuple[str, ...]:
        kind = get_args(self.hint)[0]
        return get_args(kind) if get_origin(kind) is Literal else ()

    @property
    def allowed(self) -> str:
        """Say in words what fits."""
        meta, kind = self.meta, get_args(self.hint)[0]
        if "allowed" in self.extra:
            return str(self.extra["allowed"])
        if self.choices:
            return "one of " + ", ".join(json.dumps(choice) for choice in self.choices)
        if kind is bool:
            return "true or false"
        bounds = f"above {meta.gt}, at most {meta.le}" if meta.ge is None else f"from {meta.ge} to {meta.le}"
        return f"a whole number {bounds}" if kind is int else f"a number {bounds}"


_SECTIONS: Mapping[str, type[msgspec.Struct]] = get_type_hints(Config)


def _settings() -> Iterator[_Setting]:
    for section, struct in _SECTIONS.items():
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            hint = hints[field.name]
            yield _Setting(f"{section}.{field.name}", hint, get_args(hint)[1], field.default)


_SETTINGS = {setting.key: setting for setting in _settings()}


class _Given(NamedTuple):
    """A value, what to call the place it came from, and the folder its relative paths start from."""

    value: Any
    origin: str
    folder: Path = Path()
    typed: bool = False


def load_config(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] = MappingProxyType({})
) -> Config:
    """Return the settings of the file at `path`, as the environment and then `overrides` change them.

    `overrides` is the command line, with keys like "source.queues". `path` None is ./annolake.toml, which may be
    absent if anything is set elsewhere. Raises ConfigError, one line for each thing that is wrong.
    """
    above = _from_environ(environ) | {key: _Given(value, "on the command line") for key, value in overrides.items()}
    given = ({} if path is None and above and not DEFAULT_FILE.exists() else _from_file(path or DEFAULT_FILE)) | above
    problems = [_unknown(key, item.origin) for key, item in given.items() if key not in _SETTINGS]
    values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for key, setting in _SETTINGS.items():
        section, name = key.split(".")
        try:
            if key in given:
                values[section][name] = _read(setting, given[key], environ)
            elif setting.default is msgspec.NODEFAULT:
                problems.append(f"{key}: required: {setting.allowed} (in {path or DEFAULT_FILE} or {setting.variable})")
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    source = Source(**values["source"])
    _check_together(source)
    sync, lake = Sync(**values["sync"]), Lake(**values["lake"])
    return Config(source=source, retry=Retry(**values["retry"]), sync=sync, lake=lake, log=Log(**values["log"]))


def _from_file(file: Path) -> dict[str, _Given]:
    try:
        document = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file: copy config.example.toml, or name yours with --config") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        # The rest of the parser's sentence can quote what is written there.
        where = re.search(r"\(at ([a-z0-9, ]+)\)\Z", str(error))
        raise ConfigError(f"{file} is not TOML{f', at {where[1]}' if where else ''}: is a quote missing?") from None
    given = {}
    for section, table in document.items():
        entries = table.items() if isinstance(table, dict) and section in _SECTIONS else [("", table)]
        for name, value in entries:
            given[f"{section}.{name}".rstrip(".")] = _Given(value, f"in {file}", file.parent, typed=True)
    return given


def _from_environ(environ: Mapping[str, str]) -> dict[str, _Given]:
    """Return what ANNOLAKE_SECTION__KEY set, and what looks as if it should."""
    variables = {setting.variable for setting in _SETTINGS.values()}
    given = {}
    for name, value in environ.items():
        if name.startswith(PREFIX) and ("__" in name or difflib.get_close_matches(name, variables, cutoff=0.9)):
            given[name.removeprefix(PREFIX).lower().replace("__", ".", 1)] = _Given(value, f"in {name}")
    return given


def _unknown(key: str, origin: str) -> str:
    """Say that there is no such setting, and which one may have been meant."""
    shown = "a name that is not shown" if _LOOKS_LIKE_A_KEY.search(key) else ascii(key)[1:-1]
    if key in _SECTIONS:
        return f"{shown}: expected a section, written [{key}] ({origin})"
    if _SPEAKS_OF_KEYS.search(key) or _LOOKS_LIKE_A_KEY.search(key):
        return (
            f"{shown}: no such setting ({origin}); the key itself is never one: source.api_key_env names the variable, "
            "source.api_key_file the file that holds it"
        )
    section, _, name = key.rpartition(".")
    same_name: Sequence[str] = [known for known in _SETTINGS if known.endswith(f".{name}")]
    there = [setting.key for setting in _of(section)]
    near = same_name or _near(key, _SETTINGS) or ([] if there else _near(key, _SECTIONS))
    if near and PREFIX in origin and near[0] in _SETTINGS:
        near = [_SETTINGS[near[0]].variable]
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there or _SECTIONS)}"
    return f"{shown}: no such {'setting' if '.' in key else 'section'} ({origin}); {hint}"


def _near(word: str, words: Iterable[str]) -> Sequence[str]:
    return difflib.get_close_matches(word, list(words), n=1)


def _read(setting: _Setting, given: _Given, environ: Mapping[str, str]) -> Any:
    """Return the value in its type. Raises ConfigError, which repeats it only where it cannot be a secret."""
    try:
        read = setting.extra.get("read")
        value = read(given.value) if read else msgspec.convert(given.value, setting.hint, strict=given.typed)
    except (ValueError, TypeError, AttributeError) as error:
        part = error.part if isinstance(error, _UnfitError) else given.value
        got = _shown(None if "secret" in setting.extra else part)
        near = _near(str(part), setting.choices) if part else ()
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ConfigError(f"{setting.key}: expected {setting.allowed}, got {got} ({given.origin}){hint}") from None
    if isinstance(value, Path):
        home = environ.get("HOME")
        value = Path(home, *value.parts[1:]) if home and value.parts[:1] == ("~",) else given.folder / value
    return value


def _shown(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    if not isinstance(value, str | int | float) or _LOOKS_LIKE_A_KEY.search(str(value)):
        return "something else, not shown"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _check_together(source: Source) -> None:
    """Raise ConfigError where settings that fit alone do not fit together."""
    if source.bearer_token_env and not source.tenant_id:
        raise ConfigError("source.tenant_id: required with source.bearer_token_env: the workspace's id")
    if source.bearer_token_env and source.api_key_file:
        raise ConfigError("source.bearer_token_env and source.api_key_file are both set: keep the one that is meant")
    if source.status and source.endpoint == "items":
        raise ConfigError(
            'source.status: the items endpoint cannot filter by it: leave it empty, or set endpoint "runs"'
        )


def example_toml() -> str:
    """Return config.example.toml: every setting with its meaning, what is allowed, and its default."""
    lines = [
        "# annolake.toml: copy this file, set source.queues and lake.path, and leave out what may stay as it is.",
        "# The command line overrides the environment (ANNOLAKE_SECTION__KEY), the environment this file.",
    ]
    for section, struct in _SECTIONS.items():
        lines += ["", f"[{section}]  # {_first_line(struct)}"]
        for setting in _of(section):
            name = setting.key.split(".")[1]
            lines += [f"# {setting.meta.description}", f"# ({setting.allowed})", f"{name} = {_default(setting)}"]
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """Return the README's table of settings."""
    rows = ["| Setting | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for setting in _SETTINGS.values():
        default = "required" if setting.default is msgspec.NODEFAULT else f"`{_default(setting)}`"
        rows.append(f"| `{setting.key}` | {default} | {setting.allowed} | {setting.meta.description} |")
    return "\n".join(rows) + "\n"


def _of(section: str) -> list[_Setting]:
    return [setting for setting in _SETTINGS.values() if setting.key.startswith(f"{section}.")]


def _first_line(struct: type[msgspec.Struct]) -> str:
    return (struct.__doc__ or "").splitlines()[0]


def _default(setting: _Setting) -> str:
    """Return the default, or the example of a required setting, as TOML (of which JSON's values are a part)."""
    value = setting.extra["example"] if setting.default is msgspec.NODEFAULT else setting.default
    return json.dumps("" if value is None else value)
