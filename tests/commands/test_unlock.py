"""`annolake unlock` frees the lock of a queue in an object store, and says whose it was."""

import os
from pathlib import Path

from annolake.clock import Clock
from annolake.config import load_config
from annolake.sandbox import Population, Sandbox
from annolake.wiring import open_lake
from exporting import Ran, annolake, export_once, write_config
from object_store import ObjectStore


def test_a_held_lock_is_freed_with_a_warning(object_store: ObjectStore, tmp_path: Path) -> None:
    """Of an export that still runs it is told what becomes of it; a free lock is told as such."""
    environ = object_store.environ()
    with Sandbox(Population(rows=1)) as sandbox:
        config_file = write_config(tmp_path, sandbox, {"lake.path": object_store.address()})
        lake = open_lake(load_config(config_file, {}), environ)
        queue_id = sandbox.queue_ids[0]
        arguments = ("unlock", queue_id, "--config", config_file)
        with lake.lock(queue_id, since=Clock().now()):
            held = annolake("run", "--config", config_file, key=sandbox.api_key, cwd=tmp_path, environ=environ)
            unlocked = annolake(*arguments, cwd=tmp_path, environ=environ)
            again = annolake(*arguments, cwd=tmp_path, environ=environ)
        after = annolake("run", "--config", config_file, key=sandbox.api_key, cwd=tmp_path, environ=environ)

    assert held.exit_code == 6
    assert f"queue {queue_id} is held by pid {os.getpid()} on host" in held.err
    assert unlocked.exit_code == 0
    assert unlocked.out.startswith(f"queue {queue_id}: its lock is free now; it was held by pid {os.getpid()} on host")
    assert "that export may still run" in unlocked.err
    assert (again.exit_code, again.err) == (0, "")
    assert again.out.startswith(f"queue {queue_id}: nobody holds its lock")
    assert after.exit_code == 0


def test_a_lock_on_a_disk_is_left_alone(tmp_path: Path) -> None:
    """It ends with its process; so does the command, with what to do."""
    with Sandbox(Population(rows=1)) as sandbox:
        config_file = write_config(tmp_path, sandbox)
        lake = open_lake(load_config(config_file, {}), {})
        lake.prepare()
        with lake.lock(sandbox.queue_ids[0], since=Clock().now()):
            refused = annolake("unlock", sandbox.queue_ids[0], "--config", config_file, cwd=tmp_path)
        free = annolake("unlock", sandbox.queue_ids[0], "--config", config_file, cwd=tmp_path)
        wrong = annolake("unlock", "../runs", "--config", config_file, cwd=tmp_path)

    assert refused.exit_code == 5
    assert "on a disk it ends with its holder's process: end that" in refused.err
    nothing = "nobody holds its lock, and the lake has nothing of it: is the id right?"
    assert (free.exit_code, free.out) == (0, f"queue {sandbox.queue_ids[0]}: {nothing}\n")
    assert (wrong.exit_code, wrong.err.count("\n")) == (2, 1)


def test_a_queue_is_named_as_for_other_commands(tmp_path: Path) -> None:
    """By id, page or name; not all at once, and none that the lake has not."""
    with Sandbox(Population(rows=1)) as sandbox:
        report = export_once(sandbox, tmp_path)
    queue_id, name = report.queues[0].queue_id, report.queues[0].name
    page = f"https://smith.example/o/1/annotation-queues/{queue_id}"
    for asked in (queue_id, name, page):
        free = annolake("unlock", asked, cwd=tmp_path)
        assert free == Ran(0, f"queue {queue_id}: nobody holds its lock\n", "")

    unknown, every = (annolake("unlock", asked, cwd=tmp_path) for asked in ("nosuch", "all"))
    assert (unknown.exit_code, 'the lake has no queue named "nosuch"' in unknown.err) == (2, True)
    assert every == Ran(2, "", "annolake: unlock frees the lock of one queue, not of all: name it\n")
