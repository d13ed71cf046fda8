"""The address of a lake decides what it stands on."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from annolake.clock import Clock
from annolake.contract import TABLES
from annolake.errors import ConfigError, LakeError
from annolake.load.lake import Lake
from annolake.load.place import Place, on_disk, open_place
from annolake.load.storage.files import look_again
from annolake.load.storage.local import LocalFiles
from object_store import ObjectStore

SINCE = Clock().now()


def place_in(store: ObjectStore, *, scratch: Path | None = None, address: str | None = None) -> Place:
    """Return a place in the tests' store."""
    return open_place(address or store.address(), {}, store.environ(), clock=Clock(), scratch=scratch)


@pytest.fixture
def system_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the system another temporary folder."""
    folder = tmp_path / "system"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_folder_is_a_place_on_a_disk(tmp_path: Path) -> None:
    """With scratch in the lake, whose locks end with their process."""
    place = open_place(tmp_path / "lake", {}, {}, clock=Clock())

    assert (place.root, place.announces) == (tmp_path / "lake", False)
    place.prove()
    assert list(tmp_path.iterdir()) == []
    assert isinstance(place.files, LocalFiles)
    place.scratch.prepare()
    assert (tmp_path / "lake" / "_annolake" / "tmp").is_dir()
    (tmp_path / "lock").touch()
    assert place.locks.unlock(tmp_path / "lock").holder is None
    with (
        place.locks.hold(tmp_path / "lock", since=SINCE),
        pytest.raises(LakeError, match="lock: on a disk it ends with"),
    ):
        place.locks.unlock(tmp_path / "lock")


def test_unfinished_files_of_a_store_s_lake_are_nobody_else_s(object_store: ObjectStore, system_folder: Path) -> None:
    """They are below the system's temporary folder, which everybody can look into; each lake has its own."""
    address = object_store.address()
    place, other = place_in(object_store, address=address), place_in(object_store)
    place.scratch.prepare()
    other.scratch.prepare()
    with place.scratch.hold("mine", since=SINCE) as workspace:
        running = place.scratch.is_running("mine"), other.scratch.is_running("mine")
        again = place_in(object_store, address=address).scratch.is_running("mine")
        private = system_folder / f"annolake-{os.getuid()}"

        assert workspace.folder.is_relative_to(private)
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert (running, again) == ((True, False), True)
    assert place.announces


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_scratch_that_others_could_have_made_is_refused(
    object_store: ObjectStore, system_folder: Path, tmp_path: Path, kind: str
) -> None:
    """They could read the rows, or put others in their place."""
    private = system_folder / f"annolake-{os.getuid()}"
    if kind == "open":
        private.mkdir()
        private.chmod(0o750)
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "elsewhere")
    else:
        private.touch()

    with pytest.raises(
        LakeError, match=f"{private}: (other users can get at it; set lake.scratch|File exists; a file)"
    ):
        place_in(object_store).scratch.prepare()


def test_a_scratch_that_is_set_is_taken(object_store: ObjectStore, system_folder: Path, tmp_path: Path) -> None:
    """As the folder of all lakes that use it."""
    place = place_in(object_store, scratch=tmp_path / "mine")
    place.scratch.prepare()
    with place.scratch.hold("export", since=SINCE) as workspace:
        assert workspace.folder.is_relative_to(tmp_path / "mine")
    assert not [*system_folder.iterdir()]


@pytest.mark.parametrize(
    ("address", "extra"), [("s3://bucket/lake", "s3"), ("gs://bucket/lake", "gcs"), ("az://container/lake", "azure")]
)
def test_a_client_that_is_not_installed_is_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch, address: str, extra: str
) -> None:
    """The base install brings none."""
    monkeypatch.setattr("annolake.load.place.find_spec", lambda _: None)

    with pytest.raises(
        ConfigError, match=rf'^lake.path: for .*:// install its client: pip install "annolake\[{extra}\]"$'
    ):
        open_place(address, {}, {}, clock=Clock())


