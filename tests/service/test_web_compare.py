"""Comparing in a real browser: releases in columns under one box, each with a conversation of its own."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from parley.ports import ReleaseInfo
from tests.databases import only

from .conftest import Service, wait_until
from .visiting import NARROW, WIDE, Visit, visiting

pytestmark = only("sqlite")

STAGES = ("base", "sft", "ppo-1", "ppo-2")
CUT = [ReleaseInfo(f"world-{stage}", stage, "world", 1_700_000_000 + n) for n, stage in enumerate(STAGES)]
QUESTION = "Where does Mira live?"


@pytest.fixture
def four(service: Service) -> Service:
    service.echo.cut = list(CUT)
    return service


def ask(visit: Visit, text: str) -> None:
    visit.page.get_by_label("Message all of them").fill(text)
    visit.page.keyboard.press("Enter")


def answers(visit: Visit) -> Locator:
    return visit.page.locator(".rounds > li").last.get_by_role("article")


def sees(visit: Visit, *texts: str) -> None:
    expect(answers(visit).locator(".markdown")).to_have_text(list(texts))


def test_one_question_every_stage_answers_and_a_follow_up(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("One question, every stage answers")
    ask(visit, QUESTION)
    sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))
    expect(visit.page.get_by_role("heading", level=3)).to_have_text(["base", "SFT", "PPO 1", "PPO 2"])
    four.echo.asked.clear()
    ask(visit, "And her pet?")
    sees(visit, *(f"{one.name}: And her pet?" for one in CUT))
    asked = {release: [message.text for message in talk.messages] for talk, _, release in four.echo.asked}
    assert asked == {one.name: [QUESTION, f"{one.name}: {QUESTION}", "And her pet?"] for one in CUT}
    tops = {round(box["y"]) for one in answers(visit).all() if (box := one.bounding_box())}
    assert len(tops) == 1  # side by side
    expect(visit.page.get_by_role("log")).to_contain_text("PPO 2: world-ppo-2: And her pet?")


def test_answers_are_streamed_and_stop_stops_all(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    ask(visit, "go !forever")
    expect(answers(visit).filter(has_text="more more")).to_have_count(4)
    visit.page.get_by_role("button", name="Stop").click()
    expect(visit.page.get_by_role("button", name="Send")).to_be_visible()
    wait_until(lambda: four.echo.closed == 4)
    expect(answers(visit).get_by_text(re.compile("stopped", re.I))).to_have_count(4)


def test_stop_also_stops_what_is_only_being_asked_for(four: Service, visit: Visit) -> None:
    visit.open("/compare")

    def late(route: Route) -> None:
        visit.page.wait_for_timeout(300)
        route.continue_()

    visit.page.route("**/turns", late)
    ask(visit, "go !forever")
    visit.page.get_by_role("button", name="Stop").click()
    expect(answers(visit).get_by_text(re.compile("stopped", re.I))).to_have_count(4)
    wait_until(lambda: four.echo.closed == 4)


def test_a_comparison_survives_a_reload_also_while_it_is_written(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    four.echo.word_seconds = 0.15
    ask(visit, "one two three four five six seven eight")
    expect(answers(visit).first).to_contain_text("one")
    assert "group=" in visit.page.url
    visit.page.reload()
    sees(visit, *(f"{one.name}: one two three four five six seven eight" for one in CUT))
    expect(visit.page.get_by_role("heading", level=3)).to_have_text(["base", "SFT", "PPO 1", "PPO 2"])


def test_earlier_comparisons_are_listed_and_can_be_deleted(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    ask(visit, QUESTION)
    sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))
    visit.page.get_by_role("link", name="New comparison").click()
    expect(visit.page.get_by_role("article")).to_have_count(0)
    visit.page.get_by_role("link", name=QUESTION).click()
    sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))
    visit.page.get_by_role("button", name="Delete…").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("One question, every stage answers")
    expect(visit.page.get_by_role("link", name=QUESTION)).to_have_count(0)


def test_who_is_asked_can_be_chosen_by_keyboard(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    for label in ("base", "PPO 1"):
        visit.page.get_by_role("checkbox", name=label).press("Space")
    ask(visit, QUESTION)
    sees(visit, f"world-sft: {QUESTION}", f"world-ppo-2: {QUESTION}")


def test_at_first_the_newest_run_is_compared(four: Service, visit: Visit) -> None:
    four.echo.cut.insert(0, ReleaseInfo("older", "sft", "other", 1))
    visit.open("/compare")
    expect(visit.page.get_by_role("checkbox")).to_have_count(5)
    ask(visit, QUESTION)
    sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))


def test_more_columns_than_may_be_written_at_once_take_turns(four: Service, visit: Visit) -> None:
    four.echo.cut += [ReleaseInfo(f"world-ppo-{n}", f"ppo-{n}", "world", 1_700_000_010 + n) for n in (3, 4)]
    visit.open("/compare")
    ask(visit, QUESTION)
    sees(visit, *(f"{one.name}: {QUESTION}" for one in four.echo.cut))


def test_one_stage_that_is_gone_leaves_the_others_and_can_be_asked_again(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    ask(visit, QUESTION)
    sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))
    gone = four.echo.cut.pop()
    ask(visit, "And her pet?")
    sees(visit, *(f"{one.name}: And her pet?" for one in CUT[:3]))
    expect(answers(visit).last).to_contain_text("was not asked this")
    four.echo.cut.append(gone)
    answers(visit).last.get_by_role("button", name=re.compile("Ask .* this")).click()
    sees(visit, *(f"{one.name}: And her pet?" for one in CUT))
    visit.forgive("404")


def test_a_question_that_nobody_can_answer_is_back_in_the_box(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    expect(visit.page.get_by_role("checkbox")).to_have_count(4)
    four.echo.cut = [ReleaseInfo("other", "other", "other", 1)]
    ask(visit, QUESTION)
    expect(visit.page.get_by_role("alert")).to_contain_text("Your message is back in the box")
    expect(visit.page.get_by_label("Message all of them")).to_have_value(QUESTION)
    visit.forgive("404")


def test_where_there_is_one_release_the_page_says_so(service: Service, visit: Visit) -> None:
    service.echo.cut = CUT[:1]
    visit.open("/compare")
    expect(visit.page.get_by_text("Comparing needs two releases")).to_be_visible()


def test_a_column_goes_on_alone(four: Service, visit: Visit) -> None:
    visit.open("/compare")
    ask(visit, QUESTION)
    sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))
    visit.page.get_by_role("link", name="Go on with SFT alone").click()
    expect(visit.page).to_have_url(re.compile("/c/"))
    expect(visit.page.get_by_text(f"world-sft: {QUESTION}", exact=True)).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures_of_comparing(browser: Browser, four: Service, size: tuple[int, int], dark: bool) -> None:
    with visiting(browser, four, size, dark=dark, user_id=four.person("user")) as visit:
        visit.open("/compare")
        expect(visit.page.get_by_role("checkbox")).to_have_count(4)
        visit.shoot("compare-empty")
        ask(visit, QUESTION)
        sees(visit, *(f"{one.name}: {QUESTION}" for one in CUT))
        ask(visit, "And what is her pet? Tell me in one sentence, and say how you know. !forever")
        expect(answers(visit).last).to_contain_text("more more")
        visit.page.get_by_role("button", name="Stop").click()
        expect(visit.page.get_by_role("button", name="Send")).to_be_visible()
        visit.shoot("compare")
