"""`annolake queues` lists what the key can see, and every `--queue` takes what it shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from annolake.sandbox import Population, Rules, Sandbox
from exporting import annolake, with_polars, write_config

TWO = Population(rows=6, queues=2, odd=False, days=2)


def named(sandbox: Sandbox, *names: str) -> list[str]:
    """Give the queues of a sandbox other names; return their ids."""
    for queue_id, name in zip(sandbox.queue_ids, names, strict=True):
        sandbox.profile(queue_id)["name"] = name
    return sandbox.queue_ids


def test_queues_are_listed_with_size_and_reviewers(tmp_path: Path) -> None:
    """Neither queues nor a lake need be set; a reviewer without a name is shown by address."""
    with Sandbox(Population(rows=1_200, queues=2, odd=False, days=2), seed=2) as sandbox:
        first, second = named(sandbox, "Support", "Sales\u202e")
        environ = {"ANNOLAKE_SOURCE__BASE_URL": sandbox.url}
        words = annolake("queues", key=sandbox.api_key, cwd=tmp_path, environ=environ)
        listed = annolake("queues", "--json", key=sandbox.api_key, cwd=tmp_path, environ=environ)
        people = [sandbox.profile(queue_id)["assigned_reviewers"] for queue_id in (first, second)]

    shown = [", ".join(person["name"] or person["email"] for person in each) for each in people]
    assert (words.exit_code, words.err) == (0, "")
    assert words.out.splitlines() == [
        f"{first}  1,200 rows  Support  (reviewers: {shown[0]})",
        f"{second}  1,200 rows  Sales\\u202e  (reviewers: {shown[1]})",
    ]
    told = json.loads(listed.out)
    assert (told["exit_code"], told["unreadable"]) == (0, 0)
    assert [(each["queue_id"], each["name"], each["size"]) for each in told["queues"]] == [
        (first, "Support", 1_200),
        (second, "Sales\u202e", 1_200),
    ]
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    ("rules", "key", "exit_code"), [({}, "", 2), ({}, "wrong", 4), ({"forbid": ["queues"]}, None, 4)]
)
def test_what_cannot_be_listed_is_a_sentence(
    rules: dict[str, Any], key: str | None, exit_code: int, tmp_path: Path
) -> None:
    """Without a key, with a wrong one, and with one that may not list queues."""
    with Sandbox(TWO, seed=2, rules=Rules(**rules)) as sandbox:
        environ = {"ANNOLAKE_SOURCE__BASE_URL": sandbox.url}
        ran = annolake("queues", key=sandbox.api_key if key is None else key, cwd=tmp_path, environ=environ)

    assert (ran.exit_code, ran.out, len(ran.err.splitlines())) == (exit_code, "", 1)


def test_a_queue_is_exported_by_its_name_and_by_its_page(tmp_path: Path) -> None:
    """On the command line and in the file; afterwards the lake knows the name too."""
    with Sandbox(TWO, seed=2) as sandbox:
        first, second = named(sandbox, "Support: Tier 1", "Sales")
        file = write_config(tmp_path, sandbox, {"source.queues": ["Sales"]})
        page = f"https://smith.example/o/0/annotation-queues/{first}?tab=1"
        run = ("run", "--json", "--quiet", "--config", file)
        ran = [
            annolake(*run, *options, key=sandbox.api_key, cwd=tmp_path)
            for options in ((), ("--queue", "Support: Tier 1"), ("--queue", page, "--queue", "Sales"))
        ]
    status = annolake("status", "--json", "--queue", "Sales", cwd=tmp_path)
    rejects = annolake("rejects", "--json", "--queue", "Sales", cwd=tmp_path)

    asked = [[queue["queue_id"] for queue in each.report["queues"]] for each in ran]
    assert [each.exit_code for each in ran] == [0, 0, 0]
    assert asked == [[second], [first], [first, second]]
    assert not ran[0].report["all_queues"]
    assert {str(row["queue_id"]) for row in with_polars(tmp_path / "lake").values()} == {first, second}
    assert [queue["queue_id"] for queue in json.loads(status.out)["queues"]] == [second]
    assert (rejects.exit_code, json.loads(rejects.out)["rejects"]) == (0, 0)


@pytest.mark.parametrize("command", ["run", "check", "status"])
def test_two_queues_of_one_name_are_told_with_both_ids(command: str, tmp_path: Path) -> None:
    """Exit 2, before anything is read; so is a name that no queue has."""
    with Sandbox(TWO, seed=2) as sandbox:
        ids = named(sandbox, "Support", "Support")
        file = write_config(tmp_path, sandbox)
        assert annolake("run", "--quiet", "--config", file, key=sandbox.api_key, cwd=tmp_path).exit_code == 0
        write_config(tmp_path, sandbox, {"source.queues": ["Support"]})
        both = annolake(command, "--config", file, key=sandbox.api_key, cwd=tmp_path)
        write_config(tmp_path, sandbox, {"source.queues": ["support"]})
        none = annolake(command, "--config", file, key=sandbox.api_key, cwd=tmp_path)

    where = "the lake has" if command == "status" else "the key can see"
    assert (both.exit_code, none.exit_code) == (2, 2)
    assert (
        f'{where} 2 queues named "Support": give the id of the one that is meant: {", ".join(sorted(ids))}' in both.err
    )
    assert f'annolake: {where} no queue named "support", in these very letters: give its id' in none.err
