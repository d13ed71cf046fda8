"""The settings there are: type, bounds, default and meaning of each.

Owns the one list from which the checks, config.example.toml and docs/settings.md are made.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from annolake.setting_values import read_lake_path, read_names, read_path, read_queues, read_storage, read_url

PREFIX = "ANNOLAKE_"

LogFormat = Literal["text", "json"]

LEAST_PER_SECOND = 0.1
"""Requests: with fewer, an export would only seem to hang."""

_TEN_YEARS_S = 315_360_000

# What a type and its bounds do not say. `read` is stricter than the type; a `secret` is never shown; only 0 is taken
# below `least`.
_URL = {"read": read_url, "allowed": "an http or https address without user name, query or spaces"}
_KEY_FILE = {"read": lambda value: None if value == "" else read_path(value), "allowed": "a file", "secret": True}
_VARIABLE = {"allowed": "the name of an environment variable", "secret": True}
_WORKSPACE = {"allowed": "a workspace's id", "secret": True}
_LIST = {
    "read": read_queues,
    "allowed": 'a list of queue ids, addresses of their pages or exact names, or "all"',
    "example": [f"{0:08}-0000-0000-0000-{0:012}"],
}
_LAKE = {
    "read": read_lake_path,
    "allowed": "a folder, or an address: s3://bucket/folder, gs://bucket/folder, az://container/folder",
    "example": "./lake",
}
_STORAGE = {"read": read_storage, "allowed": "a table of names and values, none of them a secret", "secret": True}
_SCRATCH = {"read": lambda value: None if value == "" else read_path(value), "allowed": "a folder"}
_METRICS = _SCRATCH | {"allowed": "a file"}
_RATE = {"least": LEAST_PER_SECOND, "allowed": "0, or a number from 0.1 to 10000"}
_COLUMN_NAMES = {"read": read_names, "allowed": "a list of columns: of runs by their name, of others as table.name"}

# The formatter would spread each setting over ten lines.
# fmt: off


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The service, and how it is queried."""

    base_url: Annotated[str, Meta(description="The service's address.", extra=_URL)] = "https://api.smith.langchain.com"
    api_key_env: Annotated[str, Meta(
        pattern=r"^(?!lsv2_|ls__)[A-Za-z_][A-Za-z0-9_]*\Z", extra=_VARIABLE,
        description="The environment variable that holds the API key; never the key itself.",
    )] = "LANGSMITH_API_KEY"
    api_key_file: Annotated[Path | None, Meta(
        extra=_KEY_FILE,
        description="A file that holds the API key, instead of a variable; only its owner should be able to read it.",
    )] = None
    tenant_id: Annotated[str, Meta(
        pattern=r"^[!-~]*\Z", extra=_WORKSPACE,
        description="The workspace, for keys that can see several; sent as X-Tenant-Id.",
    )] = ""
    bearer_token_env: Annotated[str, Meta(
        pattern=r"^(?!lsv2_|ls__)([A-Za-z_][A-Za-z0-9_]*)?\Z", extra=_VARIABLE,
        description="The variable that holds a bearer token, sent instead of a key; tenant_id is then required.",
    )] = ""
    queues: Annotated[tuple[str, ...] | Literal["all"], Meta(
        extra=_LIST,
        description='The queues to export; "all": every one that the key can see. In a variable, separated by commas.',
    )]
    endpoint: Annotated[Literal["auto", "runs", "items"], Meta(
        description="The endpoint to read; auto: the runs endpoint is used until it is retired, then items.",
    )] = "auto"
    include_archived: Annotated[bool, Meta(
        description="Export archived rows too; without them no row is ever marked removed.",
    )] = True
    include_stats: Annotated[bool, Meta(description="Ask for the feedback statistics of each row.")] = True
    subtree_usage: Annotated[bool, Meta(
        description="Tokens and costs of a run include those of its descendants, as over the runs endpoint.",
    )] = True
    feedback: Annotated[bool, Meta(
        description="Export what was said on the runs too, into the table feedback.",
    )] = True
    threads: Annotated[bool, Meta(
        description="Over items, export the turns of THREAD items too, into the table turns.",
    )] = True
    status: Annotated[Literal["", "needs_my_review", "needs_others_review", "completed"], Meta(
        description="Export only rows in this state of review; then no row is marked removed. Runs endpoint only.",
    )] = ""
    page_size: Annotated[int, Meta(
        ge=1, le=100,
        description="The most rows to ask for in one request (over runs two at least); fewer where rows are heavy.",
    )] = 100
    concurrency: Annotated[int, Meta(ge=1, le=64, description="Lanes: the most requests in flight at once.")] = 8
    max_requests_per_second: Annotated[float, Meta(
        ge=0, le=10_000, extra=_RATE,
        description="The most requests a second; 0: no limit. 429s slow an export down in any case.",
    )] = 0.0
    max_queries_per_10_s: Annotated[int, Meta(
        ge=0, le=10_000, description="The most run queries in any 10 seconds; 0: learned from the service's answers.",
    )] = 0
    max_inflight_mb: Annotated[int, Meta(
        ge=1, le=65_536, description="The most memory for pages, all lanes together, in MB.",
    )] = 64
    timeout_s: Annotated[float, Meta(
        gt=0, le=3600, description="How long the service may be silent within a request, in seconds.",
    )] = 30.0
    request_timeout_s: Annotated[float, Meta(
        gt=0, le=86_400, description="How long one request may take, its whole answer included, in seconds.",
    )] = 300.0
    max_response_mb: Annotated[int, Meta(
        ge=1, le=65_536, description="The largest answer, unpacked, in MB; if one is larger, fewer rows are asked for.",
    )] = 256


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often, and how patiently, a request is repeated."""

    max_attempts: Annotated[int, Meta(ge=1, le=100, description="Attempts before a request is given up.")] = 8
    max_wait_s: Annotated[float, Meta(
        ge=0, le=3600, description="The longest wait between two attempts, Retry-After included, in seconds.",
    )] = 60.0


class Sync(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is read again, and when."""

    lookback_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S, description="How long before the last complete export --new-only begins, in seconds.",
    )] = 86_400
    full_every_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S, description="--new-only reads all if the last complete full export is older (seconds).",
    )] = 604_800
    refresh_runs_every_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S,
        description="Over items, all runs are asked for if the last time is older (seconds); 0: by each export.",
    )] = 604_800
    refresh_feedback_every_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S,
        description="All feedback is read again if the last time is older (seconds); 0: by each export.",
    )] = 604_800


