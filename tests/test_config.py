"""Settings: precedence, every way to get one wrong, and the key, which is never to be seen."""

import copy
import pickle
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annolake.config import Config, Lake, load_config
from annolake.credentials import Credentials, credentials, pseudonym_key
from annolake.errors import ConfigError
from annolake.settings_text import example_toml, markdown_table

QUEUE = "0b1c2d3e-4f50-4a1b-8c2d-3e4f50617283"
KEY = "lsv2_pt_0123456789abcdef_planted"
NEEDED: dict[str, object] = {"source.queues": [QUEUE], "lake.path": "lake"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder, which the settings' file is written to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    """Return a settings' file in a folder of its own."""
    file = folder / "etc" / "annolake.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def complaint(
    path: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> str:
    """Return what load_config complains of."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {}, overrides or {})
    return str(caught.value)


def test_the_defaults_are_those_of_the_contract() -> None:
    """What is not set has the documented default."""
    config = load_config(None, {}, NEEDED)

    assert msgspec.structs.asdict(config.source) == {
        "base_url": "https://api.smith.langchain.com",
        "api_key_env": "LANGSMITH_API_KEY",
        "api_key_file": None,
        "tenant_id": "",
        "bearer_token_env": "",
        "queues": (QUEUE,),
        "endpoint": "auto",
        "include_archived": True,
        "include_stats": True,
        "subtree_usage": True,
        "feedback": True,
        "threads": True,
        "status": "",
        "page_size": 100,
        "concurrency": 8,
        "max_requests_per_second": 0,
        "max_queries_per_10_s": 0,
        "max_inflight_mb": 64,
        "timeout_s": 30.0,
        "request_timeout_s": 300.0,
        "max_response_mb": 256,
    }
    assert msgspec.structs.asdict(config.retry) == {"max_attempts": 8, "max_wait_s": 60.0}
    assert msgspec.structs.asdict(config.sync) == {
        "lookback_s": 86400,
        "full_every_s": 604800,
        "refresh_runs_every_s": 604800,
        "refresh_feedback_every_s": 604800,
    }
    assert config.lake == Lake(path=Path("lake"), compression="zstd", row_group_mb=32, keep_reports=500)
    assert config.metrics.textfile is None
    assert config.log.log_format == "text"


def test_settings_cannot_be_changed() -> None:
    """An export runs with the settings it began with."""
    with pytest.raises(AttributeError, match="immutable"):
        load_config(None, {}, NEEDED).source.page_size = 5  # type: ignore[misc]  # that is the point


def test_command_line_beats_environment_beats_file_beats_default(folder: Path) -> None:
    """Each layer changes what the one below it set, key by key."""
    file = written(
        folder,
        f'[source]\nqueues = ["{QUEUE}"]\npage_size = 1\nconcurrency = 1\ntimeout_s = 1\n[lake]\npath = "lake"\n',
    )
    environ = {"ANNOLAKE_SOURCE__PAGE_SIZE": "2", "ANNOLAKE_SOURCE__CONCURRENCY": "2"}
    source = load_config(file, environ, {"source.page_size": 3}).source

    assert (source.page_size, source.concurrency, source.timeout_s, source.max_inflight_mb) == (3, 2, 1.0, 64)


def test_the_file_is_annolake_toml_unless_named(folder: Path) -> None:
    """Without a path ./annolake.toml is read; without that file either, the environment may say all."""
    environ = {"ANNOLAKE_SOURCE__QUEUES": "all", "ANNOLAKE_LAKE__PATH": "here"}
    assert load_config(None, environ).source.page_size == 100

    (folder / "annolake.toml").write_text("[source]\npage_size = 7\n")

    assert load_config(None, environ).source.page_size == 7


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("SOURCE__PAGE_SIZE", "50", 50),
        ("SOURCE__TIMEOUT_S", "2.5", 2.5),
        ("SOURCE__TIMEOUT_S", "30", 30.0),
        ("SOURCE__INCLUDE_STATS", "false", False),
        ("SOURCE__INCLUDE_STATS", "True", True),
        ("SOURCE__ENDPOINT", "items", "items"),
        ("SOURCE__TENANT_ID", "", ""),
        ("SOURCE__BASE_URL", "http://localhost:1984/", "http://localhost:1984"),
        ("SOURCE__QUEUES", "all", "all"),
        ("SOURCE__QUEUES", f"{QUEUE}, {QUEUE[:-1]}4", (QUEUE, f"{QUEUE[:-1]}4")),
        ("LOG__LOG_FORMAT", "json", "json"),
    ],
)
def test_the_environment_is_read_by_type(variable: str, text: str, value: object) -> None:
    """A variable's text becomes a number, a truth value, a list, as the setting asks."""
    environ = {"ANNOLAKE_SOURCE__QUEUES": "all", "ANNOLAKE_LAKE__PATH": "lake", f"ANNOLAKE_{variable}": text}
    section, name = variable.lower().split("__")

    assert getattr(getattr(load_config(None, environ), section), name) == value


