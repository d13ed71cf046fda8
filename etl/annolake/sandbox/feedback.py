"""The endpoint of feedback: what people, models and programs said of runs, threads and projects.

Owns its parameters and its paging. What feedback there is, is feedback_book.py's.
"""

from collections.abc import Callable, Mapping, Sequence

from annolake.sandbox.answers import Answer, boolean, choice, identifier, integer, invalid, moment, text
from annolake.sandbox.feedback_book import FeedbackBook
from annolake.sandbox.feedback_rules import FeedbackRules
from annolake.sandbox.feedback_text import Feedback
from annolake.sandbox.opinions import SOURCES
from annolake.sandbox.rows import members, microseconds
from annolake.sandbox.showing import Showing

Query = Mapping[str, list[str]]

_PARAMETERS = frozenset(
    {
        *("run", "session", "key", "user", "source", "limit", "offset", "has_comment", "has_score", "level"),
        *("min_created_at", "max_created_at", "include_user_names", "feedback_thread_id"),
    }
)
_NULL = b"null"


def page(book: FeedbackBook, query: Query, *, url: str, rules: FeedbackRules, showing: Showing) -> Answer:
    """Answer a page of feedback: a bare array, in an order that says nothing."""
    query = {name: values for name, values in rules.admit(url, query).items() if name in _PARAMETERS}
    offset = integer(query, "offset", 0, low=0)
    limit = integer(query, "limit", 100, low=1, high=100)
    names = boolean(query, "include_user_names") is True
    found = sorted(_found(book, query), key=lambda one: one.rank)
    rows = found[offset : offset + min(limit, rules.page_cap or limit)]
    shown, _ = Showing(bytes_cap=rules.bytes_cap or None).window(rows, lambda one: one.shown(names=names))
    texts = [showing.text(one.shown(names=names)) for one in shown]
    return Answer(200, b"[" + b",".join(texts) + b"]", rows=len(texts))


def _found(book: FeedbackBook, query: Query) -> Sequence[Feedback]:
    since, until = (_time(query, name) for name in ("min_created_at", "max_created_at"))
    sessions = _ids(query, "session")
    if "run" in query:
        there = [one for run_id in _ids(query, "run") for one in book.of(run_id)]
    elif "feedback_thread_id" in query:
        there = [one for thread_id in query["feedback_thread_id"] for one in book.of(thread_id)]
    else:
        there = book.of_projects(sessions or None, since)
    filters = [
        *([lambda one: one.session_id in sessions] if sessions else []),
        *([lambda one: one.created >= since] if since is not None else []),
        *([lambda one: one.created <= until] if until is not None else []),
        *_filters(query),
    ]
    return [one for one in there if all(keep(one) for keep in filters)]


def _filters(query: Query) -> list[Callable[[Feedback], bool]]:
    keys, users, sources = (set(query.get(name, ())) for name in ("key", "user", "source"))
    if not sources.issubset(SOURCES):
        raise invalid(("query", "source"), f"Input should be {', '.join(SOURCES)}", "enum")
    comment, score = boolean(query, "has_comment"), boolean(query, "has_score")
    level = choice(query, "level", ("run", "session"))
    filters: list[Callable[[Feedback], bool]] = []
    if keys:
        filters.append(lambda one: one.opinion().key in keys)
    if users:
        filters.append(lambda one: not users.isdisjoint(one.people()))
    if sources:
        filters.append(lambda one: one.opinion().source in sources)
    if comment is not None:
        filters.append(lambda one: _has(one, "comment") is comment)
    if score is not None:
        filters.append(lambda one: _has(one, "score") is score)
    if level is not None:
        filters.append(lambda one: (one.run_id is not None) is (level == "run"))
    return filters


def _has(one: Feedback, name: str) -> bool:
    return members(one.text).get(name, _NULL) != _NULL


def _ids(query: Query, name: str) -> list[str]:
    ids = (identifier(value, ("query", name, index)) for index, value in enumerate(query.get(name, ())))
    return list(dict.fromkeys(ids))


def _time(query: Query, name: str) -> int | None:
    at = moment(text(query, name), ("query", name))
    return None if at is None else microseconds(at)
