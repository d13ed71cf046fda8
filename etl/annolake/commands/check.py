"""`annolake check`: would an export work? Asks everything an export asks, and exports nothing.

Owns the sequence of questions and their answers in words.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from threading import Event
from typing import Any

import msgspec

from annolake.clock import Clock
from annolake.columns.rules import ColumnRules
from annolake.config import Config, load_config
from annolake.console import Console
from annolake.errors import AnnolakeError, GoneError, NotFoundError, ServiceError, UnavailableError
from annolake.extract.endpoints.items import SECTIONS, ItemsListing
from annolake.extract.endpoints.queues import read_queue, read_size, require_queue_id
from annolake.extract.endpoints.runs import RunsListing
from annolake.extract.endpoints.runs_query import Batch, RunsQuery
from annolake.extract.http.client import Caller, Client
from annolake.load.column_record import difference
from annolake.load.lake import Lake
from annolake.observers.protocols import Log
from annolake.pipeline import configured_queues
from annolake.printable import json_line, printable
from annolake.report import Endpoint, worst
from annolake.sources.source import explained, is_retired
from annolake.streams import Streams
from annolake.transform.decode import runs_decoder
from annolake.transform.items import Item, decode_items, decode_runs, selects
from annolake.transform.queue_row import decode_queue
from annolake.wiring import column_rules, open_client, open_lake

_UNTIL = ", which the service has announced to remove after 31 January 2027"
_LONGEST_S = 5.0  # of a request: somebody waits for the answer


class QueueFindings(msgspec.Struct, kw_only=True):
    """What was found of a queue: sizes as the service tells them, and which endpoint an export would read.

    `other` says what the other endpoint answers. With an `error` the rest may be missing.
    """

    queue_id: str
    name: str | None = None
    rows: int | None = None
    archived: int | None = None
    endpoint: Endpoint | None = None
    other: str | None = None
    error: str | None = None
    exit_code: int = 0


class Findings(msgspec.Struct, kw_only=True):
    """What was found; each `error` is a sentence. `queues_error`: why it is not known which queues there are.

    `columns` says where rows of the lake obey other settings of [columns].
    """

    base_url: str
    lake: str
    lake_error: str | None = None
    columns: str | None = None
    queues_error: str | None = None
    queues: list[QueueFindings] = []
    exit_code: int = 0


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print what was found; return the exit code that an export would end with."""
    config = load_config(arguments.config, environ, {})
    clock = Clock()
    log = Console(streams.err, now=clock.now, quiet=True, log_format=config.log.log_format).log

    def say(line: str) -> None:
        if not arguments.json:
            print(printable(line), file=streams.out)

    found = check(config, environ, clock=clock, log=log, say=say)
    if arguments.json:
        streams.answer(json_line(found))
    return found.exit_code


def check(
    config: Config, environ: Mapping[str, str], *, clock: Clock, log: Log, say: Callable[[str], None]
) -> Findings:
    """Tell about settings, key, each queue and the lake, in words as it is found; its exit code an export would earn.

    Each request has one attempt and 5 seconds, and no lake is made. Raises ConfigError where the key, or that of
    pseudonyms, is missing or unusable.
    """
    config = _hasty(config)
    found = Findings(base_url=config.source.base_url, lake=str(config.lake.path))
    rules, lake = column_rules(config, environ), open_lake(config, environ, clock)
    codes = [_check_lake(found, lake, rules, say)]
    with open_client(config, environ, clock=clock, log=log) as client:
        say(f"settings: valid; the key was found; the service is {found.base_url}")
        try:
            queue_ids = configured_queues(config, client, Event(), log)
        except ServiceError as error:
            say(f"queues: {error}")
            found.queues_error = str(error)
            codes.append(error.exit_code)
        else:
            found.queues = list(_check_queues([_QueueCheck(config, client, lake, each) for each in queue_ids], say))
            codes += [queue.exit_code for queue in found.queues]
    found.exit_code = worst(codes)
    return found


def _hasty(config: Config) -> Config:
    """Return the settings with one short attempt for each request."""
    source, replace = config.source, msgspec.structs.replace
    return replace(
        config,
        source=replace(
            source,
            timeout_s=min(source.timeout_s, _LONGEST_S),
            request_timeout_s=min(source.request_timeout_s, _LONGEST_S),
        ),
        retry=replace(config.retry, max_attempts=1),
    )


def _check_lake(found: Findings, lake: Lake, rules: ColumnRules, say: Callable[[str], None]) -> int:
    try:
        lake.prove()
        found.columns = difference(lake, rules)
    except AnnolakeError as error:
        say(f"lake: {error}")
        found.lake_error = str(error)
        return error.exit_code
    say(f"lake: {found.lake} can be written")
    if found.columns:
        say(f"columns: {found.columns}")
    return 0


