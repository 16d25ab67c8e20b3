"""Health, readiness, the run, and what the page asks for."""

from __future__ import annotations

import math
from pathlib import Path

import httpx
import pytest

from parley.ports import ReleaseInfo
from parley.service.chat.labels import labels, stage_label
from parley.service.common.run_view import RunStatus
from parley.store.database import close_database

from .conftest import BASE, PPO, SFT, Service, running, stage


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=10)


def test_alive_and_ready(service: Service) -> None:
    assert get(f"{service.url}/healthz").json() == {"status": "ok"}
    assert get(f"{service.url}/readyz").json() == {"ready": True, "reason": ""}


def test_not_ready_without_a_release(service: Service) -> None:
    service.echo.cut = []
    answer = get(f"{service.url}/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "there is no release yet")


def test_not_ready_without_the_database(tmp_path: Path) -> None:
    with running(tmp_path / "home") as service:
        close_database(service.sessions)
        service.home.rename(tmp_path / "moved")
        answer = get(f"{service.url}/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the database cannot be read")


def test_the_schema_is_served_and_needs_nobody_elses_server(service: Service) -> None:
    schema = get(f"{service.url}/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/models", "/api/conversations", "/api/run"} <= set(schema["paths"])
    assert get(f"{service.url}/docs").status_code == 404


def test_the_run_as_the_page_reads_it(service: Service) -> None:
    stages = (stage("base", "done", 100, loss=1.5), stage("sft", "running", 40, loss=math.nan))
    service.progress.now = RunStatus("micro-world", "running", stages, 192.0, "")
    with service.browser() as http:
        run = http.get("/api/run").json()
    assert (run["recipe"], run["state"], run["remaining_seconds"]) == ("micro-world", "running", 192.0)
    assert [(s["name"], s["state"], s["done"], s["figures"]) for s in run["stages"]] == [
        ("base", "done", 100, {"loss": 1.5}),
        ("sft", "running", 40, {"loss": None}),
    ]


def test_releases_have_names_for_people(service: Service) -> None:
    service.echo.cut.append(PPO)
    with service.browser() as http:
        found = http.get("/api/releases").json()["releases"]
    assert [(r["name"], r["label"]) for r in found] == [
        ("micro-base", "base"),
        ("micro-sft", "SFT"),
        ("micro-ppo-1", "PPO 1"),
    ]


@pytest.mark.parametrize(
    ("name", "label"),
    [("ppo-1", "PPO 1"), ("ppo2", "PPO 2"), ("PPO_2", "PPO 2"), ("base", "base"), ("", ""), ("★", "★")],
)
def test_stage_labels(name: str, label: str) -> None:
    assert stage_label(name) == label


def test_labels_that_would_be_the_same_are_whole_names() -> None:
    other = ReleaseInfo("big-sft", "sft", "big", 1)
    assert labels([BASE, SFT, other]) == ("base", "micro-sft", "big-sft")