def test_every_setting_has_a_variable(folder: Path) -> None:
    """Whatever the example file sets can be set by the environment alone."""
    document = tomllib.loads(example_toml())
    environ = {
        f"ANNOLAKE_{section}__{name}".upper(): ",".join(value) if isinstance(value, list) else str(value).strip("{}")
        for section, table in document.items()
        for name, value in table.items()
    }

    assert load_config(None, environ) == load_config(written(folder, example_toml()), {}, {"lake.path": "lake"})


def test_the_example_is_made_from_the_settings() -> None:
    """config.example.toml in the repository is what example_toml returns."""
    example = Path(__file__).parents[1] / "config.example.toml"

    assert example.read_text() == example_toml()


def test_the_example_shows_every_setting_with_its_default(folder: Path) -> None:
    """Copied as it is, the example means the defaults."""
    config = load_config(written(folder, example_toml()), {})
    sections = {name: set(msgspec.structs.asdict(getattr(config, name))) for name in Config.__struct_fields__}

    assert {section: set(table) for section, table in tomllib.loads(example_toml()).items()} == sections
    assert config == load_config(
        None, {}, {"source.queues": ["00000000-0000-0000-0000-000000000000"], "lake.path": folder / "etc" / "lake"}
    )


def test_the_table_has_a_row_for_every_setting() -> None:
    """The README's table names each setting once, in four columns."""
    rows = markdown_table().splitlines()
    count = sum(len(table) for table in tomllib.loads(example_toml()).values())

    assert len(rows) == len(set(rows)) == count + 2
    assert {row.count("|") for row in rows} == {5}
    assert (
        "| `source.page_size` | `100` | a whole number from 1 to 100 | The most rows to ask for in one "
        "request (over runs two at least); fewer where rows are heavy. |" in rows
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("page_size = 0", "source.page_size: expected a whole number from 1 to 100, got 0 (in {file})"),
        ("page_size = 101", "source.page_size: expected a whole number from 1 to 100, got 101 (in {file})"),
        ('page_size = "50"', 'source.page_size: expected a whole number from 1 to 100, got "50" (in {file})'),
        ("page_size = 5.5", "source.page_size: expected a whole number from 1 to 100, got 5.5 (in {file})"),
        ("page_size = true", "source.page_size: expected a whole number from 1 to 100, got true (in {file})"),
        ("page_size = [1]", "source.page_size: expected a whole number from 1 to 100, got a list (in {file})"),
        ("timeout_s = 0", "source.timeout_s: expected a number above 0, at most 3600, got 0 (in {file})"),
        ("timeout_s = nan", "source.timeout_s: expected a number above 0, at most 3600, got NaN (in {file})"),
        (
            "max_requests_per_second = nan",
            "source.max_requests_per_second: expected 0, or a number from 0.1 to 10000, got NaN (in {file})",
        ),
        ("max_requests_per_second = -1", "expected 0, or a number from 0.1 to 10000, got -1"),
        ("max_requests_per_second = 0.09", "expected 0, or a number from 0.1 to 10000, got 0.09"),
        ("max_requests_per_second = 1e-300", "expected 0, or a number from 0.1 to 10000, got 1e-300"),
        ("include_stats = 1", "source.include_stats: expected true or false, got 1 (in {file})"),
        (
            'endpoint = "rums"',
            'source.endpoint: expected one of "auto", "runs", "items", got "rums" (in {file}); did you mean "runs"?',
        ),
        ('status = "complete"', 'got "complete" (in {file}); did you mean "completed"?'),
        ('endpoint = "\\u001b[31m"', 'got "\\u001b[31m" (in {file})'),
        (f'endpoint = "{"x" * 5000}"', f'got "{"x" * 79}... (in {{file}})'),
        (
            "queues = 5",
            'source.queues: expected a list of queue ids, addresses of their pages or exact names, or "all", got 5',
        ),
        ("queues = []", "got a list (in {file})"),
        ("queues = [5]", "got a list (in {file})"),
        ('queues = ""', 'got "" (in {file})'),
        ('queues = ["all", "some"]', 'got "all" (in {file})'),
        (
            'queues = ["https://service/o/1/projects"]',
            'got "https://service/o/1/projects" (in {file}); of a queue with such a name give the id',
        ),
        (f'queues = ["https://user:pw@service/annotation-queues/{QUEUE}"]', "got a value that is not shown"),
        (f'queues = ["{QUEUE}", "{QUEUE}0"]', f'got "{QUEUE}0" (in {{file}}); of a queue with such a name give the id'),
        ('base_url = "ftp://host"', "expected an http or https address without user name, query or spaces, got "),
        ('base_url = "host"', 'got "host" (in {file})'),
        ('base_url = "https://"', 'got "https://" (in {file})'),
        ('base_url = "https://host..x"', 'got "https://host..x" (in {file})'),
        ('base_url = "https://.x"', 'got "https://.x" (in {file})'),
        (f'base_url = "https://{64 * "a"}.x"', "source.base_url: expected"),
        ('base_url = "https://host?key=1"', "source.base_url: expected"),
        ('base_url = "https://host name"', "source.base_url: expected"),
        ('base_url = "https://host:port"', "source.base_url: expected"),
        ('base_url = ["https://host"]', "source.base_url: expected"),
        ("base_url = 5", "got 5 (in {file})"),
        ("base_url = 2026-11-20", "got a value that is not shown (in {file})"),
        ("api_key_file = false", "source.api_key_file: expected a file, got a value that is not shown (in {file})"),
        ('tenant_id = "a\\nb"', "source.tenant_id: expected a workspace's id, got a value that is not shown"),
        ('bearer_token_env = "MY TOKEN"', "source.bearer_token_env: expected the name of an environment variable"),
        ('api_key_env = ""', "source.api_key_env: expected the name of an environment variable"),
        (f'api_key_env = "{KEY}"', "source.api_key_env: expected the name of an environment variable, got a value"),
        (f'bearer_token_env = "{KEY}"', "source.bearer_token_env: expected the name of an environment variable"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(folder: Path, line: str, says: str) -> None:
    """Setting, what is allowed, what was given, where, and what may have been meant."""
    file = written(folder, f"[source]\n{line}\n")
    overrides = {key: value for key, value in NEEDED.items() if not line.startswith("queues")} | {"lake.path": "x"}
    if "queues" not in line:
        overrides["source.queues"] = [QUEUE]
    said = complaint(file, {}, overrides)

    assert says.format(file=file) in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[source]\npage_sice = 5", "source.page_sice: no such setting (in {file}); did you mean source.page_size?"),
        ("[lake]\npage_size = 5", "lake.page_size: no such setting (in {file}); did you mean source.page_size?"),
        ("page_size = 5", "page_size: no such section (in {file}); did you mean source.page_size?"),
        ("[sorce]\npage_size = 5", "sorce: no such section (in {file}); did you mean source?"),
        ("[[source]]\npage_size = 5", "source: expected a section, written [source] (in {file})"),
        ("source = 5", "source: expected a section, written [source] (in {file})"),
        ("[log]\nzzz = 5", "log.zzz: no such setting (in {file}); there are log.log_format"),
        ("[zzz]", "zzz: no such section (in {file}); there are source, retry, sync, lake, columns, metrics, log"),
        ('[source]\n"\\u001b[31m" = 5', "source.\\x1b[31m: no such setting"),
        (
            '[columns]\npseudonym_key = "x"',
            "the key itself is never a setting: columns.pseudonym_key_env names the variable that holds it",
        ),
    ],
)
def test_an_unknown_name_is_told_with_what_was_meant(folder: Path, text: str, says: str) -> None:
    """A misspelt setting or section is an error, and the nearest one is named."""
    file = written(folder, text)

    assert says.format(file=file) in complaint(file, {}, NEEDED)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ANNOLAKE_SOURCE__PAGESIZE", "did you mean ANNOLAKE_SOURCE__PAGE_SIZE?"),
        ("ANNOLAKE_SOURCE_PAGE_SIZE", "did you mean ANNOLAKE_SOURCE__PAGE_SIZE?"),
        ("ANNOLAKE_LAKE__PAGE_SIZE", "did you mean ANNOLAKE_SOURCE__PAGE_SIZE?"),
        ("ANNOLAKE_ZZZ__YYY", "no such setting (in ANNOLAKE_ZZZ__YYY)"),
        ("ANNOLAKE_FOO", "foo: no such section (in ANNOLAKE_FOO); there are source, retry"),
        ("ANNOLAKE_BASE_URL", "did you mean ANNOLAKE_SOURCE__BASE_URL?"),
        ("ANNOLAKE_API_KEY", "the key itself is never a setting"),
        ("ANNOLAKE_SERVICES", "no such section (in ANNOLAKE_SERVICES)"),
    ],
)
def test_an_unknown_variable_is_told(name: str, says: str) -> None:
    """A variable that looks like a setting and is none is an error too."""
    assert says in complaint(None, {name: "5"}, NEEDED)


