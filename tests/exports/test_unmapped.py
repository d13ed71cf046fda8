"""Fields that the contract does not name, end to end: what is stored of them, over both endpoints."""

from pathlib import Path
from typing import Any

from annolake.sandbox import Population, Sandbox, Showing
from exporting import export_once, one_queue, with_polars

SENT = b'"zeta": [1.10, {"a": null}], "class": "x", "two words": null, "link": "https://h/p?sig=secret", "\\u00e9": 2'
OF_RUN = '"link":"https://h/p","two words":null,"zeta":[1.10, {"a": null}],"\\u00e9":2'
OF_ITEM = (
    '"item.class":"x","item.link":"https://h/p","item.two words":null,"item.zeta":[1.10, {"a": null}],"item.\\u00e9":2'
)


def _with_unknown_fields(text: bytes) -> bytes:
    return text[:-1] + b", " + SENT + b"}"


def _stored(folder: Path, endpoint: str) -> tuple[set[str], list[Any]]:
    """Export a queue twice, and return what is in `unmapped` and both reports."""
    folder.mkdir()
    chosen = {"source.endpoint": endpoint}
    with Sandbox(Population(rows=250, days=2, odd=False)) as sandbox:
        sandbox.showing = Showing(text=_with_unknown_fields)
        reports = [one_queue(export_once(sandbox, folder, chosen)) for _ in range(2)]
    return {row["unmapped"] for row in with_polars(folder / "lake").values()}, reports


def test_unknown_fields_arrive_over_both_endpoints(tmp_path: Path) -> None:
    """Byte for byte, sorted by name, without secrets, of items and runs both; the second time no row has changed."""
    over_runs, reports = _stored(tmp_path / "runs", "runs")
    over_items, others = _stored(tmp_path / "items", "items")

    assert over_runs == {f'{{"class":"x",{OF_RUN}}}'}
    assert over_items == {f'{{"class":"x",{OF_ITEM},{OF_RUN}}}'}
    for first, second in (reports, others):
        assert (first.inserted, second.inserted, second.updated, second.rejected) == (250, 0, 0, 0)
