"""`annolake init`: writes a settings file with every setting explained, then checks whether an export would work.

Owns what is asked, and that no file which is there is touched. Options answer; on a terminal the rest is asked for.
What the environment sets is the default, so that the file alone does what was checked.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from annolake.clock import Clock
from annolake.commands.check import check
from annolake.config import DEFAULT_FILE, load_config
from annolake.console import Console
from annolake.errors import ConfigError
from annolake.printable import printable
from annolake.settings import SETTINGS
from annolake.settings_text import example_toml
from annolake.streams import Streams

Ask = Callable[[str], str]

# What is asked for: each with its option, and what is taken where nothing is answered.
_QUESTIONS = {
    "source.base_url": ("base_url", "Address of the service", SETTINGS["source.base_url"].default),
    "source.api_key_env": ("api_key_env", "Variable that holds the key", SETTINGS["source.api_key_env"].default),
    "source.queues": ("queue", "Queues, by name, id or page, with commas between", "all"),
    "lake.path": ("lake", "Folder or address of the lake", "./lake"),
}


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Write the file and check it; return the exit code of the check. Raises ConfigError where it cannot be written."""
    given = {key: value for key, (name, _, _) in _QUESTIONS.items() if (value := getattr(arguments, name)) is not None}
    file = arguments.config or DEFAULT_FILE
    if file.exists():
        raise ConfigError(f"{file} is there already: change it by hand, or name another file with --config")
    defaults = {key: environ.get(SETTINGS[key].variable) or default for key, (_, _, default) in _QUESTIONS.items()}
    if sys.stdin.isatty():

        def ask(question: str) -> str:
            print(question, end=" ", flush=True, file=streams.err)
            return sys.stdin.readline().strip()

        given = _answers(given, defaults, ask)
    elif not given:
        raise ConfigError("there is no terminal to ask at: give --queue and --lake, and --base-url where it differs")
    values = {key: _value(key, default) for key, default in defaults.items()} | given
    _write(file, values, environ)
    print(printable(f"{file} is written; every setting is explained there"), file=streams.out)
    config, clock = load_config(file, environ), Clock()
    log = Console(streams.err, now=clock.now, quiet=True, log_format=config.log.log_format).log

    def say(line: str) -> None:
        print(printable(line), file=streams.out)

    return check(config, environ, clock=clock, log=log, say=say).exit_code


def _answers(given: Mapping[str, Any], defaults: Mapping[str, str], ask: Ask) -> dict[str, Any]:
    """Return what was given, and what was asked for beside it; an empty answer takes the default."""
    answers = dict(given)
    for key, (_, question, _) in _QUESTIONS.items():
        if key not in answers:
            answers[key] = _value(key, ask(printable(f"{question} [{defaults[key]}]:")) or defaults[key])
    return answers


def _value(key: str, answer: str) -> str | list[str]:
    is_list = key == "source.queues" and answer != "all"
    return [part.strip() for part in answer.split(",")] if is_list else answer


def _write(file: Path, values: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Write the file; none stays where a value does not fit. Raises ConfigError."""
    if values["source.queues"] == ["all"]:
        values = {**values, "source.queues": "all"}
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(example_toml(values))
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a value is not Unicode text"
        raise ConfigError(f"{file} cannot be written: {reason}") from None
    try:
        load_config(file, {name: value for name, value in environ.items() if name == "HOME"})
    except ConfigError:
        file.unlink()
        raise
