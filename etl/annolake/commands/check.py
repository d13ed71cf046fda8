"""`annolake check`: would an export work? Asks everything an export asks, and exports nothing.

Owns the sequence of questions and their answers in words.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from threading import Event
from typing import Any

from annolake.clock import Clock
from annolake.config import Config, load_config
from annolake.console import Console
from annolake.errors import AnnolakeError, GoneError, NotFoundError, ServiceError, UnavailableError
from annolake.extract.endpoints.items import SECTIONS, ItemsListing
from annolake.extract.endpoints.queues import read_queue, read_size, require_queue_id
from annolake.extract.endpoints.runs import RunsListing
from annolake.extract.endpoints.runs_query import Batch, RunsQuery
from annolake.extract.http.client import Caller, Client
from annolake.load.lake import Lake
from annolake.observers import Log
from annolake.pipeline import configured_queues
from annolake.printable import printable
from annolake.report import worst
from annolake.sources.source import explained, is_retired
from annolake.streams import Streams
from annolake.transform.decode import decode_queue, runs_decoder
from annolake.transform.items import Item, decode_items, decode_runs, selects
from annolake.wiring import open_client, open_lake

_UNTIL = ", which the service has announced to remove after 31 January 2027"


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print what was found; return the exit code that an export would end with."""
    config = load_config(arguments.config, environ, {})
    clock = Clock()
    log = Console(streams.err, now=clock.now, quiet=True, log_format=config.log.log_format).log
    return check(config, environ, clock=clock, log=log, say=lambda line: print(printable(line), file=streams.out))


def check(config: Config, environ: Mapping[str, str], *, clock: Clock, log: Log, say: Callable[[str], None]) -> int:
    """Tell about settings, key, each queue and the lake; return the exit code that an export would earn.

    Raises ConfigError where the key is missing or unusable.
    """
    lake = open_lake(config, environ, clock)
    codes = [_check_lake(config, lake, say)]
    with open_client(config, environ, clock=clock, log=log) as client:
        say(f"settings: valid; the key was found; the service is {config.source.base_url}")
        try:
            queue_ids = configured_queues(config, client, Event(), log)
        except ServiceError as error:
            say(f"queues: {error}")
            codes.append(error.exit_code)
        else:
            codes += [_check_queue(_QueueCheck(config, client, lake, queue_id), say) for queue_id in queue_ids]
    return worst(codes)


def _check_lake(config: Config, lake: Lake, say: Callable[[str], None]) -> int:
    try:
        lake.prove()
    except AnnolakeError as error:
        say(f"lake: {error}")
        return error.exit_code
    say(f"lake: {config.lake.path} can be written")
    return 0


def _check_queue(queue: "_QueueCheck", say: Callable[[str], None]) -> int:
    try:
        require_queue_id(queue.queue_id)
        say(f"queue {queue.queue_id}: {queue.asked()}")
    except AnnolakeError as error:
        say(f"queue {queue.queue_id}: {error}")
        return error.exit_code
    return 0


class _QueueCheck:
    """One queue, asked as an export asks: each list that it would read, for a single row."""

    def __init__(self, config: Config, client: Client, lake: Lake, queue_id: str) -> None:
        self.queue_id = queue_id
        self._source = config.source
        self._client, self._lake = client, lake
        self._caller = Caller()

    def asked(self) -> str:
        """Return the queue's name, its size and the endpoints in words. Raises what an export of it would meet."""
        endpoint = self._ask()
        other = self._other("items" if endpoint == "runs" else "runs")
        name = "this key may not read its name" if self._record is None else self._record.name or "without a name"
        sizes = (
            read_size(self._client, self.queue_id, which, self._caller) for which in ("total_size", "total_archived")
        )
        rows, archived = ("an unknown number of" if size is None else f"{size:,}" for size in sizes)
        until = _UNTIL if endpoint == "runs" else ""
        sizes_said = f"{rows} rows, {archived} of them archived, as reported by the service"
        return f"{name}; {sizes_said}; read over {endpoint}{until}; {other}"

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

    def _ask(self) -> str:
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
