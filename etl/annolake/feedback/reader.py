"""What was said on the rows of a queue, asked for in lanes beside the pages, and taken in the order asked.

Owns how much is under way, and what an error means: one of the service ends the reading of feedback and nothing else
(docs/guarantees.md#feedback). Which rows' feedback is asked for, and what becomes of it, is `feedback.export`'s.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from annolake.errors import ServiceError
from annolake.extract.endpoints.query_limits import NOT_ACCEPTED, QuerySize
from annolake.feedback.backlog import Backlog, Group, Reviewing
from annolake.feedback.thread_answers import OddAnswer, ThreadAnswers
from annolake.keys import key_of
from annolake.observers.protocols import Log
from annolake.printable import counted
from annolake.report import TableReport
from annolake.sources.feedback import FeedbackSource, FeedbackTerms, Said
from annolake.sources.new_feedback import IgnoredError
from annolake.sources.source import Access

_NOT_SERVED = frozenset({401, 403, 404, 405, 410, 501})
_UNKNOWN = 404  # of a run that this export did not see: it expired
_FIRST = 5  # runs of the first group, which is asked for alone: what it weighs tells how many the next ones have
_FEW_GROUPS = 4  # for no more it is not worth a request to know how long an answer can be

_PART = 4  # of the memory for answers; the rest is for rows

IN_DOUBT = "the service was found to cut answers short after some had been taken for whole"

Land = Callable[[Said], None]
Thread = tuple[str, str | None, Reviewing]


class FeedbackReader:
    """Reads feedback until it `is_over`; `land` takes what was read. The report says why where it ended early.

    `access` has a caller of its own, with which all of it ends; `at_once` queues share its lanes. `found_whole` has the
    keys of the runs and threads that were read whole, and that this export saw to be there.
    """

    def __init__(
        self, access: Access, terms: FeedbackTerms, land: Land, *, report: TableReport, log: Log, at_once: int
    ) -> None:
        self.is_over = False
        self.source = FeedbackSource(access, terms)
        self.found_whole = bytearray()
        self._access, self._limits, self._land, self._terms = access, terms.limits, land, terms
        self._report, self._log = report, log
        self._backlog, self._by_size, self._last = Backlog(), Backlog(), Backlog()
        self._threads: deque[Thread] = deque()
        self._threads_by_size: list[Thread] = []
        self._flying: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()
        self._lanes = max(1, access.settings.concurrency // at_once)
        self._most = max(1, self._lanes // 2)  # the other lanes are for rows, until they were read
        budget, largest = access.settings.max_inflight_mb * 1_000_000, access.settings.max_response_mb * 1_000_000
        self._size = QuerySize(budget // _PART, min(budget, largest), _FIRST)
        self._on_threads = ThreadAnswers()
        self._is_measured = terms.longest.rows > 0
        self._is_weighing = False  # while the first group is under way
        self._is_weighed = False
        self._asked = self._taken = 0  # runs and threads
        self._unread = 0
        self._refused = 0
        self._odd = 0

    def steps(self) -> tuple[int, int]:
        """On how many runs and threads what was said has been read, of how many."""
        return self._taken, self._asked + len(self._backlog) + len(self._threads)

    def want(self, row: Any, *, is_thread: bool, found: bool) -> None:
        """Have what was said on a row asked for; `found`: this export saw that the service has its run."""
        if is_thread and row.thread_id:
            reviewing = None if row.completed_by is None else frozenset(row.completed_by)
            self._threads.append((row.thread_id, row.session_id, reviewing))
        elif row.id and not is_thread:
            self._odd += not self._backlog.add(row.id, row.completed_by, found=found)
            many = self._is_light and len(self._backlog) > _FEW_GROUPS * self._limits.most
            if many and not self._is_measured and row.session_id:
                self._is_measured = True
                self._submit(partial(self.source.measure, row.session_id), lambda _: None)

    def want_run(self, run_id: str, reviewers: Reviewing, *, found: bool) -> None:
        """Have what was said on a run asked for once more, given a UUID; what is read last counts."""
        for backlog in (self._backlog, self._last):
            backlog.add(run_id, reviewers, found=found)

    def go_on(self) -> None:
        """Send full groups, as many as may be under way, and take what was answered; waits for nothing."""
        with self._heeding():
            self._send(full=True)
            while self._flying and self._flying[0][0].done():
                self._take()
                self._send(full=True)

    def finish(self) -> None:
        """Read all that is wanted; the report has the reasons where something could not be read."""
        self._most = self._lanes
        self._read_all_for_sure()
        self._tell_doubts()
        self._conclude_on_threads()
        if self._unread:
            self._report.because.append(f"what was said on {self._unread:,} runs changed too fast to be read whole")
        if self._refused:
            self._report.because.append(f"the service refused what was said on {counted(self._refused, 'row')}")
        if self._odd:
            self._report.because.append(f"{self._odd:,} runs have an id that is no UUID, so they cannot be asked for")

    def read_again(self, owners: Mapping[str, Iterable[str]], meet: Land) -> bytes:
        """Read what was said on some runs and threads once more, for `meet`; return the keys of those read whole."""
        whole, self._land, self.found_whole = self.found_whole, meet, bytearray()
        for run_id in owners["run_id"]:
            self._backlog.add(run_id, None, found=True)
        self._threads.extend((thread_id, None, None) for thread_id in owners["thread_id"])
        self._read_all_for_sure()
        self.found_whole, again = whole, bytes(self.found_whole)
        return b"" if self._tell_doubts() else again

    def close(self) -> None:
        """End what is under way."""
        self.is_over = True
        self._access.caller.stop.set()
        for future, _ in self._flying:
            future.cancel()
        wait([future for future, _ in self._flying])
        self._flying.clear()

    def give_up(self, error: ServiceError | IgnoredError) -> None:
        """End the reading: the service does not serve feedback, did not answer, or not what was asked."""
        report = self._report
        if isinstance(error, ServiceError):
            self._take_answered()
        if isinstance(error, IgnoredError):
            report.status, why = "partial", f"the service ignores the parameter {error.parameter}"
        elif error.status in _NOT_SERVED and not self.source.has_answered:
            report.status, why = "refused", f"it answered with status {error.status}"
        else:
            report.status, why = "partial", str(error)
        report.because.append(why)
        self._log.warning(f"feedback_{report.status}", queue_id=self._access.queue_id, why=why)
        self.close()

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Have an error of the service end the reading of feedback, and nothing else."""
        try:
            yield
        except (ServiceError, IgnoredError) as error:
            self.give_up(error)

    def _read_all(self) -> None:
        with self._heeding():
            self._send(full=False)
            while self._flying:
                self._take()
                self._send(full=False)

    def _read_all_for_sure(self) -> None:
        """Read all, and what was whole by its size once more if the service was found to cut answers since."""
        self._read_all()
        if self._terms.longest.cuts and self._by_size:
            for run_id, reviewing, found in self._last:
                self._by_size.add(run_id, reviewing, found=found)
        if self._terms.longest.cuts:
            self._backlog = self._by_size
            self._threads.extend(self._threads_by_size)
            self._read_all()
        elif self._by_size or self._threads_by_size:
            self._terms.relying.add(self._access.queue_id)
            self.found_whole += b"".join(key_of(run_id) for run_id, _, found in self._by_size if found)
            self.found_whole += b"".join(key_of(thread_id) for thread_id, _, _ in self._threads_by_size)
        self._by_size, self._threads_by_size, self._last = Backlog(), [], Backlog()

    def _tell_doubts(self) -> bool:
        """Tell whether something that was concluded from the size of an answer is in doubt by now."""
        is_in_doubt = self._terms.longest.cuts and self._access.queue_id in self._terms.relying
        if is_in_doubt and IN_DOUBT not in self._report.because:
            self._report.because.append(IN_DOUBT)
        return is_in_doubt

    def _send(self, *, full: bool) -> None:
        """Send groups (`full` ones only, or what there is) and questions on threads, as many as may be under way."""
        while not self.is_over and len(self._flying) < min(self._most, self._size.at_once):
            most = min(self._limits.most, self._size())
            if not self._is_weighing and len(self._backlog) >= (most if full else 1):
                self._send_group(self._backlog.take(most))
            elif self._threads:
                thread = self._threads.popleft()
                self._asked += 1
                self._submit(partial(self._on_thread, *thread), partial(self._take_thread, thread))
            else:
                return

    def _send_group(self, group: Group) -> None:
        self._is_weighing = not self._is_weighed
        self._asked += len(group.reviewers)
        self._submit(partial(self.source.on_runs, group.reviewers), partial(self._take_group, group))

    @property
    def _is_light(self) -> bool:
        """Whether a full answer is known to be one that memory has room for."""
        return self._is_weighed and self._size() >= self._limits.most

    def _submit(self, ask: Callable[[], Any], take: Callable[[Any], None]) -> None:
        self._flying.append((self._access.lanes.submit(ask), take))

    def _take(self) -> None:
        future, take = self._flying.popleft()
        take(future.result())

    def _take_answered(self) -> None:
        """Take what was answered behind an error."""
        for future, take in self._flying:
            if future.done() and not future.cancelled() and future.exception() is None:
                with suppress(ServiceError):
                    take(future.result())

    def _take_group(self, group: Group, said: Said) -> None:
        self._is_weighing, self._is_weighed = False, True
        self._taken += len(group.reviewers)
        self._size.asks()
        self._size.saw(len(said.whole), said.size)
        self._unread += len(said.unread)
        self._refused += sum(run in group.found or status != _UNKNOWN for run, status in said.refused.items())
        self._land(said)
        for run_id in said.whole:
            found = run_id in group.found
            if run_id in said.by_size:
                self._by_size.add(run_id, group.reviewers[run_id], found=found)
            elif found:
                self.found_whole += key_of(run_id)
        if said.error is not None:
            raise said.error

    def _on_thread(self, thread_id: str, session_id: str | None, reviewing: Reviewing) -> Said | OddAnswer:
        """Return what was said on a thread, or what came instead. Runs in a lane."""
        if self._on_threads.is_over:
            return None
        try:
            return self.source.on_thread(thread_id, session_id, {thread_id: reviewing})
        except IgnoredError as error:
            return error
        except ServiceError as error:
            if error.status not in NOT_ACCEPTED:
                raise
            return error

    def _take_thread(self, thread: Thread, said: Said | OddAnswer) -> None:
        self._taken += 1
        if not isinstance(said, Said):
            self._on_threads.odd(thread[1], said)
            return
        self._on_threads.answered(said)
        self._unread += len(said.unread)
        self._refused += len(said.refused)
        self._land(said)
        if said.by_size:
            self._threads_by_size.append(thread)
        else:
            self.found_whole += b"".join(map(key_of, said.whole))

    def _conclude_on_threads(self) -> None:
        """Tell which threads could not be read; a service that is too old for any is no shortcoming of this export."""
        if self._knows_threads():
            self._refused += self._on_threads.refused
            self._report.because += self._on_threads.reasons()
        else:
            meaning = "the service is too old to tell what was said on whole threads: feedback has that of runs alone"
            self._log.warning("feedback_of_threads_unknown", queue_id=self._access.queue_id, meaning=meaning)

    def _knows_threads(self) -> bool:
        """Tell whether no answer speaks against that, or that of odd threads alone."""
        if self.is_over or not self._on_threads.speak_against_all:
            return True
        return self._access.lanes.submit(self.source.knows_threads, self._on_threads.project).result()
