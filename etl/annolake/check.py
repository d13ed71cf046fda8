"""`annolake check`: would an export work? Asks everything an export asks, and exports nothing.

Owns the sequence of questions and their answers in words.
"""

from collections.abc import Callable, Mapping
from threading import Event

from annolake.clock import Clock
from annolake.config import Config
from annolake.errors import AnnolakeError, ServiceError, UnavailableError
from annolake.extract.client import Client, Tally
from annolake.extract.queues import decode_head, read_queue, read_size, require_queue_id
from annolake.extract.runs import RunsListing
from annolake.pipeline import configured_queues
from annolake.report import worst
from annolake.transform.decode import runs_decoder
from annolake.wiring import Log, open_client, open_lake


def check(config: Config, environ: Mapping[str, str], *, clock: Clock, log: Log, say: Callable[[str], None]) -> int:
    """Tell about settings, key, each queue and the lake; return the exit code that an export would earn.

    Raises ConfigError where the key can't be had.
    """
    codes = [_check_lake(config, say)]
    with open_client(config, environ, clock=clock, log=log) as client:
        say(f"settings: in order; the key is there; the service is {config.source.base_url}")
        try:
            queue_ids = configured_queues(config, client, Event(), log)
        except ServiceError as error:
            say(f"queues: {error}")
            codes.append(error.exit_code)
        else:
            codes += [_check_queue(config, client, queue_id, say) for queue_id in queue_ids]
    return worst(codes)


def _check_lake(config: Config, say: Callable[[str], None]) -> int:
    try:
        open_lake(config).prepare()
    except AnnolakeError as error:
        say(f"lake: {error}")
        return error.exit_code
    say(f"lake: {config.lake.path} can be written")
    return 0


def _check_queue(config: Config, client: Client, queue_id: str, say: Callable[[str], None]) -> int:
    """Tell a queue's name and size, and whether the key may list its rows, which is all an export needs."""
    stop, tally = Event(), Tally()
    listing = RunsListing(client, queue_id, include_stats=False, status=config.source.status, tally=tally, stop=stop)
    decoder = runs_decoder()
    try:
        require_queue_id(queue_id)
        name = _name(client, queue_id, tally, stop)
        listing.read(0, 1, archived=False, decode=lambda body: decoder.decode(body, archived=False))
    except AnnolakeError as error:
        say(f"queue {queue_id}: {error}")
        return error.exit_code
    sizes = [read_size(client, queue_id, which, tally=tally, stop=stop) for which in ("total_size", "total_archived")]
    told = ["not told" if size is None else f"{size:,}" for size in sizes]
    say(f"queue {queue_id}: {name}; {told[0]} rows, {told[1]} of them archived, as the service counts")
    return 0


def _name(client: Client, queue_id: str, tally: Tally, stop: Event) -> str:
    try:
        head = read_queue(client, queue_id, decode_head, tally=tally, stop=stop)
    except UnavailableError:
        raise
    except ServiceError:
        return "its name is not told to this key"
    return head.name or "without a name"
