"""The page in a real browser: Chromium over the running service."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from parley.service.common.run_view import RunStatus

from .conftest import BASE, PPO, SFT, Service, running, stage, wait_until
from .visiting import CONTRAST, NARROW, WIDE, Visit, visiting


def test_a_link_leads_to_the_page_and_leaves_the_address(visit: Visit) -> None:
    assert visit.page.url == f"{visit.service.url}/"
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("parley")
    expect(visit.page.get_by_text("It can sound sure and be wrong")).to_be_visible()
    expect(visit.page.get_by_label("Message parley")).to_be_focused()


def test_a_used_link_says_how_to_get_another(browser: Browser, service: Service) -> None:
    with visiting(browser, service) as visit:
        link = service.link()
        visit.page.goto(link)
    page = browser.new_page()
    assert (answer := page.goto(link))
    assert answer.status == 403
    expect(page.get_by_text("in a terminal prints a new one")).to_be_visible()
    page.close()


def test_a_conversation(visit: Visit) -> None:
    page = visit.page
    visit.say("where does Mira live?")
    visit.sees_reply("micro-sft: where does Mira live?")
    expect(page.locator(".turn.reply .by")).to_have_text("SFT")
    expect(page.get_by_text("It can sound sure and be wrong")).to_be_hidden()
    page.keyboard.type("and her pet?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("please")
    page.keyboard.press("Enter")
    visit.sees_reply("micro-sft: and her pet?\nplease")
    conversation = visit.service.echo.asked[-1][0]
    assert [message.role for message in conversation.messages] == ["user", "assistant", "user"]
    expect(page.get_by_label("Message parley")).to_be_focused()


def test_text_appears_while_it_is_written_and_is_spoken_by_sentences(visit: Visit) -> None:
    visit.service.echo.word_seconds = 0.15
    visit.say("One two. Three four. Five !forever")
    expect(visit.page.locator(".turn.reply.writing .text")).to_contain_text("One two.")
    expect(visit.page.get_by_role("log").get_by_text("Three four.")).to_have_count(1)
    visit.page.keyboard.press("Escape")
    wait_until(lambda: visit.service.echo.closed == 1)


def test_stop_stops_the_work_and_keeps_what_was_written(visit: Visit) -> None:
    page = visit.page
    visit.say("go !forever")
    expect(page.locator(".turn.reply .text")).to_contain_text("more more")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".turn.reply .meta")).to_contain_text("stopped")
    wait_until(lambda: visit.service.echo.closed == 1)
    visit.say("again")
    visit.sees_reply("micro-sft: again")
    said = [message.text for message in visit.service.echo.asked[-1][0].messages]
    assert said[1].startswith("micro-sft: go more")


def test_another_release_answers_when_picked(visit: Visit) -> None:
    page = visit.page
    page.get_by_text("base", exact=True).click()
    visit.say("hello")
    visit.sees_reply("micro-base: hello")
    expect(page.locator(".turn.reply .by")).to_have_text("base")
    page.get_by_role("radio", name="base").focus()
    page.keyboard.press("ArrowRight")
    visit.say("hello")
    visit.sees_reply("micro-sft: hello")


def test_the_page_follows_to_a_new_release_until_one_is_picked(visit: Visit) -> None:
    service, page = visit.service, visit.page
    service.progress.now = RunStatus("micro-world", "running", (stage("ppo-1", "running", 5),), 9.0, "")
    page.reload()
    expect(page.get_by_role("radio", name="SFT")).to_be_checked()
    service.echo.cut.append(PPO)
    expect(page.get_by_text("PPO 1 is ready and answers from now on.")).to_be_visible()
    visit.say("hello")
    visit.sees_reply("micro-ppo-1: hello")
    page.get_by_text("SFT", exact=True).first.click()
    expect(page.get_by_text("SFT answers until you choose another.")).to_be_visible()
    service.echo.cut.append(type(PPO)("micro-ppo-2", "ppo-2", "micro", PPO.created + 9))
    expect(page.get_by_text("PPO 2 is ready.")).to_be_visible()
    expect(page.get_by_role("radio", name="SFT")).to_be_checked()
    page.get_by_role("button", name="Follow the newest").click()
    expect(page.get_by_role("radio", name="PPO 2")).to_be_checked()


def test_before_the_first_release_the_box_sleeps_and_wakes_up_by_itself(
    browser: Browser, service: Service
) -> None:
    service.echo.cut = []
    service.progress.now = RunStatus("micro-world", "running", (stage("base", "running", 83),), 200.0, "")
    with visiting(browser, service) as visit:
        box = visit.page.get_by_label("Message parley")
        expect(box).to_be_disabled()
        expect(visit.page.get_by_text("BASE: 83 %, 12 s left.")).to_be_visible()
        service.echo.cut.append(BASE)
        expect(box).to_be_enabled()
        expect(box).to_be_focused()
        expect(visit.page.get_by_text("base is ready and answers from now on.")).to_be_visible()
        expect(visit.page.get_by_text("The assistant is being made")).to_be_hidden()
        visit.say("hello")
        visit.sees_reply("micro-base: hello")


def test_a_reload_keeps_conversation_draft_and_choice(visit: Visit) -> None:
    page = visit.page
    page.get_by_text("base", exact=True).click()
    visit.say("hello")
    visit.sees_reply("micro-base: hello")
    page.get_by_label("Message parley").fill("not sent yet")
    page.reload()
    visit.sees_reply("micro-base: hello")
    expect(page.locator(".turn.reply .by")).to_have_text("base")
    expect(page.get_by_label("Message parley")).to_have_value("not sent yet")
    expect(page.get_by_role("radio", name="base")).to_be_checked()
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.reload()
    expect(page.locator(".turn")).to_have_count(0)


def test_a_reload_in_mid_reply_keeps_what_was_written(visit: Visit) -> None:
    visit.say("go !forever")
    expect(visit.page.locator(".turn.reply .text")).to_contain_text("more")
    visit.page.reload()
    expect(visit.page.locator(".turn.reply .text")).to_contain_text("micro-sft: go more")
    expect(visit.page.locator(".turn.reply .meta")).to_contain_text("stopped")
    wait_until(lambda: visit.service.echo.closed == 1)


HOSTILE = (
    '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    '<svg onload="document.title=3"> ![x](http://evil.example/x.png) javascript:document.title=4'
)


def test_hostile_text_is_text(visit: Visit) -> None:
    page = visit.page
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    visit.service.progress.now = RunStatus(
        HOSTILE, "running", (stage(HOSTILE, "running", 1, **{HOSTILE: 1.0}),), None, HOSTILE
    )
    visit.service.echo.cut.append(type(SFT)(HOSTILE, HOSTILE, HOSTILE, 1))
    page.reload()
    visit.say(HOSTILE)
    visit.sees_reply(f"{HOSTILE}: {HOSTILE}")
    page.reload()
    visit.sees_reply(f"{HOSTILE}: {HOSTILE}")
    assert page.title() == "parley"
    assert page.locator("main img, main script, aside img, svg").count() == 0
    assert all(url.startswith(visit.service.url) for url in requests)


def test_a_reply_that_breaks_off_keeps_what_was_written(visit: Visit) -> None:
    visit.say("one !break two")
    expect(visit.page.get_by_role("alert")).to_contain_text("What was written is kept")
    expect(visit.page.locator(".turn.reply .text")).to_have_text("micro-sft: one")
    expect(visit.page.locator(".turn.reply .meta")).to_contain_text("broke off")


def test_a_message_that_was_not_answered_is_back_in_the_box(browser: Browser, service: Service) -> None:
    with visiting(browser, service) as visit:
        service.echo.cut = [BASE]
        visit.say("precious words")
        expect(visit.page.get_by_role("alert")).to_contain_text("Your message is back in the box")
        expect(visit.page.get_by_label("Message parley")).to_have_value("precious words")
        expect(visit.page.locator(".turn")).to_have_count(0)
        assert "404" in visit.complaints.pop()  # the browser's own line


def test_the_run_panel_shows_stages_and_stops_asking_when_done(visit: Visit) -> None:
    service, page = visit.service, visit.page
    expect(page.get_by_role("complementary")).to_be_hidden()
    stages = (stage("base", "done", 100, loss=1.523), stage("sft", "running", 40), stage("rm", "waiting"))
    service.progress.now = RunStatus("micro-world", "running", stages, 192.0, "")
    page.reload()
    panel = page.get_by_role("complementary")
    expect(panel.get_by_text("3 min 12 s left").last).to_be_visible()
    expect(panel.locator(".stage")).to_have_text(
        [re.compile(r"BASE41\ssloss 1.52"), re.compile(r"SFT40\s% · 12\ss left"), "RMwaiting"]
    )
    expect(panel.get_by_role("progressbar")).to_have_js_property("value", 40)
    service.progress.now = RunStatus("micro-world", "done", stages[:1], None, "")
    expect(panel.get_by_text("done in 41 s").last).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1_300)
    assert asked == []


def test_a_server_that_is_gone_is_named_and_waited_for(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.progress.now = RunStatus("micro-world", "running", (stage("base", "running", 5),), 9.0, "")
        with visiting(browser, service) as visit:
            strip = visit.page.locator("#server")
            expect(visit.page.get_by_role("complementary")).to_be_visible()
            visit.page.context.set_offline(True)
            expect(strip).to_contain_text("The server does not answer. Trying again in")
            visit.page.context.set_offline(False)
            expect(strip).to_be_hidden()
            visit.complaints.clear()  # the browser's own lines on the failed requests


def test_signing_out_leaves_nothing_behind(visit: Visit) -> None:
    visit.say("hello")
    visit.sees_reply("micro-sft: hello")
    visit.page.get_by_role("button", name="Sign out").click()
    expect(visit.page.get_by_role("heading", name="Sign in with a link")).to_be_visible()
    assert visit.page.evaluate("sessionStorage.length") == 0
    visit.page.goto(visit.service.url)
    assert visit.page.url.endswith("/login")


def test_everything_can_be_reached_by_keyboard(visit: Visit) -> None:
    page = visit.page
    visit.say("hello")
    visit.sees_reply("micro-sft: hello")
    page.reload()
    expect(page.get_by_label("Message parley")).to_be_focused()
    page.evaluate("window.getSelection().setPosition(document.body, 0)")  # from the top of the page
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(({id, value, innerText}) => id || value || innerText)(document.activeElement)")
        )
    assert {"Skip to the message box", "new-chat", "sign-out", "scroller", "Copy", "box", SFT.name} <= reached


RUN = RunStatus(
    "micro-world",
    "running",
    (
        stage("base", "done", 100, loss=1.523, bits_per_byte=2.1),
        stage("sft", "done", 100, loss=0.8731),
        stage("rank", "done", 100, rankings=1200),
        stage("reward", "running", 83, accuracy=0.712),
        stage("ppo 1", "waiting"),
        stage("evaluate", "waiting"),
    ),
    192.0,
    "",
)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures(
    browser: Browser, service: Service, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    """Nothing overflows; and pictures to look at."""
    service.progress.now = RUN
    service.echo.cut.append(PPO)
    name = f"{'wide' if size == WIDE else 'narrow'}-{'dark' if dark else 'light'}"
    folder = Path(os.environ.get("PARLEY_PICTURES") or tmp_path)

    def shoot(visit: Visit, what: str) -> None:
        visit.page.screenshot(path=folder / f"{name}-{what}.png")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what

    with visiting(browser, service, size, dark=dark) as visit:
        expect(visit.page.get_by_role("radio", name="PPO 1")).to_be_checked()
        shoot(visit, "welcome")
        visit.say("W" * 200)
        visit.sees_reply(f"micro-ppo-1: {'W' * 200}")
        visit.say("Where does Mira live, and what is her pet?")
        visit.sees_reply("micro-ppo-1: Where does Mira live, and what is her pet?")
        visit.page.get_by_text("base", exact=True).last.click()
        visit.say("And her brother?\nWrite two lines, one for each of them, and then go !forever")
        expect(visit.page.locator(".turn.reply.writing .text")).to_contain_text("more " * 9)
        shoot(visit, "talk")
        visit.page.keyboard.press("Escape")
        expect(visit.page.locator(".turn.reply.writing")).to_have_count(0)
        if size == NARROW:
            visit.page.locator("#run-toggle").click()
            shoot(visit, "run")
        service.echo.cut = []
        visit.page.get_by_role("button", name="New chat").click()
        visit.page.reload()
        expect(visit.page.get_by_text("The assistant is being made")).to_be_visible()
        shoot(visit, "making")
        visit.page.context.clear_cookies()
        visit.page.goto(service.url)
        shoot(visit, "login")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_contrast(browser: Browser, service: Service, dark: bool) -> None:
    service.progress.now = RUN
    with visiting(browser, service, dark=dark) as visit:
        assert visit.page.evaluate(CONTRAST) == []
        visit.say("one !break")
        expect(visit.page.get_by_role("alert")).to_be_visible()
        assert visit.page.evaluate(CONTRAST) == []
