"""A page in a real browser, Chromium over the running service, and what every screen has to be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

if TYPE_CHECKING:
    from .conftest import Service

WIDE, NARROW = (1280, 800), (390, 844)
KEPT: Final = Path(__file__).parents[1] / ".screenshots"  # or the folder that PARLEY_PICTURES names
AXE: Final = Axe()
AXE_OPTIONS: Final[dict[str, Any]] = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
NO_CHROMIUM = (
    "The tests of the page need a Chromium and there is none: install one with your system's packages"
    " (`apt-get install chromium`) or with `.venv/bin/playwright install chromium`."
)
REPORT_VIOLATIONS: Final = """
document.addEventListener('securitypolicyviolation', (event) =>
  console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))
"""


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
    size: tuple[int, int]
    dark: bool
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Goes to an address of ours, and waits until the screen is there."""
        self.page.goto(self.service.url + path)
        expect(self.page.locator("h1").first).to_be_attached()

    def shoot(self, name: str, *, whole: bool = False) -> None:
        """Keeps a picture to look at, and holds the screen to what every screen has to be.

        `whole`: with all that can be scrolled to.
        """
        self._resize_to(self._height() if whole else self.size[1])
        folder = Path(os.environ.get("PARLEY_PICTURES") or KEPT)
        folder.mkdir(parents=True, exist_ok=True)
        manner = f"{'wide' if self.size == WIDE else 'narrow'}-{'dark' if self.dark else 'light'}"
        self.page.screenshot(path=folder / f"{name}-{manner}.png")
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
        faults = self.faults()
        assert not faults, f"{name}:\n" + "\n".join(faults)
        self._resize_to(self.size[1])

    def faults(self) -> list[str]:
        """What axe finds wrong with the page as it is."""
        found = AXE.run(self.page, options=AXE_OPTIONS).response["violations"]
        return [
            f"{one['id']}: {one['help']} {[(node['target'], node['html'][:160]) for node in one['nodes']]}"
            for one in found
        ]

    def forgive(self, words: str) -> None:
        """Takes back complaints with these words: the browser's own lines on answers that were to fail."""
        kept = [said for said in self.complaints if words not in said]
        assert len(kept) < len(self.complaints), f"nobody complained of {words}: {self.complaints}"
        self.complaints[:] = kept

    def _height(self) -> int:
        inner = (
            "Math.max(...[...document.querySelectorAll('*')].map((e) => e.scrollHeight - e.clientHeight), 0)"
        )
        return self.size[1] + cast(int, self.page.evaluate(inner))

    def _resize_to(self, height: int) -> None:
        self.page.set_viewport_size({"width": self.size[0], "height": height})


@contextmanager
def visiting(
    browser: Browser,
    service: Service,
    size: tuple[int, int] = WIDE,
    *,
    dark: bool = False,
    language: str = "en-GB",
    user_id: str | None = None,
) -> Iterator[Visit]:
    """Signs in by a link, as the owner or as somebody else.

    At the end nobody may have complained, and nothing was asked of anybody else.
    """
    width, height = size
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        locale=language,
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(15_000)
    visit = Visit(context.new_page(), service, size, dark)
    watch(visit.page, service, visit.complaints)
    visit.page.goto(service.link(user_id))
    expect(visit.page.locator("h1").first).to_be_attached()
    yield visit
    context.close()
    assert not visit.complaints, "\n".join(visit.complaints)


def watch(page: Page, service: Service, complaints: list[str]) -> None:
    """Writes down every error, every breach of the Content-Security-Policy and every request elsewhere."""
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith(service.url) else complaints.append(request.url),
    )
    page.add_init_script(REPORT_VIOLATIONS)
