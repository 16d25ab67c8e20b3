"""Releases over HTTP: which answers, promoting, rolling back, the card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from parley.errors import NotFound
from parley.service.common.release_view import Parent, ReleaseDetails
from parley.service.common.settings import Settings

from .conftest import BASE, PPO, SFT, Service, running
from .talking import Json, answered, begin

SHOWN = ReleaseDetails(
    "micro-sft", "c" * 64, "d" * 64, (Parent("b" * 64, "micro-base"),), {"gold": 0.5}, 7, "abc", 1
)


class Shelf:
    """A card for one release."""

    def details(self, name: str) -> ReleaseDetails:
        if name != SFT.name:
            raise NotFound(f"nothing of {name}")
        return SHOWN

    def card(self, name: str) -> str:
        return f"<!doctype html><title>{self.details(name).name}</title><script>alert(1)</script>"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Service]:
    """A service in which nobody decided anything yet."""
    with running(tmp_path, release_view=Shelf()) as started:
        started.echo.cut = [BASE, SFT, PPO]
        yield started


def listed(http: httpx.Client) -> dict[str, tuple[str, bool]]:
    found = http.get("/api/releases").json()["releases"]
    return {one["stage"]: (one["state"], one["is_default"]) for one in found}


def post(http: httpx.Client, name: str, action: str, body: Json | None = None) -> httpx.Response:
    return http.post(f"/api/releases/{name}/{action}", json=body or {})


def who_answers(http: httpx.Client) -> str:
    release: str = answered(http, begin(http)["id"], "hello")["author"]["release"]
    return release


def test_promoting_and_rolling_back_decide_who_answers_the_next_turn(fresh: Service) -> None:
    with fresh.browser() as http:
        assert who_answers(http) == PPO.name
        assert post(http, SFT.name, "promote").status_code == 200
        assert who_answers(http) == SFT.name
        post(http, PPO.name, "promote")
        assert listed(http) == {"base": ("candidate", False), "sft": ("live", False), "ppo-1": ("live", True)}
        back = post(http, PPO.name, "rollback")
        assert [one["state"] for one in back.json()["releases"]] == ["candidate", "live", "retired"]
        assert who_answers(http) == SFT.name


def test_a_release_cut_later_waits_once_somebody_decided(fresh: Service) -> None:
    with fresh.browser() as http:
        fresh.echo.cut = [BASE]
        assert who_answers(http) == BASE.name
        fresh.echo.cut = [BASE, SFT]
        assert who_answers(http) == SFT.name
        post(http, BASE.name, "promote")
        fresh.echo.cut = [BASE, SFT, PPO]
        assert who_answers(http) == BASE.name


def test_the_command_line_stands_over_what_was_promoted(tmp_path: Path) -> None:
    with running(tmp_path, replace(Settings(), release=BASE.name)) as service, service.browser() as http:
        post(http, SFT.name, "promote")
        assert who_answers(http) == BASE.name
        assert listed(http) == {"base": ("candidate", True), "sft": ("live", False)}


def test_a_canary_is_asked_for_with_its_share(fresh: Service) -> None:
    with fresh.browser() as http:
        post(http, SFT.name, "promote")
        assert post(http, PPO.name, "promote", {"state": "canary"}).status_code == 400
        assert 400 <= post(http, PPO.name, "promote", {"state": "canary", "share": 2}).status_code < 500
        answer = post(http, PPO.name, "promote", {"state": "canary", "share": 0.999999})
        assert answer.json()["releases"][2]["share"] == 0.999999
        assert who_answers(http) == PPO.name
        assert post(http, PPO.name, "rollback").status_code == 200
        assert who_answers(http) == SFT.name


def test_nothing_to_roll_back_is_said(fresh: Service) -> None:
    fresh.echo.cut = [SFT]
    with fresh.browser() as http:
        answer = post(http, SFT.name, "rollback")
        assert answer.status_code == 409
        assert "No other release is live" in answer.json()["error"]["message"]
        assert listed(http) == {"sft": ("live", True)}
        assert post(http, "nothing", "promote").status_code == 404


def test_only_the_owner_promotes_and_everybody_sees(fresh: Service) -> None:
    with fresh.browser(fresh.person("user", "trainer", "moderator")) as http:
        assert listed(http)["sft"] == ("live", False)
        for action in ("promote", "rollback"):
            assert post(http, SFT.name, action).status_code == 403
        assert listed(http)["sft"] == ("live", False)


def test_details_tell_lineage_figures_and_history(fresh: Service) -> None:
    with fresh.browser() as http:
        post(http, SFT.name, "promote")
        told = http.get(f"/api/releases/{SFT.name}").json()
        unknown = http.get(f"/api/releases/{PPO.name}").json()
        assert http.get("/api/releases/nothing").status_code == 404
    assert (told["checkpoint"], told["figures"], told["seed"]) == (SHOWN.checkpoint, {"gold": 0.5}, 7)
    assert told["parents"] == [{"digest": "b" * 64, "release": "micro-base"}]
    assert [(one["action"], one["state"], one["default"]) for one in told["history"]] == [
        ("promote", "live", SFT.name)
    ]
    assert (unknown["release"]["card"], unknown["checkpoint"], unknown["figures"]) == (None, None, {})


def test_a_card_is_shown_in_a_sandbox(fresh: Service) -> None:
    with fresh.browser() as http:
        address = http.get("/api/releases").json()["releases"][1]["card"]
        answer = http.get(address)
        assert http.get(f"/api/releases/{PPO.name}/card").status_code == 404
        assert http.get("/api/releases/nothing/card").status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox;" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
