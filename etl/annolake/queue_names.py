"""Queues by the names that people gave them: `--queue`, `source.queues`.

Owns what becomes of a name that no queue has, or several have. Ids stay as they are, whoever knows them.
"""

from collections.abc import Iterable, Iterator, Sequence

from annolake.errors import ConfigError
from annolake.setting_values import is_queue_id


def names_in(asked: Sequence[str]) -> bool:
    """Tell whether there is a name among what was asked for."""
    return not all(map(is_queue_id, asked))


def ids_of(asked: Sequence[str], known: Iterable[tuple[str, str | None]], where: str) -> tuple[str, ...]:
    """Return the ids of queues asked for by id or name, each once; `known` are ids with names, of `where`.

    Raises ConfigError for a name that none of them has, or more than one. It quotes the name, not where that was given:
    in the settings, by an option or as an argument.
    """
    by_name: dict[str, list[str]] = {}
    for queue_id, name in known:
        if name is not None:
            by_name.setdefault(name.strip(), []).append(queue_id)
    return tuple(dict.fromkeys(_ids(asked, by_name, where)))


def _ids(asked: Sequence[str], by_name: dict[str, list[str]], where: str) -> Iterator[str]:
    for each in asked:
        there = [each] if is_queue_id(each) else by_name.get(each, [])
        if not there:
            raise ConfigError(f'{where} no queue named "{each}", in these very letters: give its id')
        if len(there) > 1:
            raise ConfigError(
                f'{where} {len(there)} queues named "{each}": give the id of the one that is meant: '
                + ", ".join(sorted(there))
            )
        yield there[0]