class Lake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the rows go."""

    path: Annotated[Path | str, Meta(
        extra=_LAKE,
        description="The folder of the lake, on a disk or in an object store. "
        "In a file, a relative path starts from the file's folder.",
    )]
    format: Annotated[Literal["", "parquet", "delta"], Meta(
        description="How tables are kept, fixed when the lake is made: plain Parquet files or Delta tables. "
        "Empty: as the lake is; a new one is delta in an object store, else parquet.",
    )] = ""
    storage: Annotated[Mapping[str, str], Meta(
        extra=_STORAGE,
        description="Options of the object store, such as endpoint and region; credentials come from the environment. "
        "In a variable, name=value with commas between.",
    )] = msgspec.field(default_factory=dict)
    scratch: Annotated[Path | None, Meta(
        extra=_SCRATCH,
        description="A local folder for unfinished files. Empty: in the lake's own, else the system's temporary one.",
    )] = None
    keep_versions_s: Annotated[int, Meta(
        ge=0, le=_TEN_YEARS_S,
        description="How long replaced files of a Delta table stay, for readers of older versions (seconds).",
    )] = 604_800
    shared: Annotated[bool, Meta(
        description="The folder of the lake is on a disk that every worker has mounted, at the same path.",
    )] = False
    compression: Annotated[Literal["zstd", "snappy", "gzip", "lz4", "none"], Meta(
        description="The compression of the Parquet files, but for columns of few bytes in small ones.",
    )] = "zstd"
    row_group_mb: Annotated[int, Meta(ge=1, le=1024, description="The largest row group, uncompressed, in MB.")] = 32
    keep_reports: Annotated[int, Meta(ge=1, le=1_000_000, description="The number of reports to keep.")] = 500


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the lake shall not hold."""

    exclude: Annotated[tuple[str, ...], Meta(
        extra=_COLUMN_NAMES,
        description="Columns that are left null, such as inputs or feedback.comment. "
        "In a variable, separated by commas.",
    )] = ()
    pseudonymize: Annotated[tuple[str, ...], Meta(
        extra=_COLUMN_NAMES,
        description="Columns with ids of people, replaced by a keyed hash: reserved_by, completed_by, assigned_to, "
        "feedback.user_id, queues.assigned_reviewers.",
    )] = ()
    pseudonym_key_env: Annotated[str, Meta(
        pattern=r"^(?!lsv2_|ls__)([A-Za-z_][A-Za-z0-9_]*)?\Z", extra=_VARIABLE,
        description="The environment variable that holds the key of these hashes, 16 characters at least; "
        "never the key itself.",
    )] = ""


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What monitors read."""

    textfile: Annotated[Path | None, Meta(
        extra=_METRICS,
        description="A file that an export fills with its figures for Prometheus, every 30 seconds and at its end.",
    )] = None


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is logged to standard error."""

    log_format: Annotated[LogFormat, Meta(
        description="The format of logs: key=value pairs, or one JSON object for each event.",
    )] = "text"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of an export."""

    source: Source
    retry: Retry = msgspec.field(default_factory=Retry)
    sync: Sync = msgspec.field(default_factory=Sync)
    lake: Lake
    columns: Columns = msgspec.field(default_factory=Columns)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    log: Log = msgspec.field(default_factory=Log)

# fmt: on


class Setting(NamedTuple):
    """One key, as everything here sees it; `default` is msgspec.NODEFAULT where it is required."""

    key: str
    hint: Any
    meta: Meta
    default: Any

    @property
    def extra(self) -> Mapping[str, Any]:
        """What its type and bounds do not say."""
        return self.meta.extra or {}

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.key.upper().replace(".", "__")

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of one that has a few, else none."""
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


SECTIONS: Mapping[str, type[msgspec.Struct]] = get_type_hints(Config)


def _settings() -> Iterator[Setting]:
    for section, struct in SECTIONS.items():
        for field in msgspec.structs.fields(struct):
            made = field.default_factory
            default = field.default if made is msgspec.NODEFAULT else made()
            yield Setting(f"{section}.{field.name}", field.type, get_args(field.type)[1], default)


SETTINGS = {setting.key: setting for setting in _settings()}


def settings_of(section: str) -> list[Setting]:
    """Return the settings of a section."""
    return [setting for setting in SETTINGS.values() if setting.key.startswith(f"{section}.")]
