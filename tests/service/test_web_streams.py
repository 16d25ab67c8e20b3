"""Replies on their way to a real browser, and what people typed: nothing of either is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from parley.store.database import database_url
from tests.databases import only

from .chatting import box, history, press, replies, say, sees_reply, talk
from .conftest import Service, wait_until
from .served import Served, served
from .visiting import Visit, visiting

pytestmark = only("sqlite")

LONG = " ".join(f"w{number}" for number in range(60))


@pytest.fixture
def person(service: Service) -> str:
    """The id of somebody who was never here before."""
    return service.person()


@pytest.fixture
def visit(browser: Browser, service: Service, person: str) -> Iterator[Visit]:
    with visiting(browser, service, user_id=person) as opened:
        yield opened


def begin_long(visit: Visit, words: str = LONG) -> None:
    """Asks for an answer that takes a few seconds, and waits until some of it is there."""
    visit.service.echo.word_seconds = 0.03
    say(visit.page, words)
    expect(replies(visit.page).last).to_contain_text("w1")


def test_text_grows_while_it_is_written_and_is_announced_once_at_its_end(visit: Visit) -> None:
    begin_long(visit)
    reply = replies(visit.page).last
    expect(reply).to_have_attribute("aria-busy", "true")
    early = reply.locator(".markdown").inner_text()
    assert "w59" not in early
    expect(visit.page.get_by_role("log")).not_to_contain_text("w1")
    sees_reply(visit.page, f"micro-sft: {LONG}")
    expect(visit.page.get_by_role("log").get_by_text("w59")).to_have_count(1)


def test_a_reload_in_mid_reply_goes_on_where_it_was(visit: Visit) -> None:
    begin_long(visit)
    visit.page.reload()
    expect(replies(visit.page).last).to_have_attribute("aria-busy", "true")
    sees_reply(visit.page, f"micro-sft: {LONG}")
    assert len(visit.service.echo.asked) == 1


def test_another_conversation_meanwhile_stops_nothing(visit: Visit) -> None:
    page = visit.page
    begin_long(visit)
    page.get_by_role("link", name="New chat").click()
    expect(replies(page)).to_have_count(0)
    talk(page, "hello")
    history(page).filter(has_text="w0").click()
    sees_reply(page, f"micro-sft: {LONG}")


def test_a_lost_network_loses_no_word(visit: Visit) -> None:
    page = visit.page
    begin_long(visit)
    page.context.set_offline(True)
    expect(page.get_by_text("The server does not answer; trying again.")).to_be_visible()
    box(page).fill("typed meanwhile")
    wait_until(lambda: visit.service.echo.closed == 1)
    page.context.set_offline(False)
    sees_reply(page, f"micro-sft: {LONG}")
    expect(page.get_by_text("The server does not answer; trying again.")).to_be_hidden()
    expect(box(page)).to_have_value("typed meanwhile")
    visit.complaints.clear()  # the browser's own lines on what failed meanwhile


def test_a_message_that_did_not_get_through_is_said_once(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    page.route("**/turns", lambda route: (route.fetch(), route.abort())[0])  # it arrives, the answer is lost
    say(page, "only once")
    expect(page.get_by_role("alert")).to_contain_text("Your message is still in the box")
    expect(box(page)).to_have_value("only once")
    wait_until(lambda: len(visit.service.echo.asked) == 2)
    page.unroute("**/turns")
    press(page, "Enter")
    sees_reply(page, "micro-sft: only once")
    expect(page.locator(".bubble")).to_have_text(["hello", "only once"])
    expect(page.get_by_label("of 2")).to_have_count(0)
    visit.complaints.clear()


def test_a_message_that_got_through_after_all_is_not_in_the_box_any_more(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    page.route("**/turns", lambda route: (route.fetch(), route.abort())[0])
    say(page, "only once")
    expect(box(page)).to_have_value("only once")
    page.unroute("**/turns")
    page.reload()
    sees_reply(page, "micro-sft: only once")
    expect(box(page)).to_have_value("")
    visit.complaints.clear()


def test_a_second_viewer_sees_the_same_and_stops_it(visit: Visit, browser: Browser, person: str) -> None:
    visit.service.echo.word_seconds = 0.03
    say(visit.page, f"{LONG} !forever")
    expect(replies(visit.page).last).to_contain_text("w1")
    with visiting(browser, visit.service, user_id=person) as elsewhere:
        history(elsewhere.page).filter(has_text="w0").click()
        expect(replies(elsewhere.page).last).to_contain_text("w59 more", timeout=8_000)
        elsewhere.page.get_by_role("button", name="Stop").click()
        expect(replies(elsewhere.page).last).to_contain_text("Stopped. What was written is kept.")
        expect(replies(visit.page).last).to_contain_text("Stopped. What was written is kept.")
        wait_until(lambda: visit.service.echo.closed == 1)
        texts = {
            page.locator("article.reply .markdown").last.inner_text() for page in (visit.page, elsewhere.page)
        }
        assert len(texts) == 1
    talk(visit.page, "go on")


def test_a_second_tab_follows_what_the_first_one_asks(visit: Visit) -> None:
    talk(visit.page, "hello")
    second = visit.page.context.new_page()
    second.goto(visit.page.url)
    sees_reply(second, "micro-sft: hello")
    begin_long(visit)
    expect(replies(second).last).to_have_attribute("aria-busy", "true")
    sees_reply(second, f"micro-sft: {LONG}")
    expect(second.get_by_role("button", name="Send")).to_be_visible()


def test_escape_stops_and_the_words_stay(visit: Visit) -> None:
    page = visit.page
    say(page, "go !forever")
    expect(replies(page).last).to_contain_text("more more")
    press(page, "Escape")
    expect(replies(page).last).to_contain_text("Stopped. What was written is kept.")
    wait_until(lambda: visit.service.echo.closed == 1)
    page.reload()
    expect(replies(page).last.locator(".markdown")).to_contain_text("micro-sft: go more")


def test_the_reader_who_went_up_is_left_there(visit: Visit) -> None:
    page = visit.page
    talk(page, "line\n" * 60)
    visit.service.echo.word_seconds = 0.02
    say(page, "line\n" * 40 + LONG)
    scroller = page.locator(".thread").locator("..")
    expect(replies(page).last).to_contain_text("w5")
    assert scroller.evaluate("(box) => box.scrollHeight - box.clientHeight - box.scrollTop") < 40
    scroller.hover()
    page.mouse.wheel(0, -900)
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    place = scroller.evaluate("(box) => box.scrollTop")
    expect(replies(page).last).to_have_attribute("aria-busy", "false")
    assert scroller.evaluate("(box) => box.scrollTop") == pytest.approx(place, abs=2)
    page.get_by_role("button", name="To the end").click()
    expect(page.get_by_role("button", name="To the end")).to_be_hidden()
    assert scroller.evaluate("(box) => box.scrollHeight - box.clientHeight - box.scrollTop") < 40


def test_a_session_that_ends_while_somebody_types_loses_no_word(
    visit: Visit, service: Service, person: str
) -> None:
    page = visit.page
    talk(page, "hello")
    address = page.url
    page.context.clear_cookies()
    say(page, "precious words")
    expect(page.get_by_role("alert")).to_contain_text("You are signed out. Your message is still in the box")
    expect(box(page)).to_have_value("precious words")
    page.goto(service.link(person))
    expect(page).to_have_url(address)
    expect(box(page)).to_have_value("precious words")
    press(page, "Enter")
    sees_reply(page, "micro-sft: precious words")
    visit.forgive("401")


def test_a_message_that_is_too_long_stays_and_leaves_nothing_behind(visit: Visit) -> None:
    page = visit.page
    words = "long " * 7_000
    box(page).fill(words)
    press(page, "Enter")
    expect(page.get_by_role("alert")).to_contain_text("Your text is still in the box.")
    expect(box(page)).to_have_value(words)
    expect(box(page)).to_be_focused()
    expect(history(page)).to_have_count(0)
    visit.shoot("chat-too-long")
    page.reload()
    expect(box(page)).to_have_value(words)
    talk(page, "short")
    expect(history(page)).to_have_count(1)
    visit.forgive("the server responded with a status of")


def test_drafts_belong_to_their_conversations(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    box(page).fill("half a thought")
    page.get_by_role("link", name="New chat").click()
    expect(box(page)).to_have_value("")
    box(page).fill("another one")
    history(page).first.click()
    expect(box(page)).to_have_value("half a thought")
    page.reload()
    expect(box(page)).to_have_value("half a thought")
    page.get_by_role("link", name="New chat").click()
    expect(box(page)).to_have_value("another one")


def test_a_killed_server_is_waited_for_and_what_it_wrote_is_kept(browser: Browser, tmp_path: Path) -> None:
    database = database_url(tmp_path, {})
    with served(database, word_seconds=0.02) as server, signed_in(browser, server) as page:
        say(page, f"{LONG} !forever")
        expect(replies(page).last).to_contain_text("w20", timeout=8_000)
        server.kill()
        expect(page.get_by_text("The server does not answer; trying again.")).to_be_visible()
        box(page).fill("typed while it was away")
        with served(database, word_seconds=0.02, port=urlsplit(server.url).port or 0):
            expect(replies(page).last.locator(".notice")).to_be_visible(timeout=15_000)
            expect(replies(page).last.locator(".markdown")).to_contain_text("w20")
            expect(page.get_by_text("The server does not answer; trying again.")).to_be_hidden()
            expect(box(page)).to_have_value("typed while it was away")
            press(page, "Enter")
            expect(replies(page).last.locator(".markdown")).to_have_text(
                re.compile("typed while it was away$")
            )


@contextmanager
def signed_in(browser: Browser, server: Served) -> Iterator[Page]:
    """The page, over a server of another process."""
    context = browser.new_context(reduced_motion="reduce", locale="en-GB")
    context.add_cookies(
        [{"name": name, "value": value, "url": server.url} for name, value in server.cookies.items()]
    )
    page = context.new_page()
    page.goto(server.url)
    yield page
    context.close()
