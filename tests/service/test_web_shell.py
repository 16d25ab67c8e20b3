"""What stands around every screen, in a real browser: doors, strip, keys, focus, theme, language, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx
import pytest
from playwright.sync_api import Browser, Error, expect

from parley.service.chat import pages
from parley.service.common.run_view import RunStatus
from tests.databases import only

from .conftest import Service, stage
from .visiting import NARROW, WIDE, Visit, visiting

pytestmark = only("sqlite")

RUNNING = RunStatus("micro-world", "running", (stage("base", "running", 5),), 9.0, "")
SCREENS = ("/", "/run", "/releases", "/compare", "/settings")


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False, timeout=10)


# --- the doors: pages that need no script -----------------------------------------------------------------


def test_the_doors_work_without_script(browser: Browser, service: Service) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(service.url)
    assert page.url == f"{service.url}/login"
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in with a link")
    page.goto(service.link())
    assert page.url == f"{service.url}/"
    context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures_of_the_doors(browser: Browser, service: Service, size: tuple[int, int], dark: bool) -> None:
    with visiting(browser, service, size, dark=dark) as visit:
        visit.page.context.clear_cookies()
        visit.open("/")
        assert visit.page.url == f"{service.url}/login"
        visit.shoot("login")
        link = service.link()
        get(link)
        answer = visit.page.goto(link)
        assert answer is not None
        assert answer.status == 403
        expect(visit.page.get_by_text("in a terminal prints a new one")).to_be_visible()
        visit.shoot("refused")
        visit.forgive("403")


def test_where_the_application_was_not_built_the_page_says_how_to_get_it(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "APP", tmp_path / "none")
    with service.browser() as http:
        answer = http.get("/run")
        assert answer.status_code == 501
        assert "PARLEY_SKIP_WEB=1" in answer.text
        assert http.get("/api/releases").status_code == 200


# --- files ------------------------------------------------------------------------------------------------


def test_built_files_last_and_their_page_does_not(service: Service) -> None:
    with service.browser() as http:
        page = http.get("/compare")
        assert page.headers["cache-control"] == "no-store"
        names = re.findall(r'"(/assets/index-[\w-]+\.(?:js|css))"', page.text)
    assert len(names) == 2
    for name in names:
        answer = get(service.url + name, **{"accept-encoding": "gzip"})
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip"
        plain = get(service.url + name, **{"accept-encoding": "identity"})
        assert plain.content == answer.content
        again = get(service.url + name, **{"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert get(f"{service.url}/assets/tokens.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name", ["..%2flogin.html", "login.html", "index.html", "sources.sha256", "nothing.js"]
)
def test_nothing_else_can_be_asked_for(service: Service, name: str) -> None:
    assert get(f"{service.url}/assets/{name}").status_code == 404


def test_shared_pages_are_open_and_kept_from_search_engines(service: Service) -> None:
    answer = get(f"{service.url}/s/whatever")
    assert answer.status_code == 200
    assert "noindex" in answer.headers["x-robots-tag"]


def test_a_mistyped_address_leads_to_a_page_that_says_so(visit: Visit) -> None:
    visit.open("/relases")
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    visit.forgive("404")
    program = get(f"{visit.service.url}/relases")
    assert program.status_code == 404
    assert program.json()["error"]["message"] == "Not Found"


# --- every screen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCREENS)
def test_every_screen_opens_by_its_address_and_has_a_heading_and_a_title(visit: Visit, path: str) -> None:
    visit.open(path)
    expect(visit.page.get_by_role("heading", level=1)).to_have_count(1)
    expect(visit.page).to_have_title(re.compile("parley"))
    assert visit.faults() == []


def test_links_go_there_without_a_reload_and_the_focus_follows(visit: Visit) -> None:
    page = visit.page
    visit.open("/run")
    page.evaluate("window.stays = true")
    nav = page.get_by_role("navigation", name="Pages")
    nav.get_by_role("link", name="Releases").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(nav.get_by_role("link", name="Releases")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page).to_have_url(f"{visit.service.url}/run")
    expect(page.get_by_role("heading", level=1)).to_have_text("No run yet")
    assert page.evaluate("window.stays")


LOOKS = """() => [...document.querySelectorAll('.shell *')].filter((e) => e.checkVisibility()).map((e) => {
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  return [e.tagName, e.className, ...[box.x, box.y, box.width, box.height].map(Math.round),
    ...['color', 'backgroundColor', 'font', 'padding', 'border', 'display'].map((name) => style[name])].join(' ');
})"""


def test_a_screen_looks_the_same_whichever_way_one_came(visit: Visit) -> None:
    """The style sheets of other screens, which stay once they were loaded, change nothing on it."""
    page = visit.page
    visit.service.progress.now = RUNNING

    def looks() -> list[str]:
        page.wait_for_timeout(150)
        page.evaluate("document.activeElement.blur()")
        return cast(list[str], page.evaluate(LOOKS))

    directly = {}
    for path in SCREENS:
        visit.open(path)
        page.wait_for_load_state("networkidle")
        directly[path] = looks()
    for path in (*SCREENS, *SCREENS):  # the second time everything has been loaded
        page.get_by_role("complementary").locator(f"a[href='{path}']").last.click()
        page.mouse.move(0, 0)
        for _ in range(20):  # it may still be on its way
            if (now := looks()) == directly[path]:
                break
        assert now == directly[path]


def test_the_first_tab_skips_to_the_content(visit: Visit) -> None:
    visit.open("/releases")
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("main")).to_be_focused()


def test_keys_are_listed_work_outside_of_boxes_and_can_be_switched_off(visit: Visit) -> None:
    page = visit.page
    visit.open("/releases")
    page.keyboard.press("c")
    expect(page).to_have_url(f"{visit.service.url}/compare")
    page.get_by_role("textbox", name="Message all of them").press_sequentially("nc")
    expect(page).to_have_url(f"{visit.service.url}/compare")
    visit.open("/releases")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Compare")
    visit.shoot("keys")
    dialog.get_by_role("checkbox", name="Single keys do something").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("c")
    page.wait_for_timeout(100)
    expect(page).to_have_url(f"{visit.service.url}/releases")
    page.reload()
    page.keyboard.press("c")
    page.wait_for_timeout(100)
    expect(page).to_have_url(f"{visit.service.url}/releases")


def test_where_it_is_narrow_the_sidebar_is_a_drawer(browser: Browser, service: Service) -> None:
    with visiting(browser, service, NARROW) as visit:
        page = visit.page
        visit.open("/releases")
        menu = page.get_by_role("button", name="Menu")
        menu.press("Enter")
        drawer = page.get_by_role("dialog", name="Menu")
        expect(drawer.get_by_role("link", name="New chat")).to_be_visible()
        visit.shoot("drawer")
        page.keyboard.press("Escape")
        expect(menu).to_be_focused()
        menu.click()
        drawer.get_by_role("link", name="Run").click()
        expect(drawer).to_be_hidden()
        expect(page).to_have_url(f"{service.url}/run")


def test_the_sidebar_says_how_far_the_run_is_on_every_screen(visit: Visit) -> None:
    visit.service.progress.now = RUNNING
    visit.open("/releases")
    expect(visit.page.get_by_role("link", name="Run")).to_have_text(re.compile(r"Run base 5\s% · 9\ss left"))
    visit.service.progress.now = replace(RUNNING, state="done")
    expect(visit.page.get_by_role("link", name="Run")).to_have_text("Run ")


def test_a_server_that_is_gone_is_named_and_waited_for(visit: Visit) -> None:
    visit.service.progress.now = RUNNING
    visit.open("/run")
    strip = visit.page.get_by_role("status").filter(has_text="The server does not answer")
    visit.page.context.set_offline(True)
    expect(strip).to_be_visible(timeout=15_000)
    visit.page.context.set_offline(False)
    expect(strip).to_be_hidden(timeout=20_000)
    visit.forgive("ERR_INTERNET_DISCONNECTED")


def test_who_is_signed_out_elsewhere_is_told_how_to_come_back(visit: Visit) -> None:
    visit.service.progress.now = RUNNING
    visit.open("/run")
    visit.page.context.clear_cookies()
    expect(visit.page.get_by_text("You are signed out. Open a new link")).to_be_visible(timeout=15_000)
    visit.forgive("401")


def test_the_policy_lets_nothing_in_and_the_watch_sees_every_try(browser: Browser, service: Service) -> None:
    """What `visiting` promises of every other test: that a breach would have been seen."""
    with visiting(browser, service) as visit:
        with pytest.raises(Error, match="TrustedHTML"):
            visit.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b>x</b>')")
        visit.page.evaluate(
            """() => {
              document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.2:9/x.png' }));
              const style = document.createElement('style');
              style.append('body { color: red }');
              document.head.append(style);
            }"""
        )
        visit.page.wait_for_timeout(300)
        for directive in ("img-src", "style-src", "require-trusted-types-for"):
            assert any(said.startswith(f"CSP {directive}") for said in visit.complaints), directive
        visit.complaints.clear()


# --- theme and language -----------------------------------------------------------------------------------


@pytest.fixture
def told(browser: Browser, service: Service) -> Iterator[Visit]:
    """A device that was set to dark and to Turkish, where the system is light and English."""
    with visiting(browser, service) as visit:
        visit.page.evaluate(
            "localStorage.setItem('parley.theme', 'dark'); localStorage.setItem('parley.language', 'tr')"
        )
        yield visit


def test_a_device_keeps_its_theme_and_its_language(told: Visit) -> None:
    page = told.page
    told.open("/releases")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 24, 26)"
    expect(page.locator("html")).to_have_attribute("lang", "tr")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sürümler")
    expect(page.get_by_role("link", name="Karşılaştır")).to_be_visible()


def test_the_browsers_language_is_spoken_where_none_was_chosen(browser: Browser, service: Service) -> None:
    with visiting(browser, service, language="tr-TR", user_id=service.person("user")) as visit:
        visit.open("/run")
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("Henüz eğitim yok")
        visit.open("/compare")
        visit.shoot("compare-turkish")