def test_other_variables_are_nobody_s_business() -> None:
    """Variables of other programs, and Kubernetes' own of a service called annolake, are left alone."""
    others = {"ANNOLAKE": "x", "PATH": "x", "annolake_source__page_size": "x"}
    pod = {"ANNOLAKE_SERVICE_HOST": "10.0.0.1", "ANNOLAKE_SERVICE_PORT_HTTP": "80", "ANNOLAKE_PORT_80_TCP": "tcp://x"}

    assert load_config(None, {**others, **pod, "ANNOLAKE_PORT": "tcp://x"}, NEEDED).source.page_size == 100


@pytest.mark.parametrize("setting", ["api_key_env", "bearer_token_env"])
def test_a_variable_that_a_setting_names_is_no_setting(setting: str, folder: Path) -> None:
    """The key may be in a variable that begins as ours do, wherever its name is set."""
    file = written(folder, f'[source]\n{setting} = "ANNOLAKE_DEMO_KEY"\ntenant_id = "t"\n')
    named = {f"ANNOLAKE_SOURCE__{setting.upper()}": "ANNOLAKE_SOURCE__SECRET", "ANNOLAKE_SOURCE__SECRET": "x"}

    assert getattr(load_config(file, {"ANNOLAKE_DEMO_KEY": "x"}, NEEDED).source, setting) == "ANNOLAKE_DEMO_KEY"
    assert getattr(load_config(file, named, NEEDED).source, setting) == "ANNOLAKE_SOURCE__SECRET"
    assert "no such setting (in ANNOLAKE_DEMO_KEY)" in complaint(file, {**named, "ANNOLAKE_DEMO_KEY": "x"}, NEEDED)


