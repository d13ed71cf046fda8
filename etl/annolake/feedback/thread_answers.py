"""Whether the service tells what was said on whole threads: known from what it answered on each that was asked for.

Owns the difference between a service that is too old for it and a single thread that it refuses or answers with other
feedback. Nothing is concluded from one thread, which may be the odd one, whenever it comes.
"""

from annolake.errors import ServiceError
from annolake.printable import counted
from annolake.sources.feedback import Said
from annolake.sources.new_feedback import IgnoredError
from annolake.sources.refusals import MOST_REFUSED

OddAnswer = ServiceError | IgnoredError | None
"""Of a thread: the parameter was not accepted, or other feedback came; None: it was not asked for any more."""


class ThreadAnswers:
    """What became of the questions on a queue's threads; `refused` of them were not accepted (400, 422).

    `project`: of a thread that was odd, one that brought other feedback if any did.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.project: str | None = None
        self._foreign = 0
        self._not_asked = 0
        self._answered = 0
        self._heeded = False

    @property
    def is_over(self) -> bool:
        """Whether so many were odd that no more is asked. Also read in lanes."""
        return self.refused + self._foreign > self._answered + MOST_REFUSED

    @property
    def speak_against_all(self) -> bool:
        """Whether some were odd, and no other shows that the service knows threads.

        Feedback of the very thread shows that, and any answer where all that were odd were refused. Nothing does not
        where other feedback came: that may be all that was said in the one project, and not in the other.
        """
        return not self._heeded and (self._foreign > 0 or (self.refused > 0 and not self._answered))

    def answered(self, said: Said) -> None:
        """Note an answer that shows the thread's feedback, if any."""
        self._answered += not said.refused
        self._heeded |= bool(said.rows)

    def odd(self, project: str | None, answer: OddAnswer) -> None:
        """Note another one."""
        if isinstance(answer, IgnoredError):
            self._foreign += 1
            self.project = project
        else:
            self.refused += answer is not None
            self._not_asked += answer is None
            self.project = self.project if self._foreign else project

    def reasons(self) -> list[str]:
        """Return why the feedback of some is not known, but for those refused."""
        because = []
        if self._foreign:
            because.append(f"the service answered with other feedback than that on {counted(self._foreign, 'thread')}")
        if self._not_asked:
            threads = counted(self._not_asked, "thread")
            because.append(f"the service was not asked for {threads} more, after so many in vain")
        return because
