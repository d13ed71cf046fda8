"""What a report says: exit codes, the known rejects, what ended an export."""

from datetime import UTC, datetime, timedelta

from annolake.errors import LakeError, ServiceError
from annolake.report import QueueReport, Report, known_rejects, new_report

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
