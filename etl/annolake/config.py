"""The settings of an export: read from the command line, the environment and a file, in that order of precedence.

Owns where a value comes from and what is said of one that does not fit, also of one that a program has set itself. What
could be a key that was pasted into the wrong place is never repeated; the key itself is read by `credentials`.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from annolake.columns.rules import ColumnNameError, excludable, pseudonymizable
from annolake.errors import ConfigError
from annolake.setting_values import SecretError, UnfitError
from annolake.settings import (
    PREFIX,
    SECTIONS,
    SETTINGS,
    Columns,
    Config,
    Lake,
    Log,
    LogFormat,
    Metrics,
    Retry,
    Setting,
    Source,
    Sync,
    settings_of,
)

__all__ = [
    "Columns",
    "Config",
    "Lake",
    "Log",
    "Metrics",
    "Retry",
    "Source",
    "Sync",
    "checked",
    "load_config",
    "load_lake_config",
    "load_service_config",
    "with_absolute_paths",
]

DEFAULT_FILE = Path("annolake.toml")

_NEEDED = ("source.queues", "lake.path")

_SHOWN = 80  # characters of a value in a message
_LOOKS_LIKE_A_KEY = re.compile(r"lsv2_|ls__")
_OF_KUBERNETES = re.compile(r"ANNOLAKE_(SERVICE_|PORT)")  # in every pod beside a service called annolake
_JSON_LOGS = re.compile(r"""^[^#\n]*\blog_format\s*=\s*["']json["']""", re.MULTILINE)
_SPEAKS_OF_KEYS = re.compile(r"key|token|secret|password|bearer", re.IGNORECASE)


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
    return _load(path, environ, overrides, {})


def log_format_of(path: Path | None, environ: Mapping[str, str]) -> LogFormat:
    """Return the format of logs as far as settings tell that may be wrong otherwise, or a file that is no TOML."""
    given = environ.get(SETTINGS["log.log_format"].variable)
    if given is None:
        try:
            given = "json" if _JSON_LOGS.search((path or DEFAULT_FILE).read_text("utf-8", "replace")) else "text"
        except (OSError, ValueError):
            return "text"
    return "json" if given == "json" else "text"


def load_lake_config(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] = MappingProxyType({})
) -> Config:
    """Do the same for a command that reads the lake alone: source.queues is "all" where it is not set."""
    return _load(path, environ, overrides, {"source.queues": _Given("all", "by default")})


def load_service_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Do the same for a command that only asks the service: neither source.queues nor lake.path need be set."""
    return _load(path, environ, {}, {key: _Given(SETTINGS[key].extra["example"], "by default") for key in _NEEDED})


def checked(config: object, environ: Mapping[str, str], queues: object = None) -> Config:
    """Return the settings that a program hands over, each read as one of a file is, with absolute paths.

    The program may have made or changed them: a Struct of msgspec takes any value. `queues` replace those of `config`.
    Raises ConfigError as `load_config` does.
    """
    if not isinstance(config, Config):
        kind = type(config).__name__
        raise ConfigError(f"config: expected settings, got a value of type {kind}: annolake.load_config returns them")
    given = dict(_from_program(config))
    if queues is not None:
        asked = queues if isinstance(queues, str) or not isinstance(queues, Iterable) else list(queues)
        given["source.queues"] = _Given(asked, "in the argument queues")
    return with_absolute_paths(_made(given, environ))


def with_absolute_paths(config: Config) -> Config:
    """Return the settings with paths that mean the same in each folder a process goes to, and in each process."""
    sections = {}
    for name in SECTIONS:
        section = getattr(config, name)
        values = msgspec.structs.asdict(section)
        paths = {field: value.absolute() for field, value in values.items() if isinstance(value, Path)}
        sections[name] = msgspec.structs.replace(section, **paths)
    return Config(**sections)


def _load(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object], beneath: Mapping[str, _Given]
) -> Config:
    above = _from_environ(environ) | {key: _Given(value, "on the command line") for key, value in overrides.items()}
    spared = path is None and (above or beneath) and not DEFAULT_FILE.exists()
    given = {**beneath, **({} if spared else _from_file(path or DEFAULT_FILE)), **above}
    _spare_named(given)
    problems = [_unknown(key, item.origin) for key, item in given.items() if key not in SETTINGS]
    for key in _NEEDED:
        if key not in given:
            setting = SETTINGS[key]
            problems.append(f"{key}: required: {setting.allowed} (in {path or DEFAULT_FILE} or {setting.variable})")
    return _made(given, environ, problems)


def _made(given: Mapping[str, _Given], environ: Mapping[str, str], problems: Sequence[str] = ()) -> Config:
    """Return the settings of what was given. Raises ConfigError with the `problems` there were and those it finds."""
    problems = [*problems]
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, setting in SETTINGS.items():
        section, name = key.split(".")
        try:
            if key in given:
                values[section][name] = _read(setting, given[key], environ)
        except ConfigError as error:
            problems.append(str(error))
    for key, check in (("columns.exclude", excludable), ("columns.pseudonymize", pseudonymizable)):
        names = values["columns"].get(key.partition(".")[2], ())
        problems += filter(None, (_wrong_column(key, name, check, given[key].origin) for name in names))
    if problems:
        raise ConfigError("\n".join(problems))
    sections: dict[str, Any] = {section: kind(**values[section]) for section, kind in SECTIONS.items()}
    config = Config(**sections)
    _check_together(config.source, config.columns)
    return config


def _from_file(file: Path) -> dict[str, _Given]:
    try:
        document = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file: `annolake init` writes one, or name yours with --config") from None
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
        entries = table.items() if isinstance(table, dict) and section in SECTIONS else [("", table)]
        for name, value in entries:
            given[f"{section}.{name}".rstrip(".")] = _Given(value, f"in {file}", file.parent, typed=True)
    return given


def _from_environ(environ: Mapping[str, str]) -> dict[str, _Given]:
    """Return what each variable that begins with ANNOLAKE_ sets, be there such a setting or not."""
    return {
        name.removeprefix(PREFIX).lower().replace("__", ".", 1): _Given(value, f"in {name}")
        for name, value in environ.items()
        if name.startswith(PREFIX) and not _OF_KUBERNETES.match(name)
    }


def _from_program(config: Config) -> Iterator[tuple[str, _Given]]:
    """Yield each setting of a program's, but those that are left open by None."""
    for name, kind in SECTIONS.items():
        section = getattr(config, name)
        if not isinstance(section, kind):
            got = type(section).__name__
            raise ConfigError(f"{name}: expected annolake.config.{kind.__name__}, got a value of type {got}")
        for setting in settings_of(name):
            value = getattr(section, setting.key.rpartition(".")[2])
            if value is not None or setting.default is not None:
                yield setting.key, _Given(value, "in the argument config", typed=True)


