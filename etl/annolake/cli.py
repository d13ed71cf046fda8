"""The command line: arguments in, exit code out (DESIGN 3).

Owns the commands' names and options, signals, and what goes to which stream. The work is done elsewhere; modules
that cost time to import are imported by the command that needs them.
"""

import argparse
import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from annolake.clock import Clock
from annolake.errors import AnnolakeError, ConfigError
from annolake.printable import printable, printable_lines
from annolake.process import leave_quickly, settle_process
from annolake.streams import Streams, settle_streams
from annolake.version import __version__

if TYPE_CHECKING:
    from annolake.config import Config

BUG = 1
UNWRITTEN = 5

EXIT_CODES = """\
exit codes:
  0    exported
  1    a bug, with a traceback
  2    the command line or the config is wrong
  3    finished, but something is missing: new rejects, a queue that could not be verified complete, many rows that
       may have left
  4    the service refused or stayed away
  5    the lake could not be read, written or trusted, or standard output not be written
  6    another export holds a queue's lock
  130, 143  interrupted by SIGINT, SIGTERM
"""


NEW_ONLY = """\
read only rows added since the last complete export, in a few requests; it does not refresh reviews, feedback and
removals of older rows, so it becomes a full export when the last one is older than sync.full_every_s"""


ACCEPT_REMOVALS = """\
mark rows that the service did not show as removed even where they are many or it still counts them; without it they
are reported as removed_unconfirmed, and the next export looks again"""


