"""`annolake rejects`: which rows the lake could not take, and why, in words or JSON.

Owns how that is said. The facts are `reject_groups`'. Reads the lake alone, never the service.
"""

import argparse
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from annolake.config import Config, load_lake_config
from annolake.errors import LakeError
from annolake.load.lake import Lake
from annolake.printable import counted, json_line, printable
from annolake.reject_groups import Example, Group, group_rejects, queues_of
from annolake.streams import Streams
from annolake.wiring import named_queues, open_lake

_EXAMPLES_IN_WORDS = 3
_QUEUES_IN_WORDS = 10

Names = Mapping[str, str | None]


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print the rejects that the lake has; return 0, since they are known."""
    overrides = {"source.queues": arguments.queue} if arguments.queue else {}
    config = load_lake_config(arguments.config, environ, overrides)
    told = tell_rejects(config, environ, only_named=bool(arguments.queue), as_json=arguments.json)
    if arguments.json:
        streams.answer(told)
    else:
        print(told, file=streams.out)
    return 0


def tell_rejects(config: Config, environ: Mapping[str, str], *, only_named: bool, as_json: bool) -> str:
    """Return the rejects of all queues, or (`only_named`) of those of source.queues, by table, path and reason.

    Raises LakeError where there is no lake, ConfigError for a name that it does not have.
    """
    lake = open_lake(config, environ)
    if not lake.is_there():
        raise LakeError(f"{config.lake.path}: there is no lake; check lake.path, or run an export first")
    asked = (named_queues(config, lake) or None) if only_named else None
    queue_ids = [queue_id for queue_id in lake.rejected_queues() if asked is None or queue_id in asked]
    groups = group_rejects(lake, queue_ids, config.source.base_url)
    queues = queues_of(groups)
    names = {queue_id: _name(lake, queue_id) for queue_id in queues}
    if as_json:
        return json_line(_as_record(groups, queues, names))
    if not groups:
        return printable(f"{config.lake.path}: there are no rejects{'' if asked is None else ' of ' + _list(asked)}")
    counts = f"{counted(sum(queues.values()), 'reject')} in {counted(len(queues), 'queue')}"
    head = f"{counts}; each is a file with the whole row, under {config.lake.path}/_annolake/rejected"
    told = [line for group in groups for line in _in_words(group, names)]
    return "\n".join(map(printable, (head, *told)))


def _name(lake: Lake, queue_id: str) -> str | None:
    try:
        return lake.queue_name(queue_id)
    except LakeError:  # the rejects can be told without it
        return None


def _as_record(groups: Collection[Group], queues: Mapping[str, int], names: Names) -> dict[str, Any]:
    return {
        "exit_code": 0,
        "rejects": sum(queues.values()),
        "queues": [
            {"queue_id": queue_id, "name": names[queue_id], "rejects": rejects} for queue_id, rejects in queues.items()
        ],
        "groups": [
            {
                "table": group.table,
                "path": group.path,
                "reason": group.reason,
                "rejects": group.rejects,
                "queues": sorted(group.queues),
                "oldest_first_seen": group.oldest,
                "newest_first_seen": group.newest,
                "examples": group.examples,
            }
            for group in groups
        ],
    }


def _in_words(group: Group, names: Names) -> Iterator[str]:
    where = "" if group.path is None else f"{group.table} {group.path}: "
    yield ""
    yield f"{group.rejects:,} x {where}{group.reason}"
    yield f"  queues: {_list(_called(queue_id, names) for queue_id in sorted(group.queues))}"
    if group.oldest and group.newest:
        same = group.oldest == group.newest
        yield f"  first seen: {_time(group.oldest)}{'' if same else f' to {_time(group.newest)}'}"
    for example in islice(group.examples, _EXAMPLES_IN_WORDS):
        yield f"  {_example(example)}" if group.path is not None else f"  {example.file}"
    if group.rejects > _EXAMPLES_IN_WORDS:
        yield f"  and {group.rejects - _EXAMPLES_IN_WORDS:,} more"


def _example(example: Example) -> str:
    value = "no value" if example.value is None else example.value
    return "  ".join(part for part in (example.id or example.file, value, example.url) if part)


def _called(queue_id: str, names: Names) -> str:
    name = names[queue_id]
    return f"{name} ({queue_id})" if name else queue_id


def _list(texts: Iterator[str] | Collection[str]) -> str:
    some = list(texts)
    more = len(some) - _QUEUES_IN_WORDS
    return ", ".join(some[:_QUEUES_IN_WORDS]) + (f" and {more} more" if more > 0 else "")


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
