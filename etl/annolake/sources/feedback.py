"""The feedback endpoint as a source: what was said on some runs or on a thread, whole by proof or told as unread.

Owns the groups in which runs are asked for (docs/paging.md#short-lists), what is read of the projects to find runs with
new feedback, and what shows that the service ignores a parameter. All of it is called in a lane.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec

from annolake.errors import RefusedError, ServiceError, TooLargeError, UnavailableError
from annolake.extract.endpoints.feedback import ENDPOINT, MOST_ROWS, MOST_RUNS, FeedbackListing, Question
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED, QueryLimits
from annolake.extract.offset.halving import read_fitting
from annolake.extract.offset.list_reader import Listing
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.offset.whole_list import LongestAnswer, Whole, measure, read_whole
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.waiting import answered
from annolake.sources.new_feedback import IgnoredError, Mention, NewFeedback
from annolake.sources.refusals import Refusals
from annolake.sources.source import Access, ambiguous_keys, times_of
from annolake.transform.feedback import Reviewers, decode_feedback, owner_of
from annolake.transform.reject_value import RejectedRow
from annolake.transform.row_batch import DecodedRow, Page, Reject

_ANSWERED = 200


class FeedbackTerms(msgspec.Struct):
    """What is known of the service, for all queues of an export: how many runs may be asked for, its longest answer.

    `relying`: the queues some of whose feedback was taken for whole by its size. That is in doubt if answers are cut.
    """

    limits: QueryLimits = msgspec.field(default_factory=lambda: QueryLimits(MOST_RUNS))
    longest: LongestAnswer = msgspec.field(default_factory=lambda: LongestAnswer(MOST_ROWS))
    relying: set[str] = msgspec.field(default_factory=set)

    def begin(self, queue_id: str, *, cuts: bool) -> None:
        """Note that a queue is read from the start; `cuts`: it is known of earlier exports that answers are cut."""
        self.relying.discard(queue_id)
        if cuts:
            self.longest.cuts = True


class Said(msgspec.Struct):
    """What was said on some runs, or on a thread: on the `whole` ones all of it, of the `unread` ones nothing is known.

    In neither are those on which something was said whose id cannot be read: it can be any that is missing. Runs are in
    lower case. `size` of the answers in bytes. The `refused` ones are told with the status, and `error` ended the
    reading of the others. `by_size`: those of the whole ones that are so because an answer was small (P19).
    """

    size: int = 0
    rows: list[DecodedRow] = msgspec.field(default_factory=list)
    rejects: list[Reject] = msgspec.field(default_factory=list)
    whole: list[str] = msgspec.field(default_factory=list)
    by_size: set[str] = msgspec.field(default_factory=set)
    unread: list[str] = msgspec.field(default_factory=list)
    refused: dict[str, int | None] = msgspec.field(default_factory=dict)
    error: ServiceError | None = None

    def add(self, owners: Collection[str], read: Whole[Page]) -> None:
        """Note what was read whole. An element can be on two pages: the later one counts."""
        pages = read.answers
        rows = {row.key: row for page in pages for row in page.rows}
        rejects = {reject.key: reject for page in pages for reject in page.rejects}
        self.size += sum(page.size for page in pages)
        self.rows += rows.values()
        self.rejects += rejects.values()
        in_doubt = {owner for reject in rejects.values() for owner in _in_doubt(reject, owners)}
        whole = [owner for owner in owners if owner not in in_doubt]
        self.whole += whole
        self.by_size.update(whole if read.by_size else ())


class FeedbackSource:
    """What was said on the runs of one queue."""

    def __init__(self, access: Access, terms: FeedbackTerms) -> None:
        self._listing = FeedbackListing(access.client, access.caller)
        self._access, self._terms = access, terms
        self._refusals = Refusals()

    @property
    def has_answered(self) -> bool:
        """Whether the service answered for any runs, thread or project: then a refusal is not of all feedback."""
        return self._refusals.answering is not None

    def measure(self, session: str) -> None:
        """Look how long an answer of this service can be and whether it is cut, at what was said in a project."""
        question, decode = Question(sessions=[session]), partial(decode_feedback, reviewers={})
        try:
            measure(lambda offset: self._listing.read(question, offset, MOST_ROWS, decode), self._terms.longest)
        except ServiceError:  # what it is measured for tells
            return

    def on_runs(self, reviewers: Reviewers) -> Said:
        """Return what was said on some runs, given by their reviewers; runs that are not read whole are told.

        Raises ServiceError where nothing was read before it; IgnoredError where anything else came.
        """
        said = Said()
        try:
            self._read(list(reviewers), reviewers, said)
        except ServiceError as error:
            if not said.whole:
                raise
            said.error = error
        return said

    def on_thread(self, thread: str, session: str | None, reviewers: Reviewers) -> Said:
        """Return what was said on a thread as a whole; raises as `on_runs` does."""
        said, sessions = Said(), [session] if session else []
        question, decoding = Question(thread=thread, sessions=sessions), self._decoding(reviewers)

        def decode(body: bytes) -> Page:
            page = decoding(body)
            if any(row.row.thread_id != thread for row in page.rows):
                raise IgnoredError("feedback_thread_id")
            return page

        try:
            read = self._whole(question, decode, alone=True)
        except ServiceError as error:
            others = [Question(sessions=sessions)] if sessions else []
            if error.status in NOT_ACCEPTED or not self._refusals.concern(others, error, self._answers):
                raise
            said.refused[thread] = error.status
            return said
        if read is None:
            said.unread.append(thread)
            return said
        self._refusals.answered(question)
        said.add([thread], read)
        return said

    def knows_threads(self, session: str | None) -> bool:
        """Tell whether nothing comes for a thread that does not exist, so that the parameter is heeded."""
        question = Question(thread=str(uuid4()), sessions=[session] if session else [])
        try:
            page = self._listing.read(question, 0, 1, partial(decode_feedback, reviewers={}))
        except ServiceError:
            return False
        return not page.keys

    def new_since(self, sessions: Sequence[str], since: datetime, *, enough: float) -> dict[bytes, Mention]:
        """Return what was said since then on the runs and threads of projects, by the keys of the feedback.

        Raises ServiceError; IgnoredError where the service shows older feedback, or where the list kept moving;
        TooMuchError where `enough` answers did not tell.
        """
        found: dict[bytes, Mention] = {}
        decode = NewFeedback(since, enough)
        for some in _parts(list(sessions), MOST_RUNS):
            question = Question(sessions=some, since=since)
            read = self._whole(question, decode, alone=True)
            if read is None:
                raise IgnoredError("offset")
            self._refusals.answered(question)
            if read.by_size:
                self._terms.relying.add(self._access.queue_id)
            for page in read.answers:
                found |= page.mentions
        return found

    def _read(self, some: list[str], reviewers: Reviewers, said: Said) -> bool:
        """Read what was said on some runs, in as many groups as it takes; tell whether none of them was refused."""
        limits = self._terms.limits
        if len(some) > limits.most:
            return self._read_parts(some, limits.most, reviewers, said)
        try:
            read = self._group(some, reviewers)
        except ServiceError as error:
            return self._read_refused(some, reviewers, said, error)
        if read is not None:
            limits.answered(len(some))
            self._refusals.answered(Question(runs=some[:1]))
            said.add(some, read)
        elif len(some) == 1:
            said.unread += some
        else:
            limits.too_many(len(some))
            return self._read_parts(some, len(some) // 2, reviewers, said)
        return True

    def _read_refused(self, some: list[str], reviewers: Reviewers, said: Said, error: ServiceError) -> bool:
        """Read the halves of a refused group, a single run of which is told; raises the error where it is of all."""
        if len(some) > 1 and self._is_too_much(len(some), error):
            return self._read_parts(some, len(some) // 2, reviewers, said)
        ends = [Question(runs=[run]) for run in (some[0], some[-1]) if len(some) > 1]
        if not self._refusals.concern(ends, error, self._answers):
            raise error
        if len(some) == 1:
            said.refused[some[0]] = error.status
            return False
        is_answered = self._read_parts(some, len(some) // 2, reviewers, said)
        if is_answered:
            self._terms.limits.too_many(len(some))
        return is_answered

    def _read_parts(self, some: list[str], size: int, reviewers: Reviewers, said: Said) -> bool:
        answered = [self._read(part, reviewers, said) for part in _parts(some, size)]
        return all(answered)

    def _answers(self, question: Question) -> bool:
        """Tell whether the service answers a question."""
        try:
            self._listing.read(question, 0, 1, partial(decode_feedback, reviewers={}))
        except ServiceError:
            return False
        return True

    def _group(self, runs: list[str], reviewers: Reviewers) -> Whole[Page] | None:
        asked, decoding = frozenset(runs), self._decoding(reviewers)

        def decode(body: bytes) -> Page:
            page = decoding(body)
            if not all(owner_of(row.row) in asked for row in page.rows):
                raise IgnoredError("run")
            return page

        return self._whole(Question(runs=runs), decode, alone=len(runs) == 1)

    def _decoding(self, reviewers: Reviewers) -> Callable[[bytes], Page]:
        """Return what decodes answers. What names no owner shows nothing of whether the question was heeded."""
        return partial(decode_feedback, reviewers=reviewers, guards=self._access.guards, owned=True)

    def _whole(self, question: Question, decode: Callable[[bytes], Any], *, alone: bool) -> Whole[Any] | None:
        """Return the answers that together show all of it, None where it moves too much to be shown."""

        def ask(offset: int) -> Any:
            return self._listing.read(question, offset, MOST_ROWS, decode, alone=alone)

        try:
            read = read_whole(ask, self._terms.longest)
        except TooLargeError:
            if not alone:
                raise
            read = None
        return self._as_list(question, decode) if read is None and alone else read

    def _as_list(self, question: Question, decode: Callable[[bytes], Any]) -> Whole[Any] | None:
        """Read a long or restless list as the lists of a queue are read; None where it is not known to be whole."""

        def ask(offset: int, rows: int) -> Any:
            return self._listing.read(question, offset, rows, decode)

        def fetch(offset: int, limit: int) -> Any:
            page = read_fitting(ask, offset, limit, most=lambda: limit, refused=lambda _: None)
            times = times_of([row.row for row in page.rows], ["created_at"])["created_at"]
            return answered(Slice(page.keys, {"added_at": times}, page, ambiguous_keys=ambiguous_keys(page.rejects)))

        reader = QueueReader([Listing("feedback", fetch)], seen_keys=_Met(), lanes=1, limit=lambda: MOST_ROWS)
        try:
            pages = [piece.slice.page for piece in reader.read()]
        except UnavailableError as error:
            if error.endpoint == ENDPOINT:
                raise
            return None  # the list has no end, or never stands still
        return Whole(pages, by_size=False) if reader.verdict.complete else None

    def _is_too_much(self, asked: int, error: ServiceError) -> bool:
        if isinstance(error, TooLargeError):
            self._terms.limits.too_many(asked)
            return True
        numbers = error.numbers if isinstance(error, RefusedError) else ()
        return self._terms.limits.refused(asked, status=error.status, numbers=numbers)


def _in_doubt(reject: Reject, owners: Collection[str]) -> Collection[str]:
    """Return on which runs or threads a reject can be any feedback that is missing: none where its id is readable."""
    if reject.queue_run_id is not None:
        return ()
    owner = (RejectedRow(reject.text).text_of("run_id") or "").lower()
    return [owner] if owner in owners else owners


class _Met:
    """The keys met in one list, each with the number of the reading that met it last."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._readings: list[int] = []

    def meet(self, keys: Sequence[bytes], reading: int) -> tuple[Sequence[int], Sequence[int]]:
        """Note that a reading met the keys, as `paging.readings.SeenKeys` says."""
        numbers = [self._number(key) for key in keys]
        before = [self._readings[number] for number in numbers]
        for number in numbers:
            self._readings[number] = reading
        return before, numbers

    def _number(self, key: bytes) -> int:
        number = self._numbers.setdefault(key, len(self._readings))
        if number == len(self._readings):
            self._readings.append(0)
        return number


def _parts(items: list[str], size: int) -> Iterator[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
