"""The run's page and comparing, in a real browser, over files that a run would leave."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from parley.cli.progress import FileRunView
from parley.ports import ReleaseInfo

from .conftest import Service, wait_until
from .run_files import RunFiles, exchange, finish, until_sft
from .visiting import CONTRAST, NARROW, WIDE, Visit, visiting

STAGES = ("base", "sft", "ppo-1", "ppo-2")
CUT = [
    ReleaseInfo(f"microworld-{stage}", stage, "microworld", 1_700_000_000 + n)
    for n, stage in enumerate(STAGES)
]
QUESTION = "Where does Mira live?"


@pytest.fixture
def files(service: Service, tmp_path: Path) -> RunFiles:
    """A run half way, shown by the service; base and SFT can be talked to."""
    made = until_sft(tmp_path / "microworld")
    service.progress.files = FileRunView(made.path, "microworld")
    service.echo.cut = CUT[:2]
    return made


def open_run(visit: Visit) -> None:
    visit.page.goto(f"{visit.service.url}/run")
    expect(visit.page.locator("#ladder-box > *")).not_to_have_count(0)


def test_the_panel_leads_to_the_run(visit: Visit, files: RunFiles) -> None:
    visit.page.reload()
    visit.page.get_by_role("link", name="Charts, ladder and answers").click()
    expect(visit.page.get_by_role("heading", level=2)).to_have_text("microworld")
    expect(visit.page.locator("#made-with")).to_have_text("seed 7 · cpu · 2 threads")
    expect(visit.page.locator("#left")).to_have_text("3 min 12 s left")


def test_what_is_not_measured_yet_says_when_it_comes(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    page = visit.page
    expect(page.locator("#accuracy")).to_contain_text("Appears when the first reward model has been trained.")
    expect(page.locator("#clouds")).to_contain_text("Appears with the first steps of PPO 1.")
    expect(page.locator("#gold svg")).to_have_attribute(
        "aria-label", "Gold reward by stage: base sampled −1.00, base greedy −0.90"
    )
    expect(page.locator(".step", has_text="SFT")).to_contain_text("measuring 40 %")
    expect(page.locator("#answers")).to_contain_text("appears when SFT has been measured")
    expect(page.get_by_role("row", name=re.compile("^admit"))).to_contain_text("10")


def test_without_a_run_the_page_says_how_to_start_one(visit: Visit) -> None:
    visit.page.goto(f"{visit.service.url}/run")
    expect(visit.page.get_by_role("heading", level=2)).to_have_text("No run yet")
    expect(visit.page.locator("#made-with")).to_contain_text("starts one")
    expect(visit.page.locator("#ladder")).to_be_hidden()


def test_everything_fills_in_while_the_run_goes(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    page = visit.page
    page.get_by_text("greedy", exact=True).last.click()
    finish(files)
    visit.service.echo.cut = CUT[:3]
    expect(page.locator("#left")).to_contain_text("done in")
    expect(page.locator("#gold svg")).to_have_attribute("aria-label", re.compile("PPO 1 sampled 0.60"))
    expect(page.locator("#accuracy svg")).to_have_attribute(
        "aria-label", "Accuracy over all rankings: reward 1 88 %"
    )
    expect(page.locator("#clouds svg circle.speck.gold")).to_have_count(22)
    expect(page.locator("#losses svg")).to_have_count(4)
    expect(page.get_by_role("radio", name="greedy")).to_be_checked()
    cells = page.get_by_role("row", name=re.compile("^gold reward")).get_by_role("cell")
    expect(cells).to_have_text([re.compile("−0.90"), re.compile("−0.10"), re.compile("0.70")])
    replies = page.locator("#answers .row .reply")
    expect(replies).to_have_text(
        ["1 has a job", "Mira lives in Holm. I hope this helps.", "Mira lives in Oakby."]
    )
    expect(page.locator("#news")).to_contain_text("Finished:")


def test_talk_to_it_opens_the_chat_with_that_stage(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    visit.page.locator("#steps").get_by_role("link", name="Talk to base").click()
    expect(visit.page.get_by_role("radio", name="base")).to_be_checked()
    assert visit.page.url == f"{visit.service.url}/"
    visit.say("hello")
    visit.sees_reply("microworld-base: hello")


HOSTILE = '<img src=x onerror="document.title=1"><svg onload="document.title=2"></svg><script>document.title=3</script>'


def test_hostile_text_of_a_run_is_text(visit: Visit, files: RunFiles) -> None:
    finish(files)
    files.evaluation("base", -1.0, 0.1, [exchange(HOSTILE, HOSTILE, kind=HOSTILE)])
    report = files.directory("evaluate_base") / "report.json"
    report.write_text(report.read_text().replace("admit", json.dumps(HOSTILE)[1:-1]))
    open_run(visit)
    expect(visit.page.locator("#answers .reply").first).to_have_text(HOSTILE)
    expect(visit.page.locator("#ladder-box")).to_contain_text(HOSTILE)
    assert visit.page.locator("main img, main script, #answers svg, #ladder svg").count() == 0
    assert visit.page.title() == "Run · parley"


def test_the_run_by_keyboard(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    reached = set()
    for _ in range(12):
        visit.page.keyboard.press("Tab")
        reached.add(
            visit.page.evaluate(
                "(({id, value, innerText}) => id || value || innerText)(document.activeElement)"
            )
        )
    assert {"Skip to the ladder", "Chat", "talk to it", "T=0.7", "ladder-box"} <= reached


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures_of_the_run(
    browser: Browser, service: Service, files: RunFiles, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    """Nothing overflows, all text has contrast; and pictures to look at."""
    name = f"{'wide' if size == WIDE else 'narrow'}-{'dark' if dark else 'light'}"
    folder = Path(os.environ.get("PARLEY_PICTURES") or tmp_path)
    with visiting(browser, service, size, dark=dark) as visit:
        for what in ("half", "done"):
            if what == "done":
                finish(files)
            open_run(visit)
            expect(visit.page.locator("#gold svg")).to_be_visible()
            visit.page.screenshot(path=folder / f"{name}-run-{what}.png", full_page=True)
            assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what
            assert visit.page.evaluate(CONTRAST) == []


# Comparing


def compare(visit: Visit) -> None:
    visit.service.echo.cut = list(CUT)
    visit.page.reload()
    visit.page.get_by_role("button", name="Compare").click()


def answers(visit: Visit) -> list[str]:
    return visit.page.locator(".round").last.locator(".turn.reply.done .text").all_inner_texts()


def test_one_question_every_stage_answers_and_a_follow_up(visit: Visit) -> None:
    compare(visit)
    expect(visit.page.get_by_text("Your message goes to base, SFT, PPO 1 and PPO 2.")).to_be_visible()
    visit.say(QUESTION)
    wait_until(lambda: answers(visit) == [f"{one.name}: {QUESTION}" for one in CUT])
    expect(visit.page.locator(".answers .by")).to_have_text(["base", "SFT", "PPO 1", "PPO 2"])
    visit.service.echo.asked.clear()
    visit.say("And her pet?")
    wait_until(lambda: answers(visit) == [f"{one.name}: And her pet?" for one in CUT])
    asked = {
        release: [message.text for message in talk.messages] for talk, _, release in visit.service.echo.asked
    }
    assert asked == {one.name: [QUESTION, f"{one.name}: {QUESTION}", "And her pet?"] for one in CUT}
    tops = {
        round(box["y"])
        for one in visit.page.locator(".round").last.locator(".reply").all()
        if (box := one.bounding_box())
    }
    assert len(tops) == 1  # side by side


def test_answers_are_streamed_and_stop_stops_all(visit: Visit) -> None:
    compare(visit)
    visit.say("go !forever")
    for cell in visit.page.locator(".answers .text").all():
        expect(cell).to_contain_text("more more")
    visit.page.get_by_role("button", name="Stop").click()
    expect(visit.page.locator(".answers .ended")).to_have_text(["stopped"] * 4)
    wait_until(lambda: visit.service.echo.closed == 4)


def test_comparing_and_its_answers_survive_a_reload(visit: Visit) -> None:
    compare(visit)
    visit.say(QUESTION)
    wait_until(lambda: len(answers(visit)) == 4)
    visit.page.reload()
    expect(visit.page.get_by_role("button", name="Compare")).to_have_attribute("aria-pressed", "true")
    expect(visit.page.locator(".round .turn.reply.done")).to_have_count(4)
    visit.page.get_by_role("button", name="New chat").click()
    expect(visit.page.locator(".round")).to_have_count(0)


def test_the_key_c_switches_and_each_mode_keeps_its_own(visit: Visit) -> None:
    visit.service.echo.cut = list(CUT)
    visit.page.reload()
    visit.say("cc")
    visit.sees_reply("microworld-ppo-2: cc")
    box = visit.page.get_by_label("Message parley")
    box.press("c")
    expect(box).to_have_value("c")
    toggle = visit.page.get_by_role("button", name="Compare")
    visit.page.locator("#scroller").focus()
    visit.page.keyboard.press("c")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(visit.page.locator(".turn:visible")).to_have_count(0)
    visit.page.keyboard.press("c")
    visit.sees_reply("microworld-ppo-2: cc")


def test_one_stage_that_fails_leaves_the_others(browser: Browser, service: Service) -> None:
    with visiting(browser, service) as visit:
        compare(visit)
        visit.page.evaluate("document.querySelector('#compared').textContent")  # all four are known
        service.echo.cut.pop()
        visit.say(QUESTION)
        expect(visit.page.get_by_role("alert")).to_contain_text("The other answers are kept")
        assert [text for text in answers(visit) if text] == [f"{one.name}: {QUESTION}" for one in CUT[:3]]
        visit.complaints.clear()  # the browser's own line on the 404


def test_a_question_that_nobody_answered_is_back_in_the_box(browser: Browser, service: Service) -> None:
    with visiting(browser, service) as visit:
        compare(visit)
        expect(visit.page.get_by_label("Message parley")).to_be_enabled()
        service.echo.cut = [ReleaseInfo("other", "other", "other", 1)]
        visit.say(QUESTION)
        expect(visit.page.get_by_role("alert")).to_contain_text("Your message is back in the box")
        expect(visit.page.get_by_label("Message parley")).to_have_value(QUESTION)
        visit.complaints.clear()


def test_no_comparing_where_there_is_one_release(visit: Visit) -> None:
    visit.service.echo.cut = CUT[:1]
    visit.page.reload()
    expect(visit.page.get_by_role("radio", name="base")).to_be_checked()
    expect(visit.page.get_by_role("button", name="Compare")).to_be_hidden()


def test_only_the_newest_run_is_compared(visit: Visit) -> None:
    visit.service.echo.cut = [ReleaseInfo("older", "sft", "other", 1), *CUT]
    visit.page.reload()
    visit.page.get_by_role("button", name="Compare").click()
    visit.say(QUESTION)
    wait_until(lambda: len(answers(visit)) == 4)
    assert {release for _, _, release in visit.service.echo.asked} == {one.name for one in CUT}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures_of_comparing(
    browser: Browser, service: Service, files: RunFiles, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    name = f"{'wide' if size == WIDE else 'narrow'}-{'dark' if dark else 'light'}"
    folder = Path(os.environ.get("PARLEY_PICTURES") or tmp_path)
    with visiting(browser, service, size, dark=dark) as visit:
        compare(visit)
        visit.page.screenshot(path=folder / f"{name}-compare-empty.png")
        visit.say(QUESTION)
        wait_until(lambda: len(answers(visit)) == 4)
        visit.say("And what is her pet? Tell me in one sentence, please, and say how you know. !forever")
        expect(visit.page.locator(".answers .text").last).to_contain_text("more more")
        visit.page.screenshot(path=folder / f"{name}-compare.png")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert visit.page.evaluate(CONTRAST) == []
        visit.page.keyboard.press("Escape")
        expect(visit.page.locator(".turn.writing")).to_have_count(0)