def test_a_lake_on_a_disk_imports_no_client() -> None:
    """It works where none is installed, and costs nothing where they are."""
    code = """
import sys
from pathlib import Path
import annolake.cli, annolake.pipeline, annolake.commands.status, annolake.commands.verify
from annolake.clock import Clock
from annolake.load.place import open_place
open_place(Path("lake"), {}, {}, clock=Clock())
print(sorted({"obstore", "boto3", "deltalake"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("address", ["gs://bucket/lake", "az://container/lake"])
def test_other_stores_open_without_being_asked_anything(address: str) -> None:
    """Their clients take the options of their own."""
    options = {"account_name": "me", "use_emulator": "true"} if address.startswith("az") else {}
    place = open_place(address, options, {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}, clock=Clock())

    assert str(place.root) == address
    assert place.delta_options().get("account_key") == ("c2VjcmV0" if options else None)


def test_looking_again_ends(object_store: ObjectStore) -> None:
    """A file that stays away is told, over a store as on a disk."""
    place = place_in(object_store)

    with pytest.raises(LakeError, match="there is no such file"):
        look_again(lambda: place.files.read(place.root / "nowhere"))


def test_a_lease_that_was_looked_at_hinders_no_vacuum(object_store: ObjectStore, tmp_path: Path) -> None:
    """A store's clock is asked by an object beside the leases, which is none."""
    address = object_store.address()
    lakes = [
        Lake(place_in(object_store, scratch=tmp_path / name, address=address), tables=TABLES, hash_version=1)
        for name in ("here", "there")
    ]
    for lake in lakes:
        lake.prepare()

    with lakes[0].lock("queue", since=SINCE):
        beside = lakes[1].is_alone()
    after = lakes[1].is_alone()
    with lakes[0].workspace("one", since=SINCE):
        running = lakes[1].is_running("one")
        with lakes[1].workspace("two", since=SINCE):
            both = lakes[0].is_running("one"), lakes[0].is_running("two")

    assert (beside, after) == (False, True)
    assert (running, both) == (True, (True, True))


@pytest.mark.parametrize("within", [".", "runs", "beside"])
def test_nothing_else_in_the_scratch_folder_is_swept_away(tmp_path: Path, within: str) -> None:
    """It can be a folder with other things in it, even the lake's own: only what exports left there goes."""
    root = tmp_path / "lake"
    scratch = tmp_path if within == "beside" else root / within
    (scratch / "precious").mkdir(parents=True)
    (scratch / "precious" / "file").touch()
    lake = Lake(on_disk(root, scratch=scratch), tables=TABLES, hash_version=1)

    for number in range(2):
        lake.prepare()
        with lake.workspace(f"export-{number}", since=SINCE) as workspace:
            workspace.make()
            assert lake.litter() == []

    assert (scratch / "precious" / "file").exists()
    assert (root / "runs").exists()
    assert (root / "_annolake" / "lake.json").exists()


@pytest.mark.parametrize("within", ["", "runs", "_annolake/tmp", "link"])
def test_a_scratch_folder_in_the_lake_is_a_wrong_setting(tmp_path: Path, within: str) -> None:
    """By whatever name: exports and readers take what lies there for the lake's own. One above the lake is none."""
    root = tmp_path / "lake"
    root.mkdir()
    scratch = root / within
    if within == "link":
        scratch = tmp_path / "link"
        scratch.symlink_to(root / "runs")

    with pytest.raises(ConfigError, match=f"^lake.scratch: {scratch} is in the lake: name a folder elsewhere, or"):
        open_place(root, {}, {}, clock=Clock(), scratch=scratch)
    assert open_place(root, {}, {}, clock=Clock(), scratch=tmp_path).root == root


def test_lakes_that_share_a_scratch_folder_leave_each_other_alone(tmp_path: Path) -> None:
    """A running export's unfinished files are there until it ends, whatever another lake's export sweeps away."""
    one, other = (
        Lake(on_disk(tmp_path / name, scratch=tmp_path / "scratch"), tables=TABLES, hash_version=1) for name in "ab"
    )
    for lake in (one, other):
        lake.prepare()

    with one.workspace("first", since=SINCE) as workspace:
        (workspace.spill / "spill.arrow").touch()
        with other.workspace("second", since=SINCE):
            assert (workspace.spill / "spill.arrow").exists()
