"""Hostile text in every place where the pages show text: nothing of it runs, nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from parley.ports import ReleaseInfo
from tests.databases import only

from .chatting import SEARCH, box, conversations, history, messages, replies, say
from .conftest import Service
from .visiting import visiting, watch

pytestmark = only("sqlite")

PAYLOADS = (
    '<img src=x onerror="ran(1)">',
    "<script>ran(2)</script>",
    '<svg onload="ran(3)"><a xlink:href="javascript:ran(4)">x</a></svg>',
    "[click](javascript:ran(5))",
    "[click](JaVaScRiPt:ran(6)) [click](data:text/html,<script>ran(7)</script>) [click](vbscript:ran(8))",
    "![x](https://evil.example/leak.png) ![y][ref] <img src='https://evil.example/2.png'>",
    "[ref]: https://evil.example/3.png",
    '<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example/">',
    '<iframe src="https://evil.example/"></iframe><object data="https://evil.example/"></object>',
    '<form action="https://evil.example/"><button>send</button></form>',
    "<style>@import url(https://evil.example/4.css);</style><link rel=stylesheet href=https://evil.example/5.css>",
    '<math><mtext><table><mglyph><style><img src=x onerror="ran(9)">',
    "`<img src=x onerror=ran(10)>`\n```html\n<script>ran(11)</script>\n```",
    "[a](https://evil.example/%22%20onmouseover=%22ran(12)) <https://evil.example/auto>",
    "{{constructor.constructor('ran(13)')()}} ${ran(14)} <%= ran(15) %>",
    "\u202egnp.tpircs\u202c </textarea></title><script>ran(16)</script>",
)
HOSTILE = "\n\n".join(PAYLOADS)
FORBIDDEN = ":is(img, script, iframe, object, base, meta, link, style)"
TRAP = "window.runs = []; window.ran = (number) => window.runs.push(number);"


@pytest.mark.parametrize("name", ['<img src=x onerror="ran(17)">', '"><script>ran(18)</script>'])
def test_hostile_text_is_text_everywhere(browser: Browser, service: Service, name: str) -> None:
    person = service.person()
    service.echo.cut.append(ReleaseInfo(name, name, name, 1_700_000_900))
    [id_] = conversations(service, person, [name], seconds_apart=1)
    messages(service, id_, [HOSTILE, HOSTILE])
    with service.browser(person) as http:
        assert http.patch("/api/me", json={"name": name}).status_code == 200
        shared = http.post(f"/api/conversations/{id_}/shares", json={"days": None}).json()
    with visiting(browser, service, user_id=person) as visit:
        page = visit.page
        page.add_init_script(TRAP)
        visit.open(f"/c/{id_}")
        expect(replies(page).locator(".markdown")).to_contain_text("constructor")
        say(page, HOSTILE)
        expect(replies(page)).to_have_count(2)
        expect(replies(page).last).to_have_attribute("aria-busy", "false")
        page.get_by_role("button", name="Why this answer?").last.click()
        page.get_by_role("button", name="Bad answer").last.click()
        page.get_by_label("In your words").fill(HOSTILE)
        page.get_by_role("button", name="Save").click()
        expect(history(page).filter(has_text=name)).to_have_count(1)
        page.get_by_label(SEARCH, exact=True).fill("constructor")
        expect(page.locator("mark").first).to_be_visible()
        for link in page.locator("main article a").all():
            assert (link.get_attribute("href") or "").startswith(("https://", "/api/"))
            assert "noopener" in (link.get_attribute("rel") or "")
            link.hover()
        assert page.locator(f"main {FORBIDDEN}, article form").count() == 0
        assert page.evaluate("window.runs") == []
        visit.open("/settings")
        expect(page.locator(".shares strong")).to_have_text(name)
        assert page.evaluate("window.runs") == []
        page.goto(shared["url"])
        expect(page.locator("article.reply")).to_contain_text("constructor")
        assert page.locator(f"main {FORBIDDEN}").count() == 0
        assert page.evaluate("window.runs") == []


def test_a_hostile_refusal_is_text(browser: Browser, service: Service) -> None:
    with visiting(browser, service, user_id=service.person()) as visit:
        page = visit.page
        page.add_init_script(TRAP)
        page.reload()
        problem = {"error": {"message": HOSTILE, "type": "x", "param": None, "code": None}, "detail": HOSTILE}
        page.route("**/api/conversations", lambda route: route.fulfill(status=400, json=problem))
        say(page, "hello")
        expect(page.get_by_role("alert")).to_contain_text("constructor")
        expect(box(page)).to_have_value("hello")
        assert page.evaluate("window.runs") == []
        assert page.locator("main img").count() == 0
        visit.forgive("400")


def test_the_trap_would_have_told(browser: Browser, service: Service, tmp_path: Path) -> None:
    """What the corpus does where nobody takes care, so that the tests above can fail."""
    careless = tmp_path / "careless.html"
    staying = "\n".join(
        payload for payload in PAYLOADS if "http-equiv" not in payload
    )  # else the page is gone
    careless.write_text(f"<!doctype html><title>x</title><script>{TRAP}</script><body>{staying}", "utf-8")
    page = browser.new_page()
    complaints: list[str] = []
    watch(page, service, complaints)
    page.goto(careless.as_uri(), wait_until="commit")
    page.wait_for_function("window.runs && window.runs.length > 1", timeout=10_000)
    assert any("evil.example" in complaint for complaint in complaints)
    page.close()
