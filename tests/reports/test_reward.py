"""The page on reward models: figures out of a sealed measure stage, flags, models side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from parley.artifacts import EvalReport, RewardCheckpoint, Run, Workspace
from parley.evals.reward_report import reward_figures
from parley.evals.statistics import Estimate
from parley.reports import svg
from parley.reports.collect import collect
from parley.reports.reward import title
from parley.reports.run_report import render
from tests.evals.test_reward_report import held, length, rankings, truth
from tests.reports.reading import Page, assert_self_contained, read
from tests.reports.synthetic import rewarded, snapshot, start, trained


def measured(run: Run, reward: RewardCheckpoint) -> EvalReport:
    """Two reward models: one that is always right, one that counts letters."""

    def measure_reward(out: Workspace, reward: RewardCheckpoint) -> EvalReport:
        del reward
        unseen = rankings(120)
        figures = {
            "policy": reward_figures(held(unseen), [0.02 * length(ranking) for ranking in unseen]),
            "larger": reward_figures(held(unseen), [truth(ranking) for ranking in unseen]),
            "larger, member 1": reward_figures(held(unseen), [np.zeros(4) for _ in unseen]),
        }
        out.file("report.json").write_text(json.dumps({"kind": "reward", "models": figures}))
        return out.seal(EvalReport, {"accuracy": 0.5})

    return run.once("measure reward-1", measure_reward, reward)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    run = start(tmp_path_factory.mktemp("runs") / "tiny")
    told = snapshot(run)
    sft = trained(run, "sft", told, trained(run, "base", told))
    measured(run, rewarded(run, 1, told, sft))
    report = collect(run.path)
    assert [item.label for item in report.records][-2:] == ["reward 1", "measure reward-1"]
    return read(render(report))


def plain(page: Page) -> str:
    return " ".join(page.text.replace("\u2212", "-").replace("\u00a0", " ").replace("\u202f", " ").split())


def test_the_page_is_well_formed_and_fetches_nothing(page: Page) -> None:
    assert page.problems == []
    assert_self_contained(page)


def test_a_reward_model_that_counts_letters_is_flagged_on_the_page(page: Page) -> None:
    """R10."""
    told = plain(page)
    assert "over all: the scores follow length, the longer reply nearly always scores higher" in told
    assert "over all: nothing shows that it knows more than which reply is longer" in told


def test_models_stand_side_by_side_and_members_have_no_page_of_their_own(page: Page) -> None:
    told = plain(page)
    assert "source same base as the policy larger base larger base, member 1" in told
    assert "over all 48 % 44 to 53 100 % 100 to 100 50 % 50 to 50" in told
    assert told.count("on held-out rankings, with 95 % interval") == 2


def test_floors_depths_persons_and_plots_are_there(page: Page) -> None:
    told = plain(page)
    assert "2 user turns" in told
    assert "persons held out" in told
    plots = [found["aria-label"] for name, found in page.tags if name == "svg"]
    assert sum("calibration" in label for label in plots) == 2
    assert sum("accuracy by source" in label for label in plots) == 2


def test_names_of_models_in_words() -> None:
    assert [title(name) for name in ("policy", "larger, member 2", "other")] == [
        "same base as the policy",
        "larger base, member 2",
        "other",
    ]


def test_a_calibration_plot_draws_one_whisker_a_bin() -> None:
    values = [(0.6, Estimate(0.55, 0.5, 0.6, 100)), (0.9, Estimate(0.8, 0.7, 0.9, 50))]
    drawn = read(svg.reliability("calibration", values, x_label="predicted", y_label="observed"))
    assert sum(found.get("class") == "whisker first" for _, found in drawn.tags) == 2
    assert "0.60 observed 0.55" in drawn.values("aria-label")[0]


def test_runs_without_a_measure_stage_have_no_such_page(tmp_path: Path) -> None:
    run = start(tmp_path / "young")
    trained(run, "base", snapshot(run))
    assert "The reward model, measured" not in render(collect(run.path))
