"""Finding conversations again in a real browser: by day, by search, and however many there are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.databases import only

from .chatting import SEARCH, box, conversations, history, messages, press, replies, talk
from .conftest import Service
from .visiting import NARROW, Visit, visiting

pytestmark = only("sqlite")

DAY = 86_400


@pytest.fixture
def person(service: Service) -> str:
    """The id of somebody who was never here before."""
    return service.person()


@pytest.fixture
def visit(browser: Browser, service: Service, person: str) -> Iterator[Visit]:
    with visiting(browser, service, user_id=person) as opened:
        yield opened


def search(page: Page, words: str) -> None:
    page.get_by_label(SEARCH, exact=True).fill(words)


def test_conversations_stand_under_their_days(visit: Visit, service: Service, person: str) -> None:
    conversations(service, person, ["now", "a day ago"], seconds_apart=DAY)
    conversations(service, person, ["just now", *["past"] * 3, "long ago"], seconds_apart=30 * DAY)
    page = visit.page
    page.reload()
    groups = page.get_by_role("navigation", name="Conversations").get_by_role("heading")
    months = [time.strftime("%B %Y", time.localtime(time.time() - place * 30 * DAY)) for place in range(1, 5)]
    expect(groups).to_have_text(["Today", "Yesterday", *dict.fromkeys(months)])
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    visit.shoot("history-days")


def test_thousands_of_conversations_open_quickly_and_scroll(
    visit: Visit, service: Service, person: str
) -> None:
    conversations(service, person, [f"talk {number}" for number in range(2_000)], seconds_apart=60)
    page = visit.page
    began = time.monotonic()
    page.reload()
    expect(history(page).first).to_have_text("talk 0")
    assert time.monotonic() - began < 3
    expect(history(page)).to_have_count(50)
    while history(page).count() < 200:
        seen = history(page).count()
        history(page).last.scroll_into_view_if_needed()
        expect(history(page).nth(seen)).to_be_attached()
    history(page).nth(199).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("talk 199")
    talk(page, "hello")
    expect(history(page).first).to_have_text("talk 199")  # spoken in last
    assert history(page).all_text_contents()[1:200] == [f"talk {number}" for number in range(199)]


def test_search_marks_what_it_found_and_opens_the_message(visit: Visit) -> None:
    page = visit.page
    talk(page, "Where is the lighthouse?")
    page.locator("article.said").hover()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Your message, edited").fill("Where is the harbour?")
    press(page, "Enter")
    expect(page.get_by_label("Version 2 of 2")).to_be_visible()
    page.get_by_role("link", name="New chat").click()
    press(page, "Control+k")
    expect(page.get_by_label(SEARCH, exact=True)).to_be_focused()
    page.keyboard.type("lighthouse")
    found = page.get_by_role("navigation", name="Search results")
    expect(found.get_by_role("link")).to_have_count(3)  # the title, the question and its answer
    expect(found.locator("mark").first).to_have_text("lighthouse")
    expect(page.get_by_role("log")).to_contain_text("3 found.")
    visit.shoot("search")
    press(page, "ArrowDown", "ArrowDown", "ArrowUp")
    expect(found.get_by_role("link").first).to_be_focused()
    found.get_by_role("link").filter(has_text="You: ").click()
    expect(page.locator(".bubble")).to_have_text("Where is the lighthouse?")  # on the other branch
    expect(page.locator("li:focus")).to_contain_text("Where is the lighthouse?")
    page.get_by_label(SEARCH, exact=True).press("Escape")
    expect(history(page)).to_have_count(1)


def test_search_for_what_nobody_said(visit: Visit) -> None:
    search(visit.page, "zeppelin")
    expect(visit.page.get_by_text("Nothing was found for “zeppelin”.")).to_be_visible()


@pytest.mark.parametrize(("written", "sought"), [("IŞIK nerede", "ışık"), ("İSTANBUL nerede", "istanbul")])
def test_search_knows_the_turkish_i(visit: Visit, written: str, sought: str) -> None:
    talk(visit.page, written)
    search(visit.page, sought)
    found = visit.page.get_by_role("navigation", name="Search results")
    expect(found.locator("mark").first).to_have_text(re.compile(written.split()[0], re.IGNORECASE))


def test_five_thousand_messages_open_and_scroll(visit: Visit, service: Service, person: str) -> None:
    [id_] = conversations(service, person, ["a long talk"], seconds_apart=1)
    ids = messages(service, id_, [f"word {number}" for number in range(5_000)])
    page = visit.page
    began = time.monotonic()
    visit.open(f"/c/{id_}")
    expect(replies(page).last.locator(".markdown")).to_have_text("word 4999")
    expect(replies(page).last).to_be_in_viewport()
    assert time.monotonic() - began < 3
    scroller = page.locator(".thread").locator("..")
    for first in (4_800, 4_700, 4_600, 4_500, 4_400):
        scroller.evaluate("(box) => box.scrollTo(0, 0)")
        expect(page.get_by_text(f"word {first}", exact=True)).to_be_attached()
    assert scroller.evaluate("(box) => box.scrollTop") > 0  # the reader's place is kept
    assert page.locator("article").count() <= 400  # and the page does not grow without end
    expect(page.get_by_text("word 4999", exact=True)).to_have_count(0)
    talk(page, "still here")
    expect(replies(page).last).to_be_in_viewport()
    visit.open(f"/c/{id_}#m-{ids[2_000]}")  # as from search: far above
    expect(page.locator("li:focus")).to_contain_text("word 2000", timeout=15_000)
    expect(page.locator("li:focus")).to_be_in_viewport()


def test_history_in_the_drawer(browser: Browser, service: Service, person: str) -> None:
    conversations(service, person, ["an older talk"], seconds_apart=1)
    with visiting(browser, service, NARROW, dark=True, user_id=person) as visit:
        page = visit.page
        page.get_by_role("button", name="Menu").click()
        expect(history(page)).to_have_text(["an older talk"])
        visit.shoot("history-drawer")
        history(page).click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page.get_by_role("heading", level=1)).to_have_text("an older talk")
        expect(box(page)).to_be_focused()