def test_everything_wrong_is_told_at_once(folder: Path) -> None:
    """One line for each mistake, from all places."""
    file = written(folder, "[source]\npage_size = 0\nfoo = 1\n")
    said = complaint(file, {"ANNOLAKE_RETRY__MAX_ATTEMPTS": "many"}, {"source.endpoint": "x"}).splitlines()

    assert len(said) == 6
    assert (
        'retry.max_attempts: expected a whole number from 1 to 100, got "many" (in ANNOLAKE_RETRY__MAX_ATTEMPTS)'
        in said
    )
    assert 'source.endpoint: expected one of "auto", "runs", "items", got "x" (on the command line)' in said
    assert any(line.startswith("lake.path: required: a folder, or an address: s3://bucket/folder") for line in said)
    assert any(line.startswith("source.queues: required: a list of queue ids") for line in said)


def test_a_value_that_another_layer_replaces_is_not_judged(folder: Path) -> None:
    """What the command line sets anew cannot be wrong in the file."""
    file = written(folder, "[source]\npage_size = 0\n")

    assert load_config(file, {}, NEEDED | {"source.page_size": 5}).source.page_size == 5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"source.bearer_token_env": "TOKEN"}, "source.tenant_id: required with source.bearer_token_env"),
        (
            {"source.bearer_token_env": "TOKEN", "source.tenant_id": "t", "source.api_key_file": "f"},
            "source.bearer_token_env and source.api_key_file are both set",
        ),
        ({"source.endpoint": "items", "source.status": "completed"}, "source.status: the items endpoint cannot"),
    ],
)
def test_settings_that_do_not_fit_together_are_told(settings: dict[str, object], says: str) -> None:
    """Settings that are right alone can be wrong together."""
    assert says in complaint(None, {}, NEEDED | settings)


def test_queue_ids_are_brought_into_one_form() -> None:
    """Capitals, spaces and repetitions do not make another queue."""
    overrides = NEEDED | {"source.queues": (QUEUE.upper(), f" {QUEUE} ")}

    assert load_config(None, {}, overrides).source.queues == (QUEUE,)


@pytest.mark.parametrize("end", ["", "/", "?tab=runs", "#x", "/runs/1"])
def test_a_queue_is_named_by_its_page_too(end: str) -> None:
    """The address is copied from a browser; names stay as they are, apart from white space around them."""
    page = f"https://smith.example/o/{QUEUE[::-1]}/annotation-queues/{QUEUE.upper()}{end}"
    variable = {"ANNOLAKE_SOURCE__QUEUES": f"{page}, Support: Tier 1 ,{QUEUE}"}

    assert load_config(None, variable, {"lake.path": "x"}).source.queues == (QUEUE, "Support: Tier 1")


