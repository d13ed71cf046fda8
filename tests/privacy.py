"""A service whose rows hold marks where the settings of [columns] look, and what is searched for them afterwards."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from annolake.load.merge.spill import Spill
from annolake.sandbox import Sandbox
from annolake.sandbox.answers import Answer, Asked
from hostile import Wire

MARK = "mark5ecret"
"""In every value of a column that `EXCLUDED` leaves out, in what repeats it, and in a field of no column."""

GHOST = "90057000-0000-4000-8000-00000000beef"
"""A reviewer of each row, who is also named in other fields of it."""

KEY = "a key of pseudonyms for tests"
KEY_ENV = {"PSEUDONYM_KEY": KEY}

EXCLUDED = ["inputs", "outputs", "events", "extra", "error", "feedback.comment", "feedback.value", "turns.inputs"]
EXCLUDED += ["turns.outputs", "turns.error", "queues.description"]
PEOPLE = ["reserved_by", "completed_by", "assigned_to", "feedback.user_id", "queues.assigned_reviewers"]

PRIVATE: dict[str, Any] = {
    "columns.exclude": EXCLUDED,
    "columns.pseudonymize": PEOPLE,
    "columns.pseudonym_key_env": "PSEUDONYM_KEY",
}

_MARKED = ("inputs", "outputs", "events", "extra", "error", "inputs_preview", "outputs_preview", "messages")
_IN_JSON = {"inputs", "outputs", "extra", "events", "messages"}


def marked(_wire: Wire, asked: Asked, answer: Answer) -> Answer:
    """Plant the marks in every row of every endpoint."""
    if answer.status != 200 or not answer.body.startswith((b"[", b"{")):
        return answer
    told = json.loads(answer.body)
    for row in told if isinstance(told, list) else told.get("items") or [told]:
        if isinstance(row, dict) and not asked.path.endswith(("size", "archived")):
            _mark(row, is_feedback=asked.path.endswith("/feedback"))
    return Answer(200, json.dumps(told).encode())


def _mark(row: dict[str, Any], *, is_feedback: bool) -> None:
    for name in _MARKED:
        if name in row and not is_feedback:
            row[name] = {"text": MARK, "who": GHOST} if name in _IN_JSON else f"{MARK} of {GHOST}"
    if "extra" in row and not is_feedback:
        row["extra"] = {"metadata": {"ls_model_name": "gpt-4.1", "text": MARK}, "runtime": {"text": MARK}}
    if "completed_by" in row:
        row["completed_by"] = [*(row["completed_by"] or []), GHOST]
    if is_feedback:
        row["comment"], row["value"] = f"{MARK} said", f"{MARK} meant"
        source = row.get("feedback_source") or {}
        row["feedback_source"] = {**source, "metadata": {"who": source.get("user_name")}, "later": MARK}
        row["extra"] = {
            "by": source.get("user_id"),
            "other": source.get("ls_user_id"),
            "named": source.get("user_name"),
        }
    if "assigned_reviewers" in row:
        row["description"] = MARK
    if "name" in row or is_feedback or "run_id" in row:
        row["leftover"] = {"text": MARK, "who": GHOST}


def people_of(sandbox: Sandbox) -> set[str]:
    """Return the ids, names and addresses of all people of a sandbox, and the ghost's id."""
    people = {GHOST}
    for queue_id in sandbox.queue_ids:
        for reviewer in sandbox.profile(queue_id)["assigned_reviewers"]:
            people |= {str(told) for told in reviewer.values() if told}
        for said in sandbox.feedback.of_queue(sandbox.queue(queue_id)):
            source = json.loads(said.text).get("feedback_source") or {}
            people |= {
                source[name] for name in ("user_id", "ls_user_id", "user_name") if isinstance(source.get(name), str)
            }
    return {person for person in people if len(person) > 1}


def everything_below(folder: Path) -> str:
    """Return all that is below a folder: every cell of every Parquet file, every other file, and every name."""
    told = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    for path in folder.rglob("*"):
        if path.suffix == ".parquet" and "_delta_log" not in path.parts:
            told.append(str(pl.read_parquet(path).to_dicts()))
        if path.is_file():
            told.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(told)


def met_in(text: str, words: Iterable[str]) -> list[str]:
    """Return which of the words are in a text, be they written with JSON's escapes."""
    return [word for word in words if word in text or json.dumps(word)[1:-1] in text]


@contextmanager
def spilling(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[list[str]]:
    """Have exports spill each row to disk, and give what was below a folder when all was spilt: as a kill leaves it."""
    told: list[str] = []
    seal = Spill.seal

    def sealed(spill: Spill) -> None:
        seal(spill)
        if spill._path.exists():
            with pa.ipc.open_file(str(spill._path)) as reader:
                told.append(str(reader.read_all().to_pylist()))
        told.append(everything_below(folder))

    with monkeypatch.context() as patched:
        patched.setattr(Spill, "seal", sealed)
        patched.setattr("annolake.load.lake.LEAST_BUFFER_BYTES", 1)
        patched.setattr("annolake.queue_export.BUFFER_BYTES", 1)
        yield told
