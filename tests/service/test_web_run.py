"""The run's screen in a real browser, over files that a run would leave."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from parley.cli.progress import FileRunView
from parley.ports import ReleaseInfo
from tests.databases import only

from .conftest import Service
from .run_files import RunFiles, exchange, finish, until_sft
from .visiting import NARROW, WIDE, Visit, visiting

pytestmark = only("sqlite")

STAGES = ("base", "sft", "ppo-1", "ppo-2")
CUT = [
    ReleaseInfo(f"microworld-{stage}", stage, "microworld", 1_700_000_000 + n)
    for n, stage in enumerate(STAGES)
]


@pytest.fixture
def files(service: Service, tmp_path: Path) -> RunFiles:
    """A run half way, shown by the service; base and SFT can be talked to."""
    made = until_sft(tmp_path / "microworld")
    service.progress.files = FileRunView(made.path, "microworld")
    service.echo.cut = CUT[:2]
    return made


def open_run(visit: Visit) -> None:
    visit.open("/run")
    expect(visit.page.locator("#ladder table, #ladder .empty")).to_be_visible()


def card(visit: Visit, title: str) -> Locator:
    return visit.page.get_by_role("figure").filter(has=visit.page.get_by_role("heading", name=title))


def test_before_a_release_is_live_the_first_page_shows_the_run(
    browser: Browser, service: Service, files: RunFiles
) -> None:
    service.echo.cut = []
    with visiting(browser, service) as visit:
        assert visit.page.url == f"{service.url}/"
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("microworld")
        expect(visit.page.get_by_text("Its first version can be talked to here")).to_be_visible()
        service.echo.cut = CUT[:1]
        expect(visit.page.get_by_role("textbox")).to_be_focused(timeout=10_000)


def test_the_head_says_what_is_made_and_how_long_it_takes(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("microworld")
    expect(visit.page.get_by_text("seed 7 · cpu · 2 threads")).to_be_visible()
    expect(visit.page.locator(".head .left")).to_have_text(re.compile(r"3\smin 12\ss left"))
    assert re.search(r"3\smin 12\ss left · parley", visit.page.title())


def test_what_is_not_measured_yet_says_when_it_comes(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    page = visit.page
    expect(card(visit, "Does the reward model prefer")).to_contain_text(
        "Appears when the first reward model has been trained."
    )
    expect(card(visit, "PPO 1").first).to_contain_text("Appears with the first steps of PPO 1.")
    expect(card(visit, "Gold reward").get_by_role("img")).to_have_accessible_name(
        "Gold reward by stage: base sampled −1.00, base greedy −0.90"
    )
    expect(page.get_by_role("listitem").filter(has_text="SFT")).to_contain_text(
        re.compile(r"measuring 40\s%")
    )
    expect(page.get_by_role("progressbar", name="SFT, measuring")).to_have_js_property("value", 40)
    expect(page.locator("#answers")).to_contain_text("appears when SFT has been measured")
    expect(page.get_by_role("row", name=re.compile("^admit"))).to_contain_text("10")


def test_without_a_run_the_page_says_how_to_start_one(visit: Visit) -> None:
    visit.open("/run")
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("No run yet")
    expect(visit.page.get_by_text("“parley up” in a terminal starts one")).to_be_visible()
    expect(visit.page.locator("#ladder")).to_have_count(0)


def test_everything_fills_in_while_the_run_goes(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    page = visit.page
    page.locator("#ladder").get_by_text("greedy", exact=True).click()
    finish(files)
    visit.service.echo.cut = CUT[:3]
    expect(page.locator(".head .left")).to_contain_text("done in")
    expect(card(visit, "Gold reward").get_by_role("img")).to_have_accessible_name(
        re.compile("PPO 1 sampled 0.60")
    )
    expect(card(visit, "Does the reward model prefer").get_by_role("img")).to_have_accessible_name(
        "Accuracy over all rankings: reward 1 88 %"
    )
    expect(page.locator("circle.speck.gold")).to_have_count(22)
    losses = page.get_by_role("region", name="Losses").or_(
        page.locator("section[aria-labelledby=loss-title]")
    )
    expect(losses.get_by_role("img")).to_have_count(4)
    expect(page.get_by_role("radio", name="greedy")).to_be_checked()
    cells = page.get_by_role("row", name=re.compile("^gold reward")).get_by_role("cell")
    expect(cells).to_have_text([re.compile("−0.90"), re.compile("−0.10"), re.compile("0.70")])
    expect(page.locator("#answers .row .reply")).to_have_text(
        ["1 has a job", "Mira lives in Holm. I hope this helps.", "Mira lives in Oakby."]
    )
    expect(page.get_by_role("log")).to_contain_text("Finished:")


def test_numbers_lead_to_where_they_come_from(visit: Visit, files: RunFiles) -> None:
    finish(files)
    open_run(visit)
    visit.page.get_by_text("Where these numbers come from").click()
    row = visit.page.get_by_role("row", name=re.compile("^reward 1"))
    expect(row).to_contain_text("reward-1-0123456789ab")


def test_talk_to_it_opens_the_chat_with_that_stage(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    visit.page.get_by_role("list", name="Stages").get_by_role("link", name="Talk to base").click()
    expect(visit.page).to_have_url(f"{visit.service.url}/?release=microworld-base")
    expect(visit.page.get_by_role("textbox")).to_be_focused()


HOSTILE = '<img src=x onerror="document.title=1"><svg onload="document.title=2"></svg><script>document.title=3</script>'


def test_hostile_text_of_a_run_is_text(visit: Visit, files: RunFiles) -> None:
    finish(files)
    files.evaluation("base", -1.0, 0.1, [exchange(HOSTILE, HOSTILE, kind=HOSTILE)])
    report = files.directory("evaluate_base") / "report.json"
    report.write_text(report.read_text().replace("admit", json.dumps(HOSTILE)[1:-1]))
    open_run(visit)
    expect(visit.page.locator("#answers .reply").first).to_have_text(HOSTILE)
    expect(visit.page.locator("#ladder")).to_contain_text(HOSTILE)
    assert visit.page.locator("main img, main script, #answers svg, #ladder svg").count() == 0
    assert visit.page.title() == "Run · parley"


def test_the_run_by_keyboard(visit: Visit, files: RunFiles) -> None:
    open_run(visit)
    reached = set()
    for _ in range(25):
        visit.page.keyboard.press("Tab")
        reached.add(
            visit.page.evaluate(
                "(({value, innerText, ariaLabel}) => ariaLabel || value || innerText)(document.activeElement)"
            )
        )
    assert {"Skip to the content", "Talk to base", "T=0.7", "Where these numbers come from"} <= reached
    visit.page.get_by_role("radio", name="sampled").focus()
    visit.page.keyboard.press("ArrowRight")
    expect(visit.page.get_by_role("radio", name="greedy")).to_be_checked()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures_of_the_run(
    browser: Browser, service: Service, files: RunFiles, size: tuple[int, int], dark: bool
) -> None:
    with visiting(browser, service, size, dark=dark) as visit:
        for what in ("half", "done"):
            if what == "done":
                finish(files)
            open_run(visit)
            expect(card(visit, "Gold reward").get_by_role("img")).to_be_visible()
            visit.shoot(f"run-{what}", whole=True)
