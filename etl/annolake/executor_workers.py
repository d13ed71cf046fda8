"""The workers of an executor that a program hands over: processes, threads, or machines elsewhere.

Apart from the other workers, since a command never has an executor: what several processes need takes 5 ms to import.
"""

import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from annolake.config import Config
from annolake.errors import ConfigError
from annolake.observers.protocols import Log, Progress
from annolake.queue_task import ENDING_S, QUEUES_AT_ONCE, QueueTask, export_queue
from annolake.report import QueueReport


class ExecutorWorkers:
    """The workers of any executor of the standard library's kind; at most `most` queues are handed to it at once.

    Raises ConfigError where the executor's processes could hang, or this is one of them that begins all over.
    """

    def __init__(self, executor: Executor, most: int | None = None) -> None:
        self._executor = executor
        self._most = most or getattr(executor, "_max_workers", None)
        if not isinstance(executor, ProcessPoolExecutor):
            return
        if _loads_the_program():
            raise ConfigError(
                "executor: this process was begun by one like it, and loads the program: have the export begin behind "
                'if __name__ == "__main__":'
            )
        if _forks(executor):
            raise ConfigError(
                "executor: its processes are forks of this one, which has threads, and would hang: make it with "
                'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
            )

    def at_once(self, queues: int) -> int:
        """Return the number of the executor's workers, or of all queues where it does not tell."""
        return max(1, min(queues, self._most or queues))

    def sharing(self, at_once: int) -> int:
        """Return how many queues may share one process."""
        if isinstance(self._executor, ProcessPoolExecutor):
            return 1
        return at_once if isinstance(self._executor, ThreadPoolExecutor) else min(at_once, QUEUES_AT_ONCE)

    def serving(self, _config: Config, _export_id: str, _log: Log, _progress: Progress) -> AbstractContextManager[None]:
        """Do nothing: the executor is there, and stays."""
        return nullcontext()

    def submit(self, task: QueueTask) -> Future[QueueReport]:
        """Have a queue exported."""
        return self._executor.submit(export_queue, task.pack())

    def stop(self) -> None:
        """Do nothing: the file of their task tells them."""

    def gives_up(self, _queue_id: str, seconds: float) -> bool:
        """Give up at once what waits in threads or processes; another executor may cancel what runs, so that has time.

        What runs in threads or processes is waited for: they can't be cancelled.
        """
        return isinstance(self._executor, (ThreadPoolExecutor, ProcessPoolExecutor)) or seconds >= ENDING_S


def _loads_the_program() -> bool:
    """Tell whether this process was spawned and has not got so far as its task: multiprocessing's own mark."""
    return bool(getattr(multiprocessing.current_process(), "_inheriting", None))


def _forks(executor: ProcessPoolExecutor) -> bool:
    context = getattr(executor, "_mp_context", None) or multiprocessing
    return bool(context.get_start_method() == "fork")