Command = Callable[[argparse.Namespace, Mapping[str, str], Streams], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    streams = settle_streams()
    settle_process(os.environ)
    arguments = argparse.Namespace(result_is_kept=False)
    exit_code = _run_command(argv, arguments, streams)
    if exit_code == 0 and streams.lost and not arguments.result_is_kept:
        message = f"annolake: cannot write standard output: {streams.lost}; send it elsewhere and run again"
        print(message, file=streams.err)
        return UNWRITTEN
    return exit_code


def _run_command(argv: Sequence[str] | None, arguments: argparse.Namespace, streams: Streams) -> int:
    try:
        build_parser().parse_args(argv, arguments)
        command: Command = arguments.command
        return command(arguments, os.environ, streams)
    except SystemExit as end:  # argparse's: after --help and --version, or of a command line that is wrong
        return int(end.code or 0)
    except AnnolakeError as error:
        # a ConfigError has a line for each setting, in which what was given is quoted
        fit = printable_lines if isinstance(error, ConfigError) else printable
        print(f"annolake: {fit(str(error))}", file=streams.err)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:  # noqa: BLE001 - the last line of defence: a bug, told as one
        print(printable_lines(traceback.format_exc().rstrip()), file=streams.err)
        print("annolake: this is a bug; please report it with the lines above", file=streams.err)
        return BUG


class _Parser(argparse.ArgumentParser):
    """A parser some of whose options may be added `late`, when it is its command that was given."""

    late: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        late, self.late = self.late, None
        if late:
            late(self)
        return super().parse_known_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the README's reference is generated from its help."""
    parser = argparse.ArgumentParser(
        prog="annolake",
        description="Export LangSmith annotation queues into a lake of partitioned Parquet files.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"annolake {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=_Parser)

    run = _command(commands, "run", _run, "export the configured queues into the lake")
    _add_config(run)
    run.add_argument(
        "--queue", action="append", metavar="ID", help="export only this queue (may be given several times)"
    )
    run.add_argument("--new-only", action="store_true", help=NEW_ONLY)
    run.add_argument("--accept-removals", action="store_true", help=ACCEPT_REMOVALS)
    run.add_argument("--json", action="store_true", help="print the report as the last line of standard output")
    run.add_argument("--quiet", action="store_true", help="say only what went wrong")
    run.set_defaults(result_is_kept=True)  # the report is in the lake, and the export is done

    check = _command(commands, "check", _check, "test settings, key, queues and lake; export nothing")
    _add_config(check)

    status = _command(
        commands, "status", _status, "tell what the lake holds of each queue, and how the last export ended"
    )
    _add_config(status)
    status.add_argument("--json", action="store_true", help="as one line of JSON")

    verify = _command(commands, "verify", _verify, "read the lake back and tell what is wrong with it")
    _add_config(verify)
    verify.add_argument("--json", action="store_true", help="as one line of JSON")

    schema = _command(commands, "schema", _schema, "print the tables' columns, types and sources")
    schema.add_argument("--format", choices=["md", "json"], default="md", help="Markdown (default) or JSON")

    stand_in = _command(commands, "sandbox", _sandbox, "run the embedded stand-in for the service")
    stand_in.late = _add_sandbox

    demo = _command(commands, "demo", _demo, "export a sandbox queue into ./demo-lake and query it")
    demo.add_argument("--lake", type=Path, default=Path("demo-lake"), metavar="DIR", help="default: ./demo-lake")
    return parser


def _command(commands: "argparse._SubParsersAction[_Parser]", name: str, command: Command, what: str) -> _Parser:
    parser = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.set_defaults(command=command)
    return parser


def _add_sandbox(parser: argparse.ArgumentParser) -> None:
    from annolake import sandbox  # noqa: PLC0415 - measured, 0.05 s of every start

    sandbox.add_arguments(parser)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration (default: ./annolake.toml)")


def _run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    from annolake.config import load_config  # noqa: PLC0415 - see the module docstring
    from annolake.console import Console  # noqa: PLC0415
    from annolake.pipeline import export  # noqa: PLC0415
    from annolake.report import in_words  # noqa: PLC0415
    from annolake.wiring import Interruption  # noqa: PLC0415

    overrides = {"source.queues": arguments.queue} if arguments.queue else {}
    config = load_config(arguments.config, environ, overrides)
    clock = Clock()
    console = Console(streams.err, now=clock.now, quiet=arguments.quiet, log_format=config.log.log_format)
    interruption = Interruption()
    _heed_signals(interruption.interrupt)
    with console.progress() as progress:
        report = export(
            config,
            environ,
            mode="new" if arguments.new_only else "full",
            accept_removals=arguments.accept_removals,
            clock=clock,
            log=console.log,
            progress=progress,
            interruption=interruption,
        )
    for queue in report.queues:
        (console.say if queue.exit_code == 0 else console.complain)(in_words(queue))
    if arguments.json:
        print(report.as_json().decode(), file=streams.out)
        if streams.lost:
            console.complain(f"the report could not be written to standard output: {streams.lost}; the lake has it")
    leave_quickly()
    return report.exit_code


def _heed_signals(interrupt: Callable[[int], None]) -> None:
    """Have the first SIGINT or SIGTERM end the export in good order, and a second one end it at once."""

    def first(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda second, _: os._exit(128 + second))
        interrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, first)


def _check(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    from annolake.check import check  # noqa: PLC0415 - see the module docstring
    from annolake.config import load_config  # noqa: PLC0415
    from annolake.console import Console  # noqa: PLC0415

    config = load_config(arguments.config, environ, {})
    clock = Clock()
    log = Console(streams.err, now=clock.now, quiet=True, log_format=config.log.log_format).log
    return check(config, environ, clock=clock, log=log, say=lambda line: print(printable(line), file=streams.out))


def _status(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    from annolake.lake_commands import tell_status  # noqa: PLC0415 - see the module docstring

    config = _lake_config(arguments, environ)
    print(tell_status(config, now=Clock().now(), as_json=arguments.json), file=streams.out)
    return 0


def _verify(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    from annolake.lake_commands import tell_verify  # noqa: PLC0415 - see the module docstring

    told, exit_code = tell_verify(_lake_config(arguments, environ), as_json=arguments.json)
    print(told, file=streams.out)
    return exit_code


def _lake_config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> "Config":
    """Return the settings for a command that looks at the lake alone: which queues to export need not be set."""
    from annolake.config import load_config  # noqa: PLC0415 - see the module docstring

    return load_config(arguments.config, environ, {"source.queues": "all"})


def _schema(arguments: argparse.Namespace, _environ: Mapping[str, str], streams: Streams) -> int:
    import msgspec  # noqa: PLC0415 - see the module docstring

    from annolake import contract  # noqa: PLC0415

    tables = (contract.RUNS, contract.QUEUES)
    if arguments.format == "json":
        documents = {"tables": [contract.as_document(table) for table in tables]}
        text = msgspec.json.format(msgspec.json.encode(documents), indent=2).decode()
    else:
        text = "\n".join(contract.as_markdown(table) for table in tables)
    print(text, file=streams.out)
    return 0


def _sandbox(arguments: argparse.Namespace, _environ: Mapping[str, str], streams: Streams) -> int:
    from annolake import sandbox  # noqa: PLC0415 - see the module docstring

    return sandbox.run(arguments, streams.out)


def _demo(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    from annolake.demo import run_demo  # noqa: PLC0415 - see the module docstring

    return run_demo(arguments.lake, environ, streams.out, streams.err)
