"""What a report says: exit codes, the known rejects, what ended an export."""

from datetime import UTC, datetime, timedelta

from annolake.errors import LakeError, ServiceError, outcome
from annolake.report import (
    QueueReport,
    Report,
    TableReport,
    in_words,
    known_rejects,
    new_report,
    refusals,
    shortcomings,
)

NOW = datetime(2026, 11, 26, 2, 0, 7, 5, tzinfo=UTC)


def queue(number: int, **facts: object) -> QueueReport:
    """Return the entry of a queue."""
    entry = QueueReport(queue_id=f"queue-{number}")
    for name, value in facts.items():
        setattr(entry, name, value)
    return entry


def report(*queues: QueueReport) -> Report:
    """Return the report of an export of some queues."""
    made = new_report(NOW)
    made.queues = list(queues)
    return made


def test_an_export_is_named_by_its_start_and_no_two_alike() -> None:
    """In UTC, so that names sort by time."""
    one, other = new_report(NOW), new_report(NOW)

    assert one.export_id.startswith("20261126T020007Z-")
    assert one.export_id != other.export_id


def test_what_ends_an_export_fails_the_queues_that_had_not_ended() -> None:
    """The others keep what became of them; the most urgent exit code wins, and a second end changes no time."""
    ended, running = queue(1, status="ok", complete=True), queue(2, status="running")
    made = report(ended, running)
    refused = ServiceError("the key was refused", status=401, endpoint="/", attempts=1)

    made.finish(NOW, refused)
    made.finish(NOW + timedelta(seconds=9), LakeError("the disk is full"))

    assert (made.state, made.finished_at, made.exit_code, made.error) == ("finished", NOW, 5, "the disk is full")
    assert (ended.status, ended.error) == ("ok", None)
    assert (running.status, running.error, running.exit_code) == ("failed", "the key was refused", 4)


def test_an_export_that_runs_claims_no_exit_code() -> None:
    """Zero would say that it went well."""
    made = report(queue(1))
    running = made.as_record()
    made.finish(NOW)

    assert (running["state"], running["exit_code"]) == ("running", None)
    assert (made.as_record()["state"], made.as_record()["exit_code"]) == ("finished", 0)


def test_known_rejects_are_one_sentence() -> None:
    """How many, in how many queues, how many of them new; nothing where there are none."""
    one = queue(1, rejects_known=1, rejected_new=1)
    many = queue(2, rejects_known=2_000)

    assert known_rejects(report(queue(3))) is None
    assert known_rejects(report(one, queue(3))) == (
        "1 reject is known in 1 queue, 1 of them new: `annolake rejects` lists them"
    )
    assert known_rejects(report(one, many)) == (
        "2,001 rejects are known in 2 queues, 1 of them new: `annolake rejects` lists them"
    )


def test_rejects_of_each_table_are_known_rejects() -> None:
    """New ones of feedback are new rejects of the queue."""
    told = queue(1, rejects_known=3, rejected_new=1, feedback=TableReport(status="ok", rejected_new=2))

    assert known_rejects(report(told)) == "3 rejects are known in 1 queue, 3 of them new: `annolake rejects` lists them"


def test_a_table_that_was_read_in_part_makes_the_queue_partial() -> None:
    """With what is missing, and what to do."""
    told = queue(
        1,
        complete=True,
        feedback=TableReport(status="partial", because=["HTTP 500 to the end"], rows=7),
        turns=TableReport(status="ok", complete=True, rows=1_200, inserted=5, removed_unconfirmed=30, rejected_new=1),
    )

    again = "the next export looks again, and `annolake run --accept-removals` marks them"

    told.conclude()

    assert (told.status, told.exit_code) == ("partial", 3)
    assert shortcomings(told) == [
        "feedback could not be read whole: HTTP 500 to the end; run it again",
        f"turns not met and not marked removed: 30 rows; {again}",
        "turns: 1 new reject: `annolake rejects` lists them",
    ]
    assert in_words(told).splitlines()[1:3] == ["  feedback: 7 rows read", "  turns: 1,200 rows read, 5 inserted"]


def test_a_table_that_the_service_refuses_leaves_the_queue_as_good_as_it_is() -> None:
    """It is told, with the setting that leaves the table out; so do a table that is off, and one not come to."""
    told = queue(1, complete=True, feedback=TableReport(status="refused", because=["HTTP 403"]))
    off = queue(2, complete=True, feedback=TableReport(status="off"))

    told.conclude()
    off.conclude()

    assert (told.status, told.exit_code, shortcomings(told)) == ("ok", 0, [])
    (line,) = refusals(told)
    assert line.startswith("feedback: the service refuses it: HTTP 403; what the lake has of it stays; ")
    assert line.endswith("or leave it out with source.feedback = false")
    assert line in in_words(told)
    assert (off.status, refusals(off), len(in_words(off).splitlines())) == ("ok", [], 1)


def test_a_queue_that_failed_has_no_new_rejects_in_any_table() -> None:
    """What it met is new for the next export."""
    told = queue(1, rejected_new=1, feedback=TableReport(status="ok", rejected_new=2))

    told.fail(LakeError("the disk is full"))

    assert (told.rejected_new, told.feedback.rejected_new) == (0, 0)


def test_what_ends_a_program_is_no_bug() -> None:
    """Orchestrators raise what is no Exception to end a task, as Python raises KeyboardInterrupt."""

    class Ended(BaseException):
        """Such a thing."""

    assert outcome(Ended("by the scheduler")) == outcome(KeyboardInterrupt())
    assert outcome(KeyboardInterrupt(15))[1] == 143
    assert outcome(KeyError("a row"))[1] == 1
