"""What is written beside the code is true of it: pages are fresh, links lead somewhere, named files and tests exist."""

import ast
import re
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "etl" / "annolake"

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "benchmarks" / "README.md"]
SOURCES = [
    *sorted((ROOT / "etl").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
    *sorted((ROOT / "schemas").glob("*.toml")),
    ROOT / "pyproject.toml",
]

GENERATED = runpy.run_path(str(DOCS / "generate.py"))["documents"]()

LONGEST_DOCSTRING = 12
"""Lines of a module's docstring: what it owns, its invariant, and the link to the page that has the reasons."""

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_REFERENCE = re.compile(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?")
_QUOTED = re.compile(r"`([^`\n]+)`")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")
_BASES = (ROOT, PACKAGE, ROOT / "tests", ROOT / "benchmarks", DOCS)


def name_of(path: Path) -> str:
    """Return a path as it is written in the repository, to name a test's case by."""
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors that a forge gives the headings of a page of Markdown."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text())):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return found


def broken(target: Path, anchor: str) -> bool:
    """Tell whether a file, or the heading in it, does not exist."""
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


def exists(file: str) -> bool:
    """Tell whether there is a file of that path, or of that name where it has no folder."""
    there = any((base / file).exists() for base in _BASES)
    return there or ("/" not in file and any(file == source.name for source in SOURCES))


def quoted(page: Path) -> Iterator[str]:
    """Yield what a page has in back quotes, outside of code blocks."""
    yield from _QUOTED.findall(_FENCED.sub("", page.read_text()))


@pytest.mark.parametrize("path", GENERATED, ids=name_of)
def test_a_generated_file_is_fresh(path: Path) -> None:
    """`make docs` would change nothing."""
    assert path.read_text() == GENERATED[path]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Links within the repository resolve, anchors included; those elsewhere are not asked for."""
    links = [link for link in _LINK.findall(_FENCED.sub("", page.read_text())) if "://" not in link]
    parts = [link.partition("#") for link in links]

    assert [link for link in parts if broken(page.parent / link[0] if link[0] else page, link[2])] == []


def test_every_reference_to_the_docs_resolves() -> None:
    """Wherever code or text names a page by its path, the page and the heading are there."""
    references = [(path, *found) for path in (*PAGES, *SOURCES) for found in _REFERENCE.findall(path.read_text())]

    assert len(references) > len(PAGES)
    assert [(name_of(path), page, anchor) for path, page, anchor in references if broken(DOCS / page, anchor)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """A path in back quotes is one of the repository, of the package, or of the tests; a mere name is one of a file."""
    files = [text for text in quoted(page) if re.fullmatch(r"(etl|tests|schemas|docs)/[\w./-]*|[\w./-]+\.py", text)]

    assert [file for file in files if not exists(file)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """A claim's test can be run by the name that the page gives it."""
    named = _TEST.findall(page.read_text())

    assert [test for test in named if f"\ndef {test[1]}(" not in (ROOT / test[0]).read_text()] == []


@pytest.mark.parametrize("way", ["One row over runs", "One row over items"])
def test_a_row_s_way_is_short(way: str) -> None:
    """A stranger follows a row through few files, and is sent into none of them a third time."""
    text = (DOCS / "architecture.md").read_text().partition(f"## {way}\n")[2].partition("\n## ")[0]
    entered = Counter(re.findall(r"`([\w/]+\.py)`", text))

    assert 10 <= len(entered) <= 18
    assert max(entered.values()) == 2


def test_every_promise_names_a_test() -> None:
    """Each section of the guarantees says by which tests it is held."""
    text = (DOCS / "guarantees.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]

    assert len(sections) >= len({"every row", "idempotent", "whole", "nothing dropped", "memory", "secrets"})
    assert [section.partition("\n")[0] for section in sections if not _TEST.search(section)] == []


def test_a_module_says_in_few_lines_what_it_owns() -> None:
    """Long reasoning stands in docs/, where it is found before the code is."""
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text())) or "" for path in sorted(PACKAGE.rglob("*.py"))}

    assert [name_of(path) for path, text in docstrings.items() if len(text.splitlines()) > LONGEST_DOCSTRING] == []


def test_nothing_cites_what_is_not_in_the_repository() -> None:
    """The contract and what is known of the service are told in docs/, and cited from there."""
    foreign = re.compile("DESIG[N]|api note[s]|NOTES[.]md|/work/[s]hared")

    assert [name_of(path) for path in (*PAGES, *SOURCES) if foreign.search(path.read_text())] == []
