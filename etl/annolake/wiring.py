"""From settings to the parts of an export: a client, a lake.

Owns which setting goes where, and nothing else.
"""

import random
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from annolake import contract
from annolake.clock import Clock
from annolake.columns.pseudonyms import Pseudonyms
from annolake.columns.rules import NO_RULES, ColumnRules
from annolake.config import Config
from annolake.credentials import credentials, pseudonym_key
from annolake.errors import ConfigError
from annolake.extract.http.client import Client
from annolake.extract.http.rate_limit import RateLimits
from annolake.load.lake import Lake
from annolake.load.place import DeltaSettings, open_place
from annolake.load.table.mask import Mask
from annolake.observers.protocols import Log
from annolake.queue_names import ids_of, names_in
from annolake.transform.row_types import HASH_VERSION
from annolake.version import __version__


def open_client(config: Config, environ: Mapping[str, str], *, clock: Clock, log: Log, sharing: str = "") -> Client:
    """Return a client for the configured service; clients with the same `sharing` use the same connections.

    Raises ConfigError where the key is missing or unusable.
    """
    found = credentials(config, environ)
    if found.exposed:
        log.warning("key_file_exposed", setting="source.api_key_file", advice="others can read the file: chmod 600 it")
    return Client(
        base_url=config.source.base_url,
        headers=found.headers(),
        key_name=found.name,
        timeout_s=config.source.timeout_s,
        request_timeout_s=config.source.request_timeout_s,
        max_response_mb=config.source.max_response_mb,
        max_inflight_mb=config.source.max_inflight_mb,
        max_attempts=config.retry.max_attempts,
        max_wait_s=config.retry.max_wait_s,
        lanes=config.source.concurrency,
        rate_limits=RateLimits(
            clock,
            requests_per_second=config.source.max_requests_per_second,
            queries_per_10_s=config.source.max_queries_per_10_s,
        ),
        clock=clock,
        random=random.random,
        version=__version__,
        log=log,
        sharing=sharing,
    )


def column_rules(config: Config, environ: Mapping[str, str]) -> ColumnRules:
    """Return the rules of [columns]. Raises ConfigError where the key of pseudonyms is missing or too short."""
    key = pseudonym_key(config, environ)
    columns = config.columns
    return ColumnRules.of(columns.exclude, columns.pseudonymize, Pseudonyms(key) if key else None)


def known_rules(config: Config, environ: Mapping[str, str]) -> ColumnRules:
    """Return the same for a command that reads the lake alone: where the key is not at hand, without it."""
    try:
        return column_rules(config, environ)
    except ConfigError:
        return ColumnRules.of(config.columns.exclude, config.columns.pseudonymize)


def named_queues(config: Config, lake: Lake) -> tuple[str, ...]:
    """Return the ids in source.queues, for a command that reads the lake alone: names are looked up there.

    None are named by "all". Raises ConfigError for a name that no queue of the lake has, or several.
    """
    asked = () if config.source.queues == "all" else config.source.queues
    if not names_in(asked):
        return asked
    return ids_of(asked, ((each, lake.queue_name(each)) for each in lake.queues_named()), "the lake has")


def is_on_disk(config: Config) -> bool:
    """Tell whether the lake is in a folder, which another host may not have."""
    return isinstance(config.lake.path, Path)


def open_lake(
    config: Config, environ: Mapping[str, str], clock: Clock | None = None, rules: ColumnRules = NO_RULES
) -> Lake:
    """Return the configured lake, nothing of which is touched yet. Raises ConfigError as `open_place` does.

    Stored rows are read as the `rules` want them: for whoever writes them anew.
    """
    clock = clock or Clock()
    place = open_place(config.lake.path, config.lake.storage, environ, clock=clock, scratch=config.lake.scratch)
    delta = DeltaSettings(config.lake.keep_versions_s, clock, random.random)
    return Lake(
        replace(place, wanted=config.lake.format or None, delta=delta),
        tables=contract.TABLES,
        hash_version=HASH_VERSION,
        compression=config.lake.compression,
        row_group_mb=config.lake.row_group_mb,
        keep_reports=config.lake.keep_reports,
        masks={name: Mask(rules.tables[name]) for name in rules.tables},
    )
