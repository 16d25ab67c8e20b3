"""The releases' screen in a real browser: who stands where, promoting, rolling back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from parley.ports import ReleaseInfo
from tests.databases import only

from .conftest import BASE, PPO, SFT, Service, running
from .visiting import NARROW, WIDE, Visit, visiting

pytestmark = only("sqlite")


def row(visit: Visit, label: str) -> Locator:
    return visit.page.get_by_role("listitem").filter(
        has=visit.page.get_by_role("heading", name=label, exact=True)
    )


@pytest.fixture
def three(service: Service) -> Service:
    service.echo.cut = [BASE, SFT, PPO]
    return service


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service whose decisions are its own."""
    with running(tmp_path) as service:
        service.echo.cut = [BASE, SFT, PPO]
        yield service


def test_releases_stand_newest_first_with_state_and_who_answers(three: Service, visit: Visit) -> None:
    visit.open("/releases")
    expect(visit.page.get_by_role("heading", level=2)).to_have_text(["PPO 1", "SFT", "base"])
    expect(row(visit, "PPO 1")).to_contain_text("answers by default")
    expect(row(visit, "SFT")).not_to_contain_text("answers by default")
    row(visit, "SFT").get_by_role("link", name="Talk to it").click()
    expect(visit.page).to_have_url(f"{visit.service.url}/?release={SFT.name}")


def test_promote_and_roll_back_by_keyboard_with_a_plain_confirmation(browser: Browser, own: Service) -> None:
    with visiting(browser, own) as visit:
        page = visit.page
        visit.open("/releases")
        page.get_by_role("button", name="Promote SFT").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Promote SFT?")
        expect(dialog).to_contain_text("It takes effect with the next message")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("button", name="Promote SFT")).to_be_focused()
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Make it live").press("Enter")
        expect(row(visit, "SFT")).to_contain_text("answers by default")
        expect(page.get_by_role("log")).to_contain_text("SFT is live now.")
        page.get_by_role("button", name="Promote base").press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Make it live").press("Enter")
        expect(row(visit, "base")).to_contain_text("answers by default")
        page.get_by_role("button", name="Roll back base").press("Enter")
        dialog = page.get_by_role("dialog", name="Roll back base?")
        expect(dialog).to_contain_text("the release that was live before it answers again")
        dialog.get_by_role("button", name="Roll back").press("Enter")
        expect(row(visit, "SFT")).to_contain_text("answers by default")
        expect(row(visit, "base")).to_contain_text("retired")
        row(visit, "base").get_by_role("button", name="Details of base").click()
        expect(row(visit, "base")).to_contain_text("rolled back, retired since")


def test_a_canary_gets_its_share(browser: Browser, own: Service) -> None:
    with visiting(browser, own) as visit:
        visit.open("/releases")
        visit.page.get_by_role("button", name="Promote SFT").click()
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_role("radio", name="canary").check()
        dialog.get_by_label("Share of the people, in per cent").fill("25")
        dialog.get_by_role("button", name="Make it canary").click()
        expect(row(visit, "SFT")).to_contain_text("25 % of the people")


def test_what_cannot_be_taken_back_is_said_in_the_dialog(browser: Browser, own: Service) -> None:
    own.echo.cut = [BASE]
    with visiting(browser, own) as visit:
        visit.open("/releases")
        visit.page.get_by_role("button", name="Roll back base").click()
        visit.page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(visit.page.get_by_role("alert")).to_contain_text("No other release is live")
        visit.forgive("409")


HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def test_hostile_names_are_text(browser: Browser, own: Service) -> None:
    own.echo.cut = [
        ReleaseInfo(HOSTILE.replace("/", ""), HOSTILE, HOSTILE, 1),
        ReleaseInfo("b", HOSTILE, HOSTILE, 2),
    ]
    with visiting(browser, own) as visit:
        visit.open("/releases")
        visit.page.get_by_role("button", name="Details of").last.click()
        expect(visit.page.get_by_role("listitem").last).to_contain_text(HOSTILE)
        visit.page.get_by_role("button", name="Promote").last.click()
        expect(visit.page.get_by_role("dialog")).to_contain_text("<img src=x onerror=")
        visit.open("/compare")
        expect(visit.page.get_by_role("checkbox").last).to_be_attached()
        assert visit.page.locator("main img, main script").count() == 0
        assert visit.page.title() == "Compare · parley"


def test_who_is_not_the_owner_decides_nothing(browser: Browser, three: Service) -> None:
    with visiting(browser, three, user_id=three.person("user")) as visit:
        visit.open("/releases")
        expect(visit.page.get_by_text("Promoting and rolling back is the owner’s.")).to_be_visible()
        expect(visit.page.get_by_role("button", name="Promote")).to_have_count(0)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pictures_of_the_releases(
    browser: Browser, three: Service, size: tuple[int, int], dark: bool
) -> None:
    with visiting(browser, three, size, dark=dark) as visit:
        visit.open("/releases")
        visit.page.get_by_role("button", name="Details of PPO 1").click()
        expect(visit.page.get_by_text("Nobody decided anything about it yet.")).to_be_visible()
        visit.shoot("releases")
        visit.page.get_by_role("button", name="Promote SFT").click()
        visit.page.get_by_role("radio", name="canary").check()
        visit.shoot("releases-promote")
