"""In a real browser: what people say of answers, what they show to others, and what they choose for themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from parley.store.feedback import FeedbackRow
from parley.store.shares import ShareRow
from tests.databases import only

from .chatting import box, history, press, replies, say, talk
from .conftest import Service, wait_until
from .visiting import NARROW, Visit, visiting, watch

pytestmark = only("sqlite")


@pytest.fixture
def person(service: Service) -> str:
    """The id of somebody who was never here before."""
    return service.person()


@pytest.fixture
def visit(browser: Browser, service: Service, person: str) -> Iterator[Visit]:
    with visiting(browser, service, user_id=person) as opened:
        yield opened


def feedback_of(service: Service, person: str) -> list[tuple[str, str, str, str]]:
    """What is stored of somebody's feedback: thumb, reasons, note, what it should have said."""
    with service.sessions() as session:
        rows = session.scalars(select(FeedbackRow).where(FeedbackRow.user_id == person))
        return [(row.value, row.reasons, row.note, row.ideal) for row in rows]


def test_a_bad_answer_by_mouse_changed_and_taken_back(visit: Visit, service: Service, person: str) -> None:
    page = visit.page
    talk(page, "hello")
    page.get_by_role("button", name="Bad answer").click()
    wait_until(lambda: feedback_of(service, person) == [("down", "", "", "")])  # two clicks are enough
    page.get_by_label("too long").check()
    page.get_by_label("In your words").fill("it rambles")
    page.get_by_label("What should it have said?").fill("Hi.")
    expect(page.get_by_text("It is not used for training, because training is off")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You found this bad: too long.")).to_be_visible()
    expect(page.get_by_role("button", name="Bad answer")).to_be_focused()
    assert feedback_of(service, person) == [("down", "too_long", "it rambles", "Hi.")]
    page.reload()
    page.get_by_role("button", name="Say more or change it").click()
    expect(page.get_by_label("In your words")).to_have_value("it rambles")
    page.get_by_label("harmful").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You found this bad: harmful, too long.")).to_be_visible()
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_text("You found this good.")).to_be_visible()
    assert [row[:2] for row in feedback_of(service, person)] == [("up", "")]
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_text("You found this good.")).to_be_hidden()
    assert feedback_of(service, person) == []


def test_a_bad_answer_by_keyboard(visit: Visit, service: Service, person: str) -> None:
    page = visit.page
    talk(page, "hello")
    box(page).blur()
    press(page, "+")
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    press(page, "-")
    expect(page.get_by_label("harmful")).to_be_focused()
    press(page, "Tab", "Space", "Tab", "Tab", "Tab", "Tab")
    page.keyboard.type("it is in Oakby")
    press(page, "Escape")  # closed: what was typed is kept
    expect(page.get_by_role("button", name="Bad answer")).to_be_focused()
    press(page, "Enter")
    expect(page.get_by_label("In your words")).to_have_value("it is in Oakby")
    press(page, "Control+Enter")
    expect(page.get_by_text("You found this bad: false.")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("Thank you. Your feedback is kept with this answer.")
    assert feedback_of(service, person) == [("down", "false", "it is in Oakby", "")]


def test_feedback_waits_for_a_server_that_is_away(visit: Visit, service: Service, person: str) -> None:
    page = visit.page
    talk(page, "hello")
    page.context.set_offline(True)
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_text("It is kept on this device and sent when the server is back.")).to_be_visible()
    assert feedback_of(service, person) == []
    page.context.set_offline(False)
    wait_until(lambda: len(feedback_of(service, person)) == 1, seconds=15)
    expect(page.get_by_text("It is kept on this device")).to_be_hidden()
    visit.complaints.clear()  # the browser's own lines on what failed meanwhile


