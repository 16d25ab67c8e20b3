"""Sealed artifacts: made once, never half, refused when changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from parley.artifacts import (
    MANIFEST,
    STATE,
    Checkpoint,
    Run,
    Snapshot,
    Workspace,
    open_artifact,
    write_atomically,
)
from parley.errors import ArtifactError, ConfigError, InvariantError
from parley.metrics import MetricsFile
from parley.numerics import NumericPlan


@dataclass(frozen=True, kw_only=True)
class Config:
    text: str = "a"


calls: list[str] = []


def tell(out: Workspace, config: Config) -> Snapshot:
    calls.append(out.label)
    out.file("told.txt").write_text(config.text.upper())
    out.metrics.write(1, {"loss": float(len(calls))})
    return out.seal(Snapshot, {"letters": float(len(config.text))})


def learn(out: Workspace, told: Snapshot, config: Config) -> Checkpoint:
    calls.append(out.label)
    out.file("weights").write_text(told.file("told.txt").read_text() + config.text)
    return out.seal(Checkpoint, {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    calls.clear()
    return Run(tmp_path / "run", seed=3, plan=NumericPlan())


def test_a_finished_stage_is_opened_and_not_redone(run: Run) -> None:
    first = run.once("data", tell, Config())
    again = run.once("data", tell, Config())
    assert first == again
    assert calls == ["data"]
    assert first.figures == {"letters": 1.0}


def test_the_directory_depends_on_config_seed_label_and_the_content_of_inputs(run: Run) -> None:
    told = run.once("data", tell, Config())
    other = run.once("data", tell, Config(text="b"))
    assert told.path != other.path
    assert run.once("a", learn, told, Config()).path != run.once("b", learn, told, Config()).path
    assert run.once("a", learn, told, Config()).path != run.once("a", learn, other, Config()).path
    reseeded = Run(run.path, seed=4, plan=NumericPlan())
    assert reseeded.once("data", tell, Config()).path != told.path


def test_an_input_whose_content_came_out_the_same_redoes_nothing(run: Run) -> None:
    """`A` and `a` give the same snapshot, so the stage behind it is the same artifact."""
    policy = run.once("sft", learn, run.once("data", tell, Config(text="a")), Config())
    assert run.once("sft", learn, run.once("data", tell, Config(text="A")), Config()).path == policy.path


def test_metrics_do_not_count_as_content(run: Run) -> None:
    first = run.once("data", tell, Config())
    (first.path / MANIFEST).unlink()
    (first.path / "metrics.jsonl").unlink()
    again = run.once("data", tell, Config())  # its metrics hold another number
    assert again.digest == first.digest


def test_a_directory_without_manifest_is_unfinished(run: Run) -> None:
    told = run.once("data", tell, Config())
    (told.path / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="not a finished artifact"):
        open_artifact(Snapshot, told.path)
    run.once("data", tell, Config())
    assert calls == ["data", "data"]


@pytest.mark.parametrize("damage", ["change", "cut", "remove"])
def test_a_damaged_file_is_never_taken_for_the_real_one(run: Run, damage: str) -> None:
    told = run.once("data", tell, Config())
    file = told.file("told.txt")
    if damage == "remove":
        file.unlink()
    else:
        file.write_text("X" if damage == "change" else "")
    with pytest.raises(ArtifactError, match=r"told\.txt"):
        run.once("data", tell, Config())


def test_a_manifest_that_was_cut_off_is_an_error(run: Run) -> None:
    told = run.once("data", tell, Config())
    manifest = told.path / MANIFEST
    manifest.write_text(manifest.read_text()[:40])
    with pytest.raises(ArtifactError, match="cannot be read"):
        open_artifact(Snapshot, told.path)


def test_the_manifest_records_where_it_comes_from(run: Run) -> None:
    told = run.once("data", tell, Config())
    policy = run.once("sft", learn, told, Config(text="z"))
    manifest = json.loads((policy.path / MANIFEST).read_text())
    assert manifest["stage"] == "learn"
    assert manifest["seed"] == 3
    assert manifest["inputs"][0] == {"artifact": "Snapshot", "digest": told.digest}
    assert manifest["inputs"][1]["value"] == {"text": "z"}
    assert manifest["plan"]["linear"] == "float32"


def test_a_run_keeps_the_plan_it_began_with(tmp_path: Path) -> None:
    Run(tmp_path / "run", seed=0, plan=NumericPlan(threads=1))
    later = Run(tmp_path / "run", seed=0, plan=NumericPlan(threads=2, linear="bfloat16"))
    assert later.plan == NumericPlan(threads=1)


def test_two_processes_cannot_hold_one_run(run: Run) -> None:
    with run.held(), pytest.raises(ConfigError, match="another process"), run.held():
        pass
    with run.held():
        pass


def test_seeds_differ_by_stream_step_and_label(run: Run) -> None:
    seeds: list[int] = []

    def collect(out: Workspace) -> Snapshot:
        seeds.extend([out.seed_for("x"), out.seed_for("x", 1), out.seed_for("y")])
        return out.seal(Snapshot, {})

    run.once("one", collect)
    run.once("two", collect)
    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**56 for seed in seeds)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_metrics_rewind_to_the_saved_step_and_drop_a_torn_line(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        metrics.write(step, {"loss": 1 / step})
    with metrics.path.open("a") as file:
        file.write('{"step": 4, "lo')
    metrics.rewind(2)
    assert [row["step"] for row in metrics.rows()] == [1, 2]


def test_a_figure_that_is_not_finite_stops_the_stage(tmp_path: Path) -> None:
    with pytest.raises(InvariantError, match="loss became nan at step 7"):
        MetricsFile(tmp_path / "metrics.jsonl").write(7, {"loss": float("nan")})


def test_a_kill_while_sealing_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved steps are whole until the manifest stands, and what is left of them is no part of it."""

    def work(out: Workspace) -> Snapshot:
        out.file("told.txt").write_text("x")
        (out.path / STATE).mkdir(exist_ok=True)
        (out.path / STATE / "000000005").write_text("saved")
        return out.seal(Snapshot, {})

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("parley.artifacts.write_atomically", die)
    with pytest.raises(KeyboardInterrupt):
        run.once("data", work)
    (path,) = (item for item in run.path.iterdir() if item.is_dir())
    assert (path / STATE / "000000005").exists(), "before the manifest: everything is still there"
    monkeypatch.undo()
    monkeypatch.setattr("shutil.rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        run.once("data", work)
    monkeypatch.undo()
    told = run.once("data", work)
    assert not (told.path / STATE).exists(), "after it: leftovers are cleared when it is opened"
    assert set(json.loads((told.path / MANIFEST).read_text())["files"]) == {"told.txt"}


def test_an_artifact_with_figures_that_are_not_finite_is_never_sealed(run: Run) -> None:
    def broken(out: Workspace) -> Snapshot:
        return out.seal(Snapshot, {"loss": float("nan")})

    with pytest.raises(InvariantError, match="data: loss came out as nan"):
        run.once("data", broken)
    assert not list(run.path.glob(f"*/{MANIFEST}"))