@pytest.mark.parametrize("given", ["0", "0.1", "10000"])
def test_a_rate_is_none_or_one_that_gets_on(given: str) -> None:
    """A rate below a request in ten seconds is refused, 0 is no limit."""
    config = load_config(None, {"ANNOLAKE_SOURCE__MAX_REQUESTS_PER_SECOND": given}, NEEDED)

    assert config.source.max_requests_per_second == float(given)


@pytest.mark.parametrize(
    "url", ["https://eu.api.smith.langchain.com/", "http://127.0.0.1:1984", "https://h/langsmith//"]
)
def test_an_address_loses_its_trailing_slash(url: str) -> None:
    """A path prefix stays."""
    assert load_config(None, {}, NEEDED | {"source.base_url": url}).source.base_url == url.rstrip("/")


def test_a_relative_path_belongs_to_where_it_is_written(folder: Path) -> None:
    """In a file it starts from the file's folder; elsewhere from the folder annolake runs in; ~ is home."""
    text = f'[source]\nqueues = ["{QUEUE}"]\napi_key_file = "key"\n[lake]\npath = "lake"\n'
    file = written(folder, text)
    config = load_config(file, {})

    assert (config.lake.path, config.source.api_key_file) == (file.parent / "lake", file.parent / "key")
    assert load_config(file, {"ANNOLAKE_LAKE__PATH": "lake"}).lake.path == Path("lake")
    assert load_config(file, {}, {"lake.path": "/data"}).lake.path == Path("/data")
    assert load_config(file, {"HOME": "/home/me"}, {"lake.path": "~/lake"}).lake.path == Path("/home/me/lake")


@pytest.mark.parametrize(
    "path",
    [
        *("", 5, "file:///lake", "http://host/lake", "s3a://bucket/lake", "S3://bucket/lake", "s3://", "s3:///lake"),
        *("s3://bucket//lake", "s3://bucket/../lake", "s3://bucket/./lake", "s3://bucket/a lake", "s3://bucket/100%"),
    ],
)
def test_a_lake_is_a_folder_or_an_address(path: object) -> None:
    """Nothing else is taken for either, least of all for a folder called "s3:"."""
    assert "lake.path: expected a folder, or an address: s3://bucket/folder" in complaint(
        None, {}, NEEDED | {"lake.path": path}
    )


@pytest.mark.parametrize(
    "path", ["s3://bucket", "gs://b.u-c_k/lake/of=mine", "az://container/lake/", "s3://bucket/..lake"]
)
def test_an_address_of_a_lake_stays_as_it_is(folder: Path, path: str) -> None:
    """In a file too, where a folder would start from the file's."""
    file = written(folder, f'[source]\nqueues = "all"\n[lake]\npath = "{path}"\n')

    assert load_config(file, {}).lake.path == path.rstrip("/")


@pytest.mark.parametrize("path", ["s3://key:planted@bucket/lake", "az://container/lake?sig=planted"])
def test_an_address_with_a_secret_in_it_is_not_repeated(path: str) -> None:
    """Some tools take credentials there."""
    said = complaint(None, {}, NEEDED | {"lake.path": path})

    assert "lake.path: expected a folder, or an address" in said
    assert "planted" not in said


def test_options_of_a_store_come_from_file_and_variable(folder: Path) -> None:
    """As text, as the store's client takes them; the variable replaces the file's."""
    text = """
        [source]
        queues = "all"
        [lake]
        path = "s3://bucket/lake"
        [lake.storage]
        endpoint = "http://127.0.0.1:8333"
        allow_http = true
        AWS_SSE_KMS_KEY_ID = "arn:aws:kms:eu-central-1:1:key/abc"
        connect_timeout = "5s"
    """
    file = written(folder, text)

    assert dict(load_config(file, {}).lake.storage) == {
        "endpoint": "http://127.0.0.1:8333",
        "allow_http": "true",
        "AWS_SSE_KMS_KEY_ID": "arn:aws:kms:eu-central-1:1:key/abc",
        "connect_timeout": "5s",
    }
    variable = {"ANNOLAKE_LAKE__STORAGE": "region=eu-west-1, endpoint=https://store/?a=b"}
    assert dict(load_config(file, variable).lake.storage) == {"region": "eu-west-1", "endpoint": "https://store/?a=b"}
    assert dict(load_config(file, {"ANNOLAKE_LAKE__STORAGE": ""}).lake.storage) == {}


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("access_key_id", "planted", "the environment variable AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "planted", "the environment variable AWS_SECRET_ACCESS_KEY"),
        ("aws_session_token", "planted", "the environment variable AWS_SESSION_TOKEN"),
        ("account_key", "planted", "the environment variable AZURE_STORAGE_ACCOUNT_KEY"),
        ("azure_storage_sas_key", "planted", "the environment variable AZURE_STORAGE_SAS_KEY"),
        ("sas_token", "planted", "the environment variable AZURE_STORAGE_SAS_KEY"),
        ("azure_client_secret", "planted", "the environment variable AZURE_STORAGE_CLIENT_SECRET"),
        ("google_service_account_key", "planted", "the environment variable GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("sse_customer_key_base64", "planted", "the store's own variable"),
        ("Password", "planted", "the store's own variable"),
        ("proxy_url", "http://me:planted@proxy", "the store's own variable"),
        ("endpoint", "https://host/?sv=1&sig=planted", "the store's own variable"),
    ],
)
def test_a_secret_of_a_store_is_sent_to_its_variable(folder: Path, name: str, value: str, instead: str) -> None:
    """In any spelling, in the file or in the variable of all options; it is never repeated."""
    file = written(folder, f'[source]\nqueues = "all"\n[lake]\npath = "s3://bucket"\nstorage.{name} = "{value}"\n')
    in_variable = complaint(None, {"ANNOLAKE_LAKE__STORAGE": f"region=eu,{name}={value}"}, NEEDED)

    said = f"lake.storage.{name}: a secret does not belong there ({{}}): set {instead}"
    assert complaint(file) == said.format(f"in {file}")
    assert in_variable == said.format("in ANNOLAKE_LAKE__STORAGE")
    assert "planted" not in in_variable