def _check_queues(queues: "Iterable[_QueueCheck]", say: Callable[[str], None]) -> Iterator[QueueFindings]:
    """Yield what is found of each; none is asked for after one to which the service did not answer at all."""
    silence: str | None = None
    for queue in queues:
        found = queue.findings
        try:
            if silence:
                found.error, found.exit_code = f"not asked for: {silence}", ServiceError.exit_code
            else:
                require_queue_id(queue.queue_id)
                queue.ask()
        except AnnolakeError as error:
            found.error, found.exit_code = str(error), error.exit_code
            if isinstance(error, UnavailableError) and error.status is None:
                silence = "the service did not answer"
        say(f"queue {queue.queue_id}: {found.error or _in_words(found)}")
        yield found


def _in_words(found: QueueFindings) -> str:
    rows, archived = ("an unknown number of" if size is None else f"{size:,}" for size in (found.rows, found.archived))
    until = _UNTIL if found.endpoint == "runs" else ""
    sizes_said = f"{rows} rows, {archived} of them archived, as reported by the service"
    name = "this key may not read its name" if found.name is None else found.name or "without a name"
    return f"{name}; {sizes_said}; read over {found.endpoint}{until}; {found.other}"


class _QueueCheck:
    """One queue, asked as an export asks: each list that it would read, for a single row."""

    def __init__(self, config: Config, client: Client, lake: Lake, queue_id: str) -> None:
        self.queue_id = queue_id
        self.findings = QueueFindings(queue_id=queue_id)
        self._source = config.source
        self._client, self._lake = client, lake
        self._caller = Caller()

    def ask(self) -> None:
        """Fill `findings`: the queue's name, its size and the endpoints. Raises what an export of it would meet."""
        found = self.findings
        found.endpoint = self._ask()
        found.other = self._other("items" if found.endpoint == "runs" else "runs")
        found.name = None if self._record is None else self._record.name or ""
        found.rows, found.archived = (
            read_size(self._client, self.queue_id, which, self._caller) for which in ("total_size", "total_archived")
        )

    @cached_property
    def _record(self) -> Any:
        """The queue's own record, None where the key may not read it."""
        try:
            return read_queue(self._client, self.queue_id, decode_queue, self._caller).row
        except UnavailableError:
            raise
        except ServiceError:
            return None

    def _other(self, endpoint: str) -> str:
        """Return what the endpoint answers that an export would not use."""
        try:
            if endpoint == "runs":
                self._ask_runs()
            else:
                self._ask_items()
        except ServiceError as error:
            return f"{endpoint} would not do: {error}"
        return f"{endpoint} answers too"

    def _ask(self) -> Endpoint:
        """Ask for the rows; return the endpoint that has them."""
        if self._source.endpoint != "items":
            try:
                self._ask_runs()
            except (GoneError, NotFoundError) as error:
                if not is_retired(error, self._source, alive=lambda: self._record is not None):
                    raise
            else:
                return "runs"
        try:
            self._ask_items()
        except NotFoundError as error:
            raise explained(error, alive=lambda: self._record is not None) from error
        return "items"

    def _ask_runs(self) -> None:
        source, decoder = self._source, runs_decoder()
        listing = RunsListing(
            self._client, self.queue_id, include_stats=source.include_stats, status=source.status, caller=self._caller
        )
        for archived in (False, True) if source.include_archived else (False,):
            listing.read(0, 1, archived=archived, decode=partial(decoder.decode, archived=archived))

    def _ask_items(self) -> None:
        """Ask for an item of each section, and for the run of one of them."""
        sections = [name for name in SECTIONS if self._source.include_archived or name != "archived"]
        first = {name: self._items(name, 1) for name in sections}
        with_run = next(self._with_runs(first), None)
        if with_run:
            selected = selects(include_stats=self._source.include_stats)
            RunsQuery(self._client, selected, self._caller).read(Batch([with_run]), decode_runs)

    def _with_runs(self, first: Mapping[str, list[Item]]) -> Iterator[Item]:
        """Yield items that name a run: the first ones, else those on a section's first page."""
        yield from (item for items in first.values() for item in items if Batch([item]).asked)
        for section in (section for section, items in first.items() if items):
            yield from (item for item in self._items(section, self._source.page_size) if Batch([item]).asked)

    def _items(self, section: str, limit: int) -> list[Item]:
        listing = ItemsListing(self._client, self.queue_id, self._caller)
        return listing.read(section, None, limit, partial(decode_items, archived=section == "archived")).items
