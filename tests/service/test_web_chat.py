"""The chat in a real browser: talking, versions, titles, two answers, what moderation says, and how it looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from parley.moderation.rules import read_rules
from parley.service.common.settings import Settings
from tests.databases import only

from .chatting import box, has_focus_within, history, press, replies, say, sees_reply, talk
from .conftest import Service, running
from .visiting import NARROW, WIDE, Visit, visiting

pytestmark = only("sqlite")

STRICT = {
    "version": "test-1",
    "unless": ["nothing at all"],
    "categories": [
        {"name": "worrying", "action": "warn", "message": "This may hurt.", "phrases": ["ouch"]},
        {"name": "weapons", "action": "block", "message": "No weapons.", "phrases": ["sharp sword"]},
        {"name": "boasting", "action": "block", "message": "No boasting.", "phrases": ["sft proudly"]},
    ],
}


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """Somebody who was never here before."""
    with visiting(browser, service, user_id=service.person()) as opened:
        yield opened


def test_a_newcomer_reads_what_it_gets_wrong_and_then_types(visit: Visit) -> None:
    page = visit.page
    expect(page.get_by_role("heading", name="This is a preview")).to_be_visible()
    expect(box(page)).to_be_focused()
    page.get_by_role("button", name="I have read this").click()
    expect(page.get_by_role("heading", name="This is a preview")).to_be_hidden()
    expect(box(page)).to_be_focused()
    page.reload()
    expect(page.get_by_text("It can sound sure and be wrong")).to_be_visible()
    expect(page.get_by_role("heading", name="This is a preview")).to_be_hidden()


def test_one_action_leads_to_an_answer_and_counts_as_having_read(visit: Visit) -> None:
    page = visit.page
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    sees_reply(page, "micro-sft: hello")
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_text("It can sound sure and be wrong")).to_be_visible()


def test_a_conversation_by_keyboard(visit: Visit) -> None:
    page = visit.page
    talk(page, "Where does Mira live?")
    expect(box(page)).to_be_focused()
    expect(page).to_have_url(re.compile("/c/[0-9a-f-]+$"))
    expect(page).to_have_title("Where does Mira live? · parley")
    expect(history(page)).to_have_text(["Where does Mira live?"])
    page.keyboard.type("and her pet?")
    press(page, "Shift+Enter")
    page.keyboard.type("please")
    press(page, "Enter")
    sees_reply(page, "micro-sft: and her pet?\nplease")
    said = visit.service.echo.asked[-1][0].messages
    assert [message.text for message in said][::2] == ["Where does Mira live?", "and her pet?\nplease"]
    expect(page.get_by_role("log")).to_contain_text("parley said: micro-sft: and her pet?")
    page.reload()
    expect(replies(page)).to_have_count(2)


def test_an_edit_is_another_version_and_the_selected_one_survives_a_reload(visit: Visit) -> None:
    page = visit.page
    talk(page, "first")
    talk(page, "second")
    page.locator("article.said").first.hover()
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_label("Your message, edited").fill("other")
    page.get_by_role("button", name="Send").first.click()
    expect(page.get_by_label("Version 2 of 2")).to_be_visible()
    sees_reply(page, "micro-sft: other")
    expect(replies(page)).to_have_count(1)
    expect(box(page)).to_be_focused()
    page.get_by_role("button", name="Version before").click()
    sees_reply(page, "micro-sft: second")
    has_focus_within(page, ".versions")  # on the same arrow, though it is another message's
    page.reload()
    sees_reply(page, "micro-sft: second")
    page.get_by_role("button", name="Version after").press("Enter")
    sees_reply(page, "micro-sft: other")


def test_an_edit_by_keyboard_and_one_that_is_given_up(visit: Visit) -> None:
    page = visit.page
    talk(page, "first")
    box(page).blur()
    press(page, "e")
    expect(page.get_by_label("Your message, edited")).to_be_focused()
    page.keyboard.type(" more")
    press(page, "Escape")
    expect(page.locator(".bubble")).to_have_text("first")
    expect(box(page)).to_be_focused()
    box(page).blur()
    press(page, "e")
    page.keyboard.type(" again")
    press(page, "Enter")
    sees_reply(page, "micro-sft: first again")


def test_an_answer_is_written_again_and_versions_are_turned_by_keys(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.get_by_label("Version 2 of 2")).to_be_visible()
    sees_reply(page, "micro-sft: hello")
    page.get_by_role("main").focus()
    press(page, "r")
    expect(page.get_by_label("Version 3 of 3")).to_be_visible()
    press(page, "[")
    expect(page.get_by_label("Version 2 of 3")).to_be_visible()
    press(page, "]")
    expect(page.get_by_label("Version 3 of 3")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("Version 3 of 3")


def test_another_release_answers_and_says_who_it_is(visit: Visit) -> None:
    page = visit.page
    page.get_by_label("Who answers").select_option(label="base")
    talk(page, "hello", "micro-base")
    expect(page.locator(".author")).to_contain_text("base")
    page.get_by_role("button", name="Why this answer?").click()
    expect(page.get_by_label("Why this answer?", exact=True).last).to_contain_text("release micro-base")
    page.reload()
    talk(page, "again", "micro-base")
    page.get_by_label("Who answers").select_option(index=0)
    page.get_by_role("button", name="Regenerate").last.click()
    sees_reply(page, "micro-sft: again")


def test_an_answer_and_its_code_are_copied(visit: Visit) -> None:
    page = visit.page
    say(page, "so:\n```python\nprint(1)\n```")
    expect(replies(page).last).to_have_attribute("aria-busy", "false")
    replies(page).locator(".code").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "print(1)"
    replies(page).locator(".under").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("micro-sft: so:\n```python")
    box(page).blur()
    press(page, "y")
    expect(page.get_by_role("log")).to_contain_text("The answer was copied.")


def test_a_title_is_changed_and_a_conversation_deleted_by_keyboard(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    box(page).blur()
    press(page, "t")
    page.keyboard.type("Greetings")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Greetings")
    expect(history(page)).to_have_text(["Greetings"])
    expect(page.get_by_role("button", name="Rename")).to_be_focused()
    page.get_by_role("button", name="Delete").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("“Greetings” and everything said in it is deleted for good")
    press(page, "Escape")
    expect(page.get_by_role("button", name="Delete")).to_be_focused()
    press(page, "Enter")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What would you like to ask?")
    expect(history(page)).to_have_count(0)
    expect(box(page)).to_be_focused()


def test_a_dialog_opened_again_before_its_closing_was_told_stays_open(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    page.get_by_role("button", name="Delete").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate(
        """() => {
            const named = (one) => (one.ariaLabel ?? one.textContent).trim() === "Delete";
            const opener = [...document.querySelectorAll("button:not(dialog *)")].find(named);
            document.querySelector("dialog[open]").requestClose();
            opener.click();
        }"""
    )
    page.wait_for_timeout(200)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(history(page)).to_have_count(0)


def test_what_is_not_there_says_so(visit: Visit) -> None:
    visit.open("/c/00000000-0000-7000-8000-000000000000")
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("This conversation is not here")
    visit.forgive("404")


def test_keys_are_listed(visit: Visit) -> None:
    page = visit.page
    talk(page, "hello")
    box(page).blur()
    press(page, "?")
    dialog = page.get_by_role("dialog")
    for label in ("Search", "Edit what you said last", "The last answer was bad", "Share", "Version before"):
        expect(dialog.get_by_text(label, exact=True)).to_be_visible()
    visit.shoot("chat-keys")
    press(page, "Escape")
    press(page, "/")
    expect(box(page)).to_be_focused()


def test_two_drafts_and_a_choice_by_keys(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path, Settings(drafts_share=1.0)) as service, visiting(browser, service) as visit:
        page = visit.page
        service.echo.word_seconds = 0.02
        say(page, "Tell me of " + "Oakby " * 8)
        expect(page.get_by_text("You can choose when both are complete.")).to_be_visible()
        expect(page.get_by_role("group", name="Which one is better?")).to_be_visible()
        visit.shoot("chat-drafts")
        expect(page.get_by_role("log")).to_contain_text("press Escape to choose")
        press(page, "1", "Backspace")  # in the box it is a digit
        press(page, "Escape")
        has_focus_within(page, ".votes")
        press(page, "2")
        expect(replies(page).get_by_text("You took the second of two answers.")).to_be_visible()
        expect(replies(page)).to_have_count(1)
        expect(page.get_by_label("of 2")).to_be_visible()
        expect(box(page)).to_be_focused()
        page.reload()
        expect(replies(page).get_by_text("You took the second of two answers.")).to_be_visible()
        say(page, "and more")  # nobody has to choose: the conversation goes on
        expect(page.get_by_role("group", name="Which one is better?")).to_be_visible()
        say(page, "and on")
        expect(page.get_by_text("you did not choose between them")).to_be_visible()


@pytest.mark.parametrize(("key", "told"), [("=", "equally good"), ("0", "two answers bad")])
def test_two_releases_side_by_side_are_blind_until_the_vote(visit: Visit, key: str, told: str) -> None:
    page = visit.page
    page.get_by_label("Who answers").select_option(label="Side by side, blind")
    expect(page.get_by_label("Side by side, release 1")).to_have_value("micro-sft")
    expect(page.get_by_label("Side by side, release 2")).to_have_value("micro-base")
    say(page, "hello")
    expect(page.get_by_role("group", name="Which one is better?")).to_be_visible()
    expect(page.locator(".author")).to_have_count(0)
    press(page, "Escape", key)
    expect(replies(page).get_by_text(told)).to_contain_text(
        re.compile(r"The first was by (SFT|base), the second by (SFT|base)")
    )
    expect(page.locator(".author")).to_be_visible()


def test_a_vote_by_mouse_goes_on_from_the_answer_that_was_taken(visit: Visit) -> None:
    page = visit.page
    page.get_by_label("Who answers").select_option(label="Side by side, blind")
    say(page, "hello")
    second = page.get_by_label("Answer 2").locator(".markdown")
    expect(second).to_have_text(re.compile("micro-(sft|base): hello"))
    taken = second.inner_text()
    page.get_by_role("button", name="2 The second").click()
    sees_reply(page, taken)


def test_a_warning_a_block_and_a_withdrawn_answer(browser: Browser, tmp_path: Path) -> None:
    with (
        running(tmp_path, moderator=read_rules(STRICT)) as service,
        visiting(browser, service, NARROW) as visit,
    ):
        page = visit.page
        talk(page, "ouch")
        expect(page.locator(".said").get_by_text("This may hurt. Your message was sent on.")).to_be_visible()
        expect(page.locator(".reply .warning")).to_contain_text("The answer is shown as it was written.")
        asked = len(service.echo.asked)
        say(page, "a sharp sword")
        card = page.locator(".said .blocked")
        expect(card).to_contain_text("No weapons. The model did not get this message.")
        card.get_by_role("button", name="This is wrong").press("Enter")
        expect(card.get_by_label("Why?")).to_be_focused()
        page.keyboard.type("It was a toy.")
        card.get_by_role("button", name="Save").click()
        expect(card.get_by_role("button", name="Say more or change it")).to_be_focused()
        expect(card).to_contain_text("You said that this is wrong.")
        card.get_by_text("Details").click()
        expect(card).to_contain_text("By the rules of version test-1.")
        assert len(service.echo.asked) == asked
        page.reload()
        card.get_by_role("button", name="Say more or change it").click()
        expect(card.get_by_label("Why?")).to_have_value("It was a toy.")
        card.get_by_role("button", name="Take back").click()
        expect(card.get_by_role("button", name="This is wrong")).to_be_focused()
        page.locator(".said .warning").get_by_role("button", name="This is wrong").click()
        visit.shoot("chat-blocked")
        talk(page, "something else")
        say(page, "proudly so")
        expect(page.locator(".reply .blocked")).to_contain_text(
            "No boasting. What the model wrote is not shown."
        )
        expect(page.locator("main")).not_to_contain_text("sft: proudly")
        page.reload()
        expect(page.locator(".reply .blocked")).to_contain_text("No boasting.")
        visit.shoot("chat-withdrawn")


RICH = """# Three things