def _spare_named(given: dict[str, _Given]) -> None:
    """Take out the variables that a setting names, such as the one with the key."""
    for key, setting in SETTINGS.items():
        if key.endswith("_env"):
            name = given[key].value if key in given else setting.default
            for variable in [other for other, item in given.items() if item.origin == f"in {name}"]:
                del given[variable]


def _unknown(key: str, origin: str) -> str:
    """Say that there is no such setting, and which one may have been meant."""
    shown = "a name that is not shown" if _LOOKS_LIKE_A_KEY.search(key) else ascii(key)[1:-1]
    if key in SECTIONS:
        return f"{shown}: expected a section, written [{key}] ({origin})"
    if (key.startswith("columns.") or "pseudonym" in key) and _SPEAKS_OF_KEYS.search(key):
        named = "columns.pseudonym_key_env names the variable that holds it"
        return f"{shown}: no such setting ({origin}); the key itself is never a setting: {named}"
    if _SPEAKS_OF_KEYS.search(key) or _LOOKS_LIKE_A_KEY.search(key):
        return (
            f"{shown}: no such setting ({origin}); the key itself is never a setting: source.api_key_env names "
            "the variable, source.api_key_file the file that holds it"
        )
    section, _, name = key.rpartition(".")
    same_name: Sequence[str] = [known for known in SETTINGS if known.endswith(f".{name}")]
    there = [setting.key for setting in settings_of(section)]
    near = same_name or _near(key, SETTINGS) or ([] if there else _near(key, SECTIONS))
    if near and PREFIX in origin and near[0] in SETTINGS:
        near = [SETTINGS[near[0]].variable]
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there or SECTIONS)}"
    return f"{shown}: no such {'setting' if '.' in key else 'section'} ({origin}); {hint}"


def _near(word: str, words: Iterable[str]) -> Sequence[str]:
    return difflib.get_close_matches(word, list(words), n=1)


def _read(setting: Setting, given: _Given, environ: Mapping[str, str]) -> Any:
    """Return the value in its type. Raises ConfigError, which repeats it only where it cannot be a secret."""
    try:
        read = setting.extra.get("read")
        value = read(given.value) if read else msgspec.convert(given.value, setting.hint, strict=given.typed)
        if "least" in setting.extra and 0 < value < setting.extra["least"]:
            raise UnfitError(given.value)
    except SecretError as error:
        raise ConfigError(
            f"{setting.key}.{error.part}: a secret does not belong there ({given.origin}): set {error.instead}"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        part = error.part if isinstance(error, UnfitError) else given.value
        got = _shown(None if "secret" in setting.extra else part)
        near = _near(part, setting.choices) if isinstance(part, str) and part else ()
        advice = error.advice if isinstance(error, UnfitError) else ""
        hint = f'; did you mean "{near[0]}"?' if near else f"; {advice}" if advice else ""
        raise ConfigError(f"{setting.key}: expected {setting.allowed}, got {got} ({given.origin}){hint}") from None
    if isinstance(value, Path):
        home = environ.get("HOME")
        value = Path(home, *value.parts[1:]) if home and value.parts[:1] == ("~",) else given.folder / value
    return value


def _shown(value: object) -> str:
    if isinstance(value, list | tuple | dict):
        return "a table" if isinstance(value, dict) else "a list"
    if not isinstance(value, str | int | float) or _LOOKS_LIKE_A_KEY.search(str(value)):
        return "a value that is not shown"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _wrong_column(key: str, name: str, check: Callable[[str], str], origin: str) -> str | None:
    """Say why a column cannot be named there, None where it can."""
    try:
        check(name)
    except ColumnNameError as error:
        return f"{key}: {_shown(name)} {error.why} ({origin})"
    return None


def _check_together(source: Source, columns: Columns) -> None:
    """Raise ConfigError where settings that fit alone do not fit together."""
    if columns.pseudonymize and not columns.pseudonym_key_env:
        raise ConfigError(
            "columns.pseudonym_key_env: required with columns.pseudonymize: the variable that holds the key"
        )
    if source.bearer_token_env and not source.tenant_id:
        raise ConfigError("source.tenant_id: required with source.bearer_token_env: the workspace's id")
    if source.bearer_token_env and source.api_key_file:
        raise ConfigError("source.bearer_token_env and source.api_key_file are both set: keep the one that is meant")
    if source.status and source.endpoint == "items":
        raise ConfigError(
            'source.status: the items endpoint cannot filter by it: leave it empty, or set endpoint "runs"'
        )
