"""The threads that requests are made in."""

from collections.abc import Callable
from functools import partial
from threading import Event, Thread, current_thread

import httpx

from annolake.extract.http.request_threads import RequestThreads, Work


def _noting(names: list[str], done: Event, until: Event | None = None) -> Work:
    def work(_http: httpx.Client) -> Callable[[], None]:
        names.append(str(current_thread().ident))
        if until:
            until.wait()
        return done.set

    return work


def test_a_thread_that_is_done_does_the_next_work() -> None:
    """And another one is there only for work beside it."""
    threads, names = RequestThreads(httpx.Client), list[str]()
    for _ in range(3):
        threads.run(_noting(names, done := Event()))
        done.wait()
    assert len(set(names)) == 1

    threads.run(_noting(names, slow := Event(), until := Event()))
    threads.run(_noting(names, done := Event()))
    done.wait()
    assert not slow.is_set()
    until.set()
    slow.wait()
    assert len(set(names)) == 2
    threads.close()


def test_closed_threads_end_and_one_at_work_when_it_has_done_it() -> None:
    """Nobody waits for them meanwhile."""
    threads, seen = RequestThreads(httpx.Client), list[Thread]()

    def work(began: Event, until: Event, _http: httpx.Client) -> Callable[[], None]:
        seen.append(current_thread())
        began.set()
        until.wait()
        return Event().set

    until = Event()
    for number in range(2):
        threads.run(partial(work, began := Event(), until if number else began))
        began.wait()
    threads.close()
    until.set()
    for thread in seen:
        thread.join()