1. a **bold** word, `code`, and [a link](https://example.com/page)
2. a table

| who | where | what she has |
| --- | --- | --- |
| Mira | Oakby | a grey cat |
| Tom | Fernhill | nothing that is known |

```python
def where(name: str) -> str:
    return places[name]
```

> said by somebody

![a picture](https://elsewhere.example/picture.png)"""


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide-light", "narrow-dark"])
def test_look(browser: Browser, service: Service, size: tuple[int, int], dark: bool) -> None:
    with visiting(browser, service, size, dark=dark, user_id=service.person()) as visit:
        page = visit.page
        expect(box(page)).to_be_focused()
        visit.shoot("chat-first-visit")
        talk(page, "Where does Mira live?")
        say(page, RICH)
        expect(replies(page)).to_have_count(2)
        expect(replies(page).last).to_have_attribute("aria-busy", "false")
        page.get_by_role("button", name="Why this answer?").last.click()
        visit.shoot("chat-rich", whole=True)
        replies(page).last.get_by_role("button", name="Bad answer").click()
        page.get_by_label("false").check()
        page.get_by_label("What should it have said?").fill("Mira lives in Oakby.")
        visit.shoot("chat-feedback")
        page.get_by_role("button", name="Save").click()
        replies(page).first.hover()
        replies(page).first.get_by_role("button", name="Regenerate").click()
        expect(page.get_by_label("Version 2 of 2")).to_be_visible()
        visit.service.echo.word_seconds = 0.05
        say(page, "Tell me more of Mira, and then go !forever")
        expect(replies(page).last).to_contain_text("more more")
        visit.shoot("chat-writing")
        press(page, "Escape")
        expect(replies(page).last).to_contain_text("Stopped. What was written is kept.")
        visit.service.echo.word_seconds = 0
        say(page, "one two !break")
        expect(replies(page).last.locator(".notice")).to_be_visible()
        page.get_by_label("Who answers").select_option(label="Side by side, blind")
        visit.shoot("chat-states")


def test_in_turkish(browser: Browser, service: Service) -> None:
    with visiting(browser, service, language="tr-TR", user_id=service.person()) as visit:
        page = visit.page
        expect(page.get_by_role("heading", name="Bu bir ön izleme")).to_be_visible()
        page.keyboard.type("Mira nerede yaşıyor?")
        press(page, "Enter")
        sees_reply(page, "micro-sft: Mira nerede yaşıyor?")
        expect(page.get_by_role("button", name="Yeniden yaz")).to_be_visible()
        visit.shoot("chat-turkish")
