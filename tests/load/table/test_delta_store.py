"""A Delta table in an object store that loses answers, refuses, or is not there."""

from pathlib import Path

import pytest

from annolake.errors import LakeError
from load.model_queue import QUEUE, Row, changed
from load.table.delta_site import DAY, Site, at, store
from losing_proxy import Fault, Request, losing_proxy
from object_store import BUCKET, ObjectStore

ROWS = [Row(1, at(DAY)), Row(2, at(DAY, 1))]


def is_commit(request: Request) -> bool:
    """Tell whether a request writes a version of a log after the first."""
    return request.method == "PUT" and "_delta_log" in request.path and not request.path.endswith(f"{0:020}.json")


def statuses(site: Site) -> list[str]:
    """Return the status of each row, as polars reads it."""
    return sorted(site.scan().select("status").collect()["status"].to_list())


@pytest.mark.parametrize(
    "fault",
    [Fault.LOSE, Fault.LOSE_AS_500, Fault.LOSE_AS_412, Fault.CUT, Fault.REFUSE_500, Fault.REFUSE_503, Fault.DENY_409],
)
def test_a_version_whose_answer_was_lost_is_written_once(
    object_store: ObjectStore, tmp_path: Path, fault: Fault
) -> None:
    """Done and unanswered, refused, or said to be another's: the table has each row once, and one version of it."""
    direct = store(object_store, tmp_path / "scratch")
    with losing_proxy(object_store.endpoint) as proxy:
        through = Site(direct.root, direct.make_files, direct.scratch, object_store.environ(endpoint=proxy.endpoint))
        log = through.log()
        proxy.on(is_commit, fault)
        through.export(log, {DAY: ROWS})
        proxy.on(is_commit, fault)
        through.export(log, {DAY: [changed(row) for row in ROWS]})

    assert statuses(direct) == ["version 1", "version 1"]
    assert direct.delta().version() == 2


def test_an_answer_that_is_cut_off_is_asked_for_again(object_store: ObjectStore, tmp_path: Path) -> None:
    """The client of deltalake leaves to us what breaks while it is read: each request for the log in turn."""
    direct = store(object_store, tmp_path / "scratch")
    with losing_proxy(object_store.endpoint) as proxy:
        through = Site(direct.root, direct.make_files, direct.scratch, object_store.environ(endpoint=proxy.endpoint))
        through.export(through.log(), {DAY: ROWS})
        proxy.clear()
        proxy.on(lambda request: request.method == "GET", Fault.CUT_BODY, times=2)
        log = through.log()
        proxy.on(lambda request: request.path.endswith("_last_checkpoint"), Fault.CUT_BODY)
        through.export(log, {DAY: [changed(row) for row in ROWS]})

    assert statuses(direct) == ["version 1", "version 1"]


@pytest.mark.parametrize("fault", [Fault.LOSE, Fault.LOSE_AS_500, Fault.DENY_409])
def test_a_table_whose_making_was_not_answered_is_there(
    object_store: ObjectStore, tmp_path: Path, fault: Fault
) -> None:
    """The first version was written, or can be now: the export goes on with it."""
    direct = store(object_store, tmp_path / "scratch")
    with losing_proxy(object_store.endpoint) as proxy:
        through = Site(direct.root, direct.make_files, direct.scratch, object_store.environ(endpoint=proxy.endpoint))
        proxy.on(lambda request: request.method == "PUT" and "_delta_log" in request.path, fault)
        through.export(through.log(), {DAY: ROWS})

    assert statuses(direct) == ["version 0", "version 0"]


def test_a_wrong_secret_is_told_in_our_words(object_store: ObjectStore, tmp_path: Path) -> None:
    """Place, reason, advice; no address of a request, no answer of the store."""
    site = store(object_store, tmp_path / "scratch")
    site.options["AWS_SECRET_ACCESS_KEY"] = "wrong"

    with pytest.raises(LakeError, match=f"cannot read {site.root}/runs: the secret does not belong") as caught:
        site.log().queue("q")

    assert "http" not in str(caught.value)
    assert "Signature" not in str(caught.value)


def test_who_may_only_read_is_told_what_to_grant(object_store: ObjectStore, tmp_path: Path) -> None:
    """Reading goes; the commit names what is missing."""
    site = store(object_store, tmp_path / "scratch")
    site.export(site.log(), {DAY: ROWS})
    reader = Site(site.root, site.make_files, site.scratch, object_store.environ("reader"))
    assert len(reader.log().queue_ids()) == 1

    with pytest.raises(LakeError, match=f"cannot commit to {site.root}/runs: .* not allowed to: grant"):
        reader.export(reader.log(), {DAY: [changed(row) for row in ROWS]})

    assert statuses(site) == ["version 0", "version 0"]


def test_a_bucket_that_is_not_there_is_told(object_store: ObjectStore, tmp_path: Path) -> None:
    """It is no table that could be made."""
    site = store(object_store, tmp_path / "scratch")
    log = site.log()
    log._handle._address = log._handle._address.replace(f"s3://{BUCKET}/", "s3://no-such-bucket/")

    with pytest.raises(LakeError, match="there is no such bucket"):
        log.create()


def test_a_store_that_cannot_be_reached_is_told(object_store: ObjectStore, tmp_path: Path) -> None:
    """Soon, where the options say so."""
    site = store(object_store, tmp_path / "scratch")
    site.options.update(AWS_ENDPOINT_URL="http://127.0.0.1:9", max_retries="0")

    with pytest.raises(LakeError, match="there is no connection to the store"):
        site.log().queue("q")


def test_a_table_is_opened_anew_where_credentials_change(object_store: ObjectStore, tmp_path: Path) -> None:
    """Those of a profile last for an hour, and an export can take longer."""
    site = store(object_store, tmp_path / "scratch")
    log = site.log()
    site.export(log, {DAY: ROWS})
    good = site.options

    site.options = good | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(LakeError, match="the secret does not belong to the key"):
        log.queue(QUEUE)

    site.options = good
    assert log.queue(QUEUE).base > 0
