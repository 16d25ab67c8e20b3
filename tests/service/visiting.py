"""A page in a real browser, Chromium over the running service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

if TYPE_CHECKING:
    from .conftest import Service

WIDE, NARROW = (1280, 800), (390, 844)
NO_CHROMIUM = (
    "The tests of the page need a Chromium and there is none: install one with your system's packages"
    " (`apt-get install chromium`) or with `.venv/bin/playwright install chromium`."
)


def chromium_path(playwright: Playwright) -> str:
    """A Chromium of the system, or else Playwright's own."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    own = playwright.chromium.executable_path
    return own if Path(own).exists() else pytest.fail(NO_CHROMIUM)


@dataclass
class Visit:
    """A page in a browser of its own, and all that the browser complained about."""

    page: Page
    service: Service
    complaints: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.page.get_by_label("Message parley").fill(text)
        self.page.keyboard.press("Enter")

    def sees_reply(self, text: str) -> None:
        expect(self.page.locator(".turn.reply.done .text").last).to_have_text(text)


@contextmanager
def visiting(
    browser: Browser, service: Service, size: tuple[int, int] = WIDE, *, dark: bool = False
) -> Iterator[Visit]:
    """Signs in by a link. At the end nobody may have complained."""
    width, height = size
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(5_000)
    visit = Visit(context.new_page(), service)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None
    )
    visit.page.add_init_script(
        "document.addEventListener('securitypolicyviolation',"
        " (e) => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`))"
    )
    visit.page.goto(service.link())
    visit.page.wait_for_selector("#releases label, #making:not([hidden])")  # it has looked around
    yield visit
    context.close()
    assert visit.complaints == []


CONTRAST = """() => {
  const lum = (rgb) => { const [r, g, b] = rgb.map((c) => { c /= 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parse = (css) => css.match(/[\\d.]+/g).map(Number);
  const under = (node) => { for (let n = node; n; n = n.parentElement) {
    const c = parse(getComputedStyle(n).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) { const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('.hidden, .skip')) continue;
    const a = lum(parse(getComputedStyle(node).color).slice(0, 3)), b = lum(under(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.data.trim()} ${ratio.toFixed(2)}`); }
  return poor; }"""