def test_a_link_shows_a_stranger_what_was_said_until_it_is_revoked(visit: Visit, browser: Browser) -> None:
    page = visit.page
    say(page, "**Where** does Mira live?")
    expect(replies(page).locator("strong")).to_have_text("Where")
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("The link works").select_option(label="for 7 days")
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.locator(".shares a")
    expect(link).to_be_visible()
    visit.shoot("share-dialog")
    dialog.get_by_role("button", name="Copy").click()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == link.get_attribute("href")
    press(page, "Escape")
    talk(page, "said later")
    stranger = browser.new_page(viewport={"width": NARROW[0], "height": NARROW[1]}, color_scheme="dark")
    shown = Visit(stranger, visit.service, NARROW, dark=True)
    watch(stranger, visit.service, shown.complaints)
    answer = stranger.goto(address)
    assert answer
    assert "noindex" in answer.headers["x-robots-tag"]
    expect(stranger.locator("article.reply strong")).to_have_text("Where")
    expect(stranger.get_by_text("said later")).to_have_count(0)
    expect(stranger.get_by_role("navigation")).to_have_count(0)
    shown.shoot("share-page")
    page.get_by_role("button", name="Share").click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(dialog.locator(".shares li")).to_have_count(0)
    stranger.reload()
    expect(stranger.get_by_role("heading", level=1)).to_have_text("This link has ended")
    stranger.goto(f"{visit.service.url}/s/{'x' * 22}")
    expect(stranger.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    shown.forgive("the server responded with a status of 4")
    assert shown.complaints == []
    stranger.close()


def test_a_link_that_expired_says_so(visit: Visit, service: Service) -> None:
    page = visit.page
    talk(page, "hello")
    box(page).blur()
    press(page, "s")
    page.get_by_role("button", name="Make a link").click()
    expect(page.locator(".shares a")).to_be_visible()
    with service.sessions.begin() as session:
        session.query(ShareRow).update({"expires": int(time.time()) - 1})
    visit.open("/settings")
    expect(page.locator(".shares li")).to_contain_text("expired")
    expect(page.get_by_role("button", name="Revoke")).to_have_count(0)


def test_consent_is_off_until_it_is_given_and_holds_for_single_conversations(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    training = page.get_by_label("Training with this conversation")
    expect(training).to_have_value("inherit")
    expect(page.locator(".whose")).to_contain_text("training: off")
    page.locator(".whose").click()
    expect(page.get_by_text("Version 1 of this text.")).to_be_visible()
    page.get_by_label("Yes, later releases may learn from my conversations").check()
    expect(page.locator(".whose")).to_contain_text("training: on")
    expect(page.get_by_text("You changed your answer last on")).to_be_visible()
    visit.shoot("settings", whole=True)
    history(page).click()
    expect(training.locator("option:checked")).to_have_text("training: on · as in settings")
    replies(page).get_by_role("button", name="Bad answer").click()
    expect(page.get_by_text("after a person has checked it")).to_be_visible()
    training.select_option("no")
    expect(page.get_by_text("because training is off for this conversation")).to_be_visible()
    page.reload()
    expect(training).to_have_value("no")


def test_name_language_and_colours(visit: Visit) -> None:
    page = visit.page
    visit.open("/settings")
    page.get_by_label("Name").fill("Ana")
    press(page, "Enter")
    expect(page.locator(".whose")).to_contain_text("Ana")
    page.get_by_role("combobox", name="Colours").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.get_by_role("combobox", name="Language").select_option("tr")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ayarlar")
    expect(page.get_by_role("heading", name="Konuşmalarınızdan öğrenebilir miyiz?")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "tr"
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ayarlar")
    visit.dark = True
    visit.shoot("settings-turkish", whole=True)


def test_signing_out_leaves_no_draft_behind(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    box(page).fill("half a thought")
    visit.open("/settings")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in with a link")).to_be_visible()
    assert page.evaluate("Object.values(localStorage).join()").count("thought") == 0
    page.goto(visit.service.url)
    assert page.url.endswith("/login")


@pytest.fixture
def narrow(browser: Browser, service: Service, person: str) -> Iterator[Page]:
    with visiting(browser, service, NARROW, dark=True, user_id=person) as opened:
        yield opened.page
        opened.shoot("settings")


def test_settings_narrow_and_dark(narrow: Page, service: Service) -> None:
    narrow.goto(f"{service.url}/settings")
    expect(narrow.get_by_role("heading", name="May we learn from your conversations?")).to_be_visible()
