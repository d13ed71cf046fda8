"""A page of HTML as a test reads it: its elements, its text, its sections with their tables."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "base"}


@dataclass
class Element:
    """An element with what is in it, elements and texts in their order."""

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    parts: list["Element | str"] = field(default_factory=list)

    def text(self) -> str:
        """Return the text, with single spaces."""
        words = (part if isinstance(part, str) else part.text() for part in self.parts)
        return " ".join(" ".join(words).split())

    def all(self, tag: str = "") -> list["Element"]:
        """Return the elements below of a tag, or of all."""
        below = [part for part in self.parts if isinstance(part, Element)]
        return [each for one in below for each in ([one] if tag in {"", one.tag} else []) + one.all(tag)]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].parts.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].parts.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> ends nothing"

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def read_page(html: str) -> Element:
    """Return the page; each element is closed where it should be."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is not closed"
    return reader.open[0]


def sections(page: Element) -> dict[str, Element]:
    """Return the sections by their anchor."""
    return {str(each.attributes["id"]): each for each in page.all("section")}


def title_of(section: Element) -> str:
    """Return a section's title."""
    return section.all("h2")[0].text()


def table_of(section: Element) -> list[list[str]]:
    """Return the rows of a section's table, without its head."""
    return [[cell.text() for cell in row.all("td")] for row in section.all("tr") if row.all("td")]


def tiles(page: Element) -> dict[str, tuple[str, str]]:
    """Return the figures at the top by their label."""
    lists = page.all("dl")[0].all("div")
    return {each.all("dt")[0].text(): tuple(one.text() for one in each.all("dd")) for each in lists}  # type: ignore[misc]
