"""Where the run or the thread of a rejected row stands in the text of its reject."""

import pytest

from annolake.feedback.subjects import facts_of
from annolake.transform.row_batch import Reject

RUN = "0B7E3A52-91D4-4C1E-8C55-7D0E6A1B2C3D"
ITEM = f'{{"id": "00000000-0000-4000-8000-000000000001", "item_type": "RUN", "run_id": "{RUN}", "completed_by": 5}}'
THREAD = '{"id": "1", "item_type": "THREAD", "run_id": null, "thread_id": "a b", "project_id": "p", "completed_by": 5}'


def reject(text: str, path: str = "$.completed_by") -> Reject:
    """Return a reject of a row of that text."""
    return Reject(b"", "1", path, "", text)


@pytest.mark.parametrize(
    ("text", "path", "over_items", "run", "thread"),
    [
        (f'{{"queue_run_id": "1", "id": "{RUN}"}}', "$.tags", False, RUN, None),
        (ITEM, "$.completed_by", True, RUN, None),
        (f'{{"id": "{RUN}", "run_id": "2"}}', "$.run.tags", True, RUN, None),
        (THREAD, "$.completed_by", True, None, "a b"),
        ('{"id": "1", "item_type": "RUN", "run_id": null}', "$.completed_by", True, None, None),
    ],
)
def test_it_stands_where_the_endpoint_has_it(
    text: str, path: str, over_items: bool, run: str | None, thread: str | None
) -> None:
    """That of the row, of the item, or of the item's run; an item made from a proposed example has none."""
    facts = facts_of(reject(text, path), over_items=over_items)
    assert facts
    assert (facts.id, facts.thread_id, facts.completed_by) == (run, thread, None)
    assert facts.item_type == ("THREAD" if thread else "RUN")


@pytest.mark.parametrize("over_items", [False, True])
@pytest.mark.parametrize("value", ["5", '"no uuid"', '""', '["x"]', f'"{RUN.replace("-", "")}"'])
def test_what_is_no_id_is_not_asked_for(value: str, over_items: bool) -> None:
    """It could refuse, or widen, the question for the others."""
    name = "run_id" if over_items else "id"
    assert facts_of(reject(f'{{"queue_run_id": "1", "{name}": {value}}}'), over_items=over_items) is None


@pytest.mark.parametrize("text", ["", "5", "[", "{}", '{"id": null}', '{"item_type": "THREAD", "thread_id": 5}'])
def test_a_text_without_one_is_not_readable(text: str) -> None:
    """Be it no object, or without the member."""
    assert facts_of(reject(text), over_items="THREAD" in text) is None
