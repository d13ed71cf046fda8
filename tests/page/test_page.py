"""The dashboard in a real Chromium, dark and light, wide and narrow: `make test-page`."""

import json
import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from annolake.clock import Clock
from annolake.commands.dashboard import dashboard
from annolake.config import load_lake_config
from annolake.sandbox import Population, Sandbox
from exporting import export_once

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

if find_spec("playwright") is None or CHROMIUM is None:
    pytest.skip("playwright or Chromium is not installed: make test-page", allow_module_level=True)

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright  # noqa: E402

HOSTILE = (
    "<script>document.title = 'taken'</script>",
    "\u202eevil\u202c \"quoted\" & 'single'",
    "long name " * 30,
    "WordWithoutAnyPlaceToBreakIt" * 8,
    "<img src=https://tracker.example/x onerror=alert(1)>",
    "قائمة المراجعة",
)
LAKES = {
    "plain": Population(rows=300, days=28.0, queues=3, odd=False, archived_share=0.6),
    "forty": Population(rows=12, days=20.0, queues=40, feedback=1.0, crowd=5),
    "one row": Population(rows=1, days=2.0, odd=False),
    "empty": Population(rows=0, queues=2, odd=False),
}
SCHEMES, WIDTHS = ("light", "dark"), (400, 1400)

TEXTS = """
() => {
  const parse = colour => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    return {rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1};
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.alpha === 1) return colour.rgb;
    }
    return [255, 255, 255];
  };
  const light = rgb => {
    const part = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), inDrawing = element instanceof SVGElement;
    const size = parseFloat(style.fontSize), bold = style.fontWeight >= 600;
    const box = element.getBoundingClientRect(), card = element.closest('.card, .tile');
    const within = card ? card.getBoundingClientRect() : {left: 0, right: innerWidth};
    found.push({
      text, inDrawing,
      ratio: ratio(parse(inDrawing ? style.fill : style.color).rgb, behind(element)),
      needed: size >= 24 || (bold && size >= 18.66) ? 3 : 4.5,
      isCut: inDrawing && (box.left < within.left || box.right > within.right),
    });
  }
  for (const shape of document.querySelectorAll('svg rect, svg path, .key i')) {
    if (!shape.checkVisibility() || shape.closest('clipPath')) continue;
    const style = getComputedStyle(shape);
    const colour = shape.tagName === 'I' ? style.backgroundColor : style.fill === 'none' ? style.stroke : style.fill;
    if (colour === 'none') continue;
    const card = shape.closest('.card');
    found.push({text: shape.tagName, ratio: ratio(parse(colour).rgb, behind(card)), needed: 3, isCut: false});
  }
  return found;
}
"""
"""What is seen on the page: each text and shape, how it stands out, and whether a drawing's text leaves its card."""


def prepare(sandbox: Sandbox, name: str) -> None:
    """Give queues and reviewers names that mean harm, or have a row rejected."""
    if name == "forty":
        for place, queue_id in enumerate(sandbox.queue_ids):
            called = HOSTILE[place % len(HOSTILE)]
            sandbox.profile(queue_id)["name"] = called
            people: Any = sandbox.profile(queue_id)["assigned_reviewers"]
            people[place % len(people)]["name"] = called
    if name == "plain":
        row = sandbox.queue().rows("active")[0]
        sandbox.queue().set_text(row.id, json.dumps({**json.loads(row.text), "name": 7}).encode())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The page of each lake."""
    found = {}
    for name, population in LAKES.items():
        where = tmp_path_factory.mktemp("page")
        with Sandbox(population, seed=5) as sandbox:
            prepare(sandbox, name)
            export_once(sandbox, where)
        html = dashboard(load_lake_config(where / "annolake.toml", {}), {}, now=Clock().now())
        found[name] = where / "page.html"
        found[name].write_text(html)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", LAKES)
def test_the_page_reads_well(
    browser: Browser, pages: Mapping[str, Path], name: str, scheme: Any, width: int, *, scripts: bool
) -> None:
    """No message in the console, no request, nothing to scroll to the side, enough contrast, no text cut off."""
    messages: list[str] = []
    requests: list[str] = []

    def told(message: ConsoleMessage) -> None:
        messages.append(message.text)

    def asked(request: Request) -> None:
        requests.append(request.url)

    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    page = context.new_page()
    page.on("console", told)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", asked)
    address = pages[name].as_uri()
    page.goto(address)

    assert (messages, requests, page.title()) == ([], [address], "Annotation queues")
    assert page.locator("h1").is_visible()
    assert_fits(page, width)
    for summary in page.locator("summary").all():
        if not summary.evaluate("each => each.parentElement.open"):
            summary.click()
    assert page.locator("table").count() == page.locator("table:visible").count()
    assert_fits(page, width)
    shown = page.evaluate(TEXTS)
    assert len(shown) > 10
    assert [each for each in shown if each["ratio"] < each["needed"] or each["isCut"]] == []
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, background[4:-1].split(","))) < 60) is (scheme == "dark")
    context.close()


def assert_fits(page: Page, width: int) -> None:
    """Check that nothing has to be scrolled to the side."""
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