@pytest.mark.parametrize(
    "value", [5, "endpoint", ["endpoint"], {"end point": "x"}, {"endpoint": 1.5}, {"a": {"b": "c"}}]
)
def test_options_that_are_no_table_of_text_are_told(value: object) -> None:
    """Nothing of them is repeated."""
    assert complaint(None, {}, NEEDED | {"lake.storage": value}).startswith(
        "lake.storage: expected a table of names and values, none of them a secret, got a "
    )


def test_a_missing_file_is_told() -> None:
    """Named or not, one sentence says which file is missing and what to do."""
    assert complaint() == "annolake.toml: no such file: `annolake init` writes one, or name yours with --config"
    assert complaint(Path("x.toml"), {}, NEEDED).startswith("x.toml: no such file")


def test_a_folder_is_no_file(folder: Path) -> None:
    """A path that leads to a folder is told as such."""
    assert complaint(folder) == f"{folder} cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[source]\npage_size = \n", "is not TOML, at line 2, column 13: is a quote missing?"),
        (b"[source", "is not TOML, at end of document"),
        (b"[source]\npage_size = 1\npage_size = 2\n", "is not TOML, at line 3"),
        (f"[source]\napi_key_env = {KEY}\n".encode(), "is not TOML, at line 2, column 15"),
        (f'[source]\n{KEY} = "x"\n{KEY} = "x"\n'.encode(), "is not TOML, at line 3"),
        (b"[source]\n# \xe4\n", "is not UTF-8 text (byte 11): save it as UTF-8"),
        (b"x = " + b"[" * 5000, "is not TOML"),
        (b"x = " + b"9" * 5000, "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_line_alone(folder: Path, content: bytes, says: str) -> None:
    """Where the mistake is, never what is written there."""
    file = folder / "annolake.toml"
    file.write_bytes(content)
    said = complaint()

    assert said.startswith(f"annolake.toml {says}")
    assert KEY not in said


def test_a_byte_order_mark_is_no_mistake(folder: Path) -> None:
    """Some editors write one."""
    (folder / "annolake.toml").write_bytes(b"\xef\xbb\xbf[source]\npage_size = 9\n")

    assert load_config(None, {}, NEEDED).source.page_size == 9


MISPLACED = [
    f'[source]\napi_key = "{KEY}"',
    f'[source]\nkey = "{KEY}"',
    f'[source]\ntoken = "{KEY}"',
    f'[source]\napi_key_env = "{KEY}"',
    f'[source]\napi_key_env = "{KEY} "',
    f'[source]\nbearer_token_env = "{KEY}"',
    f'[source]\napi_key_file = ["{KEY}"]',
    f'[source]\ntenant_id = "{KEY}\\n"',
    f'[source]\nqueues = "{KEY}"',
    f'[source]\nqueues = ["{KEY}"]',
    f'[source]\nendpoint = "{KEY}"',
    f'[source]\npage_size = "{KEY}"',
    f'[source]\nbase_url = "https://{KEY}@host"',
    f'[source]\nbase_url = "https://user:{KEY}@host:port"',
    f'[source]\n{KEY} = "x"',
    f'{KEY} = "x"',
    f'source = "{KEY}"',
    f"[{KEY}]",
    f'api_key = "{KEY}"',
]


@pytest.mark.parametrize("text", MISPLACED)
def test_a_key_in_the_wrong_place_is_never_repeated(folder: Path, text: str) -> None:
    """Whatever people paste the key into, the complaint does not show it."""
    file = written(folder, text)
    said = complaint(file, {}, {"lake.path": "lake"})

    assert KEY not in said
    assert "planted" not in said


@pytest.mark.parametrize(
    "name", ["API_KEY", "SOURCE__API_KEY", "SOURCE__TOKEN", "SOURCE__API_KEY_ENV", "SOURCE__QUEUES"]
)
def test_a_key_in_the_wrong_variable_is_never_repeated(name: str) -> None:
    """The environment is no other than the file."""
    environ = {"ANNOLAKE_LAKE__PATH": "", f"ANNOLAKE_{name}": KEY}

    assert "planted" not in complaint(None, environ)


@pytest.mark.parametrize("name", ["api_key", "langsmith_api_key", "token", "password"])
def test_whoever_sets_the_key_itself_is_told_how(folder: Path, name: str) -> None:
    """A setting that would hold the key does not exist, and the two that lead to it are named."""
    said = complaint(written(folder, f'[source]\n{name} = "{KEY}"'), {}, NEEDED)

    assert f"source.{name}: no such setting" in said
    assert "source.api_key_env names the variable, source.api_key_file the file" in said


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = [f"{section}.{name}" for section, table in tomllib.loads(example_toml()).items() for name in table]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(st.dictionaries(st.sampled_from([*KEYS, "source", "x.y", "api.key"]), VALUES, max_size=4))
def test_any_value_is_taken_or_told(overrides: dict[str, object]) -> None:
    """Nothing that can be given ends in anything but settings or a ConfigError of whole lines."""
    try:
        said = [f"page_size {load_config(None, {}, NEEDED | overrides).source.page_size}"]
    except ConfigError as error:
        said = str(error).split("\n")

    assert all(line and line.isprintable() for line in said)


def _configured(**settings: Any) -> Config:
    return load_config(None, {}, NEEDED | {f"source.{name}": value for name, value in settings.items()})


def test_the_key_comes_from_the_variable() -> None:
    """White space around it, as shells and editors leave it, does no harm; the workspace goes along."""
    found = credentials(_configured(tenant_id="w1"), {"LANGSMITH_API_KEY": f" {KEY}\n"})

    assert found.headers() == {"X-API-Key": KEY, "X-Tenant-Id": "w1"}
    assert found.name == "LANGSMITH_API_KEY"


def test_the_key_comes_from_the_file_when_one_is_set(tmp_path: Path) -> None:
    """api_key_file goes before the variable."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")

    assert credentials(_configured(api_key_file=file), {"LANGSMITH_API_KEY": "other"}).headers() == {"X-API-Key": KEY}


def test_a_bearer_token_is_sent_instead_of_a_key() -> None:
    """With bearer_token_env no key is read at all."""
    found = credentials(_configured(bearer_token_env="TOKEN", tenant_id="w1"), {"TOKEN": KEY})

    assert found.headers() == {"Authorization": f"Bearer {KEY}", "X-Tenant-Id": "w1"}


@pytest.mark.parametrize(
    ("settings", "environ", "says"),
    [
        ({}, {}, "LANGSMITH_API_KEY is not set: export it with the key of the service, or change source.api_key_env"),
        ({"api_key_env": "MY_KEY"}, {"LANGSMITH_API_KEY": "k"}, "MY_KEY is not set"),
        ({"api_key_env": "hunter2"}, {}, "the variable that source.api_key_env names is not set"),
        ({"api_key_env": "H" * 80}, {}, "the variable that source.api_key_env names is not set"),
        ({"bearer_token_env": "T", "tenant_id": "w"}, {}, "T is not set: .*, or change source.bearer_token_env"),
        ({}, {"LANGSMITH_API_KEY": " \n"}, "LANGSMITH_API_KEY is empty"),
        ({}, {"LANGSMITH_API_KEY": "hunter2 hunter2"}, "LANGSMITH_API_KEY holds more than a key: it has a space"),
        ({}, {"LANGSMITH_API_KEY": "hunter2\r\nX: y"}, "LANGSMITH_API_KEY holds more than a key"),
        ({}, {"LANGSMITH_API_KEY": "“hunter2”"}, "LANGSMITH_API_KEY holds more than a key"),
        ({"api_key_env": "hunter2"}, {"hunter2": "ü"}, "the variable that source.api_key_env names holds more"),
        ({"api_key_file": "hunter2"}, {}, "source.api_key_file: the file cannot be read: No such file or directory"),
        ({"api_key_file": "."}, {}, "source.api_key_file: the file cannot be read: Is a directory"),
    ],
)
def test_a_key_that_cannot_be_had_is_told(settings: dict[str, str], environ: dict[str, str], says: str) -> None:
    """Where it was looked for and what is wrong with it; neither the key nor what could be one is shown."""
    with pytest.raises(ConfigError, match=says) as caught:
        credentials(_configured(**settings), environ)

    assert "hunter2" not in str(caught.value)
    assert "HHHH" not in str(caught.value)


@pytest.mark.parametrize(("content", "says"), [(b"", "is empty"), (b"\xff\xfe", "is not text"), (b"a\nb", "more than")])
def test_a_key_file_holds_the_key_alone(tmp_path: Path, content: bytes, says: str) -> None:
    """An empty file, a binary one and one of several lines are told apart."""
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=says):
        credentials(_configured(api_key_file=file), {})


def test_credentials_show_themselves_nowhere() -> None:
    """No way to print, copy or write them down brings the key out."""
    found = credentials(_configured(), {"LANGSMITH_API_KEY": KEY})

    for text in (repr(found), str(found), f"{found}", f"{found!r:>50}", repr([found]), repr(vars(Credentials))):
        assert KEY not in text
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            write(found)
    with pytest.raises(TypeError):
        msgspec.json.encode(found)


def test_headers_are_the_caller_s_own() -> None:
    """Who adds to the headers changes no one else's."""
    found = credentials(_configured(), {"LANGSMITH_API_KEY": KEY})
    found.headers()["X-API-Key"] = "other"

    assert found.headers() == {"X-API-Key": KEY}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('exclude = ["inptus"]', 'columns.exclude: "inptus" is no column of the table runs; did you mean "inputs"?'),
        ('exclude = ["comment"]', 'is no column of the table runs; did you mean "feedback.comment"?'),
        ('exclude = ["runs.x"]', "is no column of the table runs; `annolake schema` lists the columns"),
        ('exclude = ["rows.x"]', '"rows.x" names no table of the lake; there are runs, queues, feedback, turns'),
        ('exclude = ["queue_run_id"]', "cannot be left out: it is the key of the row"),
        ('exclude = ["added_at"]', "cannot be left out: the partitions go by it"),
        ('exclude = ["effective_added_at"]', "cannot be left out: the service may sort its lists by it"),
        ('exclude = ["queue_id"]', "cannot be left out: it is the name of a folder"),
        ('exclude = ["turns.row_hash"]', "cannot be left out: exports go by it"),
        ('exclude = ["queues.name"]', "cannot be left out: queues are told apart by it"),
        ('exclude = "inputs"', None),
        ("exclude = [7]", "columns.exclude: expected a list of columns: of runs by their name"),
        ('pseudonymize = ["reserved_by"]', "columns.pseudonym_key_env: required with columns.pseudonymize"),
        ('pseudonymize = ["inputs"]', '"inputs" holds no ids of people; those that do are runs.reserved_by,'),
        ('pseudonymize = ["user_id"]', 'did you mean "feedback.user_id"?'),
        ('pseudonym_key_env = "lsv2_pt_x"', "columns.pseudonym_key_env: expected the name of an environment variable"),
    ],
)
def test_a_column_that_cannot_be_left_out_is_told(folder: Path, setting: str, says: str | None) -> None:
    """Which one, why, and which may have been meant; all is known before anything is read."""
    text = f'[source]\nqueues = "all"\n[lake]\npath = "lake"\n[columns]\n{setting}\n'
    if says is None:
        assert load_config(written(folder, text), {}).columns.exclude == ("inputs",)
        return
    said = complaint(written(folder, text), {}, {})
    assert says in said
    assert "lsv2_pt_x" not in said


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "PSEUDONYM_KEY is not set: export it with the key of pseudonyms"),
        ({"PSEUDONYM_KEY": " "}, "PSEUDONYM_KEY is not set"),
        ({"PSEUDONYM_KEY": "sh0rt"}, "PSEUDONYM_KEY is too short: a key of fewer than 16 characters could be guessed"),
    ],
)
def test_a_key_of_pseudonyms_that_is_none_is_told(folder: Path, environ: dict[str, str], says: str) -> None:
    """Where it should come from; never what it is."""
    text = '[columns]\npseudonymize = ["reserved_by"]\npseudonym_key_env = "PSEUDONYM_KEY"\n'
    config = load_config(written(folder, text), {}, NEEDED)
    with pytest.raises(ConfigError, match=says) as told:
        pseudonym_key(config, environ)
    assert "sh0rt" not in str(told.value)
    assert pseudonym_key(config, {"PSEUDONYM_KEY": "0123456789abcdef"}) == b"0123456789abcdef"
