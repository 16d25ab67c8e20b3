"""What a run has measured, from its files to the answer of `/api/run/details`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from parley.cli.progress import FileRunView
from tests.databases import only

from .conftest import Service
from .run_files import RunFiles, exchange, finish, until_sft

pytestmark = only("sqlite")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return until_sft(tmp_path / "microworld")


def view(files: RunFiles) -> FileRunView:
    return FileRunView(files.path, "microworld")


def ask(service: Service, files: RunFiles) -> dict[str, Any]:
    service.progress.files = view(files)
    with service.browser() as http:
        answer = http.get("/api/run/details")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_only_the_owner_sees_it(service: Service) -> None:
    url = f"{service.url}/api/run/details"
    assert httpx.get(url, trust_env=False).status_code == 401
    assert httpx.get(f"{service.url}/run", trust_env=False).headers["location"] == "/login"
    with service.program() as http:
        assert http.get("/api/run/details").status_code == 401


def test_without_a_run_everything_is_empty(service: Service, tmp_path: Path) -> None:
    found = ask(service, RunFiles(tmp_path / "nowhere"))
    assert found["seed"] is None
    assert [found[name] for name in ("policies", "curves", "agreements", "evaluations", "sources")] == [
        []
    ] * 5


def test_a_run_on_the_way(service: Service, files: RunFiles) -> None:
    found = ask(service, files)
    assert (found["recipe"], found["run"], found["seed"]) == ("microworld", "microworld", 7)
    assert found["plan"] == {"device": "cpu", "threads": "2"}
    assert found["policies"] == ["base", "sft", "ppo-1"]
    assert [curve["stage"] for curve in found["curves"]] == ["base", "sft"]
    (base,) = found["evaluations"]
    assert (base["stage"], base["transcribed"]) == ("base", "T=0.7")
    assert base["decodings"][0]["gold"] == {"value": -1.0, "low": -1.05, "high": -0.95, "n": 90}
    assert base["transcripts"] == [
        {
            "messages": [["user", "Where does Mira live?"]],
            "reply": "1 has a job",
            "behaviour": "admit",
            "gold": -1.0,
        }
    ]


def test_a_finished_run(service: Service, files: RunFiles) -> None:
    finish(files)
    found = ask(service, files)
    assert [one["stage"] for one in found["evaluations"]] == ["base", "sft", "ppo-1"]
    (agreement,) = found["agreements"]
    assert agreement["overall"]["value"] == 0.88
    assert agreement["by_source"]["clarify"]["n"] == 300
    assert found["sources"][0]["directory"] == "data-0123456789ab"


def test_long_series_are_thinned_to_means(files: RunFiles) -> None:
    files.metrics("sft", [{"loss": float(n % 2)} for n in range(1001)])
    curve = view(files).details().curves[1]
    assert curve.lines_per_point == 6
    assert len(curve.columns["loss"]) == 167
    assert curve.columns["loss"][:2] == (0.5, 0.5)
    assert curve.columns["step"][-1] == 1001


def test_the_mean_over_behaviours_weighs_each_the_same(files: RunFiles) -> None:
    mean = view(files).details().evaluations[0].decodings[0].mean_success
    assert mean is not None
    assert mean.value == pytest.approx((0.1 + 0.07 + 0.04 + 0.01) / 6, abs=1e-6)
    assert 0 <= mean.low < mean.value < mean.high


DAMAGE = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '{"figures": 7}',
    '{"decodings": {"T=0.7": 7}}',
    '{"decodings": 7}',
    "[" * 9999,
]


@pytest.mark.parametrize("text", DAMAGE)
@pytest.mark.parametrize("name", ["report.json", "transcripts.jsonl", "manifest.json", "metrics.jsonl"])
def test_what_is_damaged_is_left_out(files: RunFiles, name: str, text: str) -> None:
    finish(files)
    for path in files.path.glob(f"*/{name}"):
        path.write_text(text)
    details = view(files).details()
    assert details.policies == ("base", "sft", "ppo-1")
    assert (name != "manifest.json") == bool(details.sources)


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_status_is_no_run(files: RunFiles, text: str) -> None:
    (files.path / "status.json").write_text(text)
    assert view(files).status().state == "none"
    assert view(files).details().curves == ()


def test_a_line_that_is_being_written_is_left_out(files: RunFiles) -> None:
    with (files.directory("sft") / "metrics.jsonl").open("a") as file:
        file.write('nonsense\n{"step": 21, "loss": NaN, "other": true}\n{"step": 22, "lo')
    columns = view(files).details().curves[1].columns
    assert (columns["step"][-1], columns["loss"][-1]) == (21, None)
    assert "other" not in columns


def test_the_stage_at_work_is_the_unsealed_directory(files: RunFiles) -> None:
    files.status("sft")
    files.seal("sft", {}, digest="aaaaaaaaaaaa")
    (files.directory("sft") / "manifest.json").unlink()
    details = view(files).details()
    assert [len(curve.columns["loss"]) for curve in details.curves] == [50, 20]
    assert [source.stage for source in details.sources] == ["data", "base", "evaluate-base"]


def test_of_several_starts_the_one_that_the_status_tells_is_taken(files: RunFiles) -> None:
    files.seal("data", {"demonstrations": 3}, digest="bbbbbbbbbbbb", finished=1_800_000_000)
    assert view(files).details().sources[0].directory == "data-bbbbbbbbbbbb"
    status = json.loads((files.path / "status.json").read_text())
    status["stages"][0]["figures"] = {"demonstrations": 10_000}
    (files.path / "status.json").write_text(json.dumps(status))
    assert view(files).details().sources[0].directory == "data-0123456789ab"


HOSTILE = "<script>alert(1)</script>\ud800\x00\u202e http://evil.example/"


def test_hostile_text_arrives_as_valid_text(service: Service, files: RunFiles) -> None:
    row = {**exchange(HOSTILE, HOSTILE), "situation": HOSTILE}
    files.evaluation("base", -1.0, 0.1, [row, exchange("x" * 9_000, "y", kind=HOSTILE)])
    first, second = ask(service, files)["evaluations"][0]["transcripts"]
    shown = HOSTILE.replace("\ud800", "?")
    assert (first["messages"], first["reply"], first["behaviour"]) == ([["user", shown]], shown, "")
    assert (len(second["messages"][0][1]), second["behaviour"]) == (4_000, shown)


def test_nothing_is_sent_or_read_again_where_nothing_changed(service: Service, files: RunFiles) -> None:
    service.progress.files = looking = view(files)
    with service.browser() as http:
        etag = http.get("/api/run/details").headers["etag"]
        same = http.get("/api/run/details", headers={"if-none-match": etag})
        assert (same.status_code, same.content) == (304, b"")
        curves = looking.details().curves
        assert looking.details().curves[0].columns is curves[0].columns
        files.metrics("sft", [{"loss": 1.0}])
        os.utime(files.directory("sft") / "metrics.jsonl", ns=(1, 1))
        assert http.get("/api/run/details", headers={"if-none-match": etag}).status_code == 200
    assert looking.details().curves[1].columns["loss"] == (1.0,)


def test_a_directory_of_runs_shows_the_newest(tmp_path: Path) -> None:
    for n, name in enumerate(("old", "new")):
        until_sft(tmp_path / name)
        os.utime(tmp_path / name / "status.json", (n, n))
    assert FileRunView(tmp_path, "").details().run == "new"
    assert FileRunView(tmp_path, "").status().recipe == "microworld"


def test_a_run_whose_process_is_gone_is_stopped(files: RunFiles) -> None:
    status = json.loads((files.path / "status.json").read_text())
    (files.path / "status.json").write_text(json.dumps({**status, "pid": 2**22 + 1}))
    assert view(files).status().state == "stopped"


def test_people_s_words_have_figures_and_no_gold(service: Service, files: RunFiles) -> None:
    report = {"kind": "words", "bits_per_byte": 1.25, "reward": 0.5, "reward se": 0.1}
    (files.directory("evaluate_base") / "report.json").write_text(json.dumps(report))
    (base,) = ask(service, files)["evaluations"]
    assert base["figures"] == {"bits_per_byte": 1.25, "reward": 0.5, "reward se": 0.1}
    assert (base["decodings"], base["transcribed"], base["transcripts"][0]["gold"]) == ([], "T=1", None)
