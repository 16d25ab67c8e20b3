from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from parley.artifacts import MANIFEST
from parley.errors import ArtifactError
from parley.evals.statistics import wilson
from parley.reports.run_report import collect, render, write_report
from parley.reports.values import Record
from tests.reports.reading import Page, assert_self_contained, read
from tests.reports.synthetic import (
    HOSTILE,
    decoding,
    evaluated,
    findings,
    gold_report,
    interval,
    reinforced,
    rewarded,
    snapshot,
    start,
    trained,
    whole_run,
    words_run,
)


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_run(tmp_path_factory.mktemp("runs") / "tiny").path


@pytest.fixture(scope="module")
def page(run_directory: Path) -> Page:
    return read(render(collect(run_directory)))


def plain(page: Page) -> str:
    """The text with ordinary spaces and hyphens."""
    return " ".join(page.text.replace("\u2212", "-").replace("\u00a0", " ").replace("\u202f", " ").split())


def labels(records: Sequence[Record]) -> list[str]:
    return [record.label for record in records]


def test_the_page_is_well_formed_and_every_link_leads_somewhere(page: Page) -> None:
    assert page.problems == []


def test_the_page_fetches_nothing_and_runs_nothing(page: Page) -> None:
    assert_self_contained(page)


def test_hostile_text_is_shown_and_does_nothing(page: Page) -> None:
    assert "<script>alert('&\"')</script>" in page.text
    assert "http://evil.example/<img src=x onerror=alert(1)>" in page.text
    assert "\x00" not in "".join(page.texts)


def test_stages_are_collected_in_the_order_of_the_walk(run_directory: Path) -> None:
    report = collect(run_directory)
    assert report.recipe == "tiny"
    assert labels(report.records) == [
        *("data", "base", "evaluate base", "release base", "sft", "evaluate sft", "release sft"),
        *("rank 1", "reward 1", "ppo 1", "evaluate ppo-1", "release ppo-1"),
    ]
    assert [item.title for item in report.evaluations] == ["base", "SFT", "PPO\u00a01"]


def test_the_paired_difference_and_its_standard_errors(page: Page) -> None:
    assert "+1.50 ± 0.289 +5.2 s.e." in plain(page)  # gaps 1, 2, 1, 2: sd √(1/3), over √4


def test_the_verdict_says_what_the_figures_say_and_no_more(page: Page) -> None:
    told = plain(page)
    assert "raised by PPO 1 over SFT; not moved by more than three standard errors by SFT over base" in told
    assert "base -1.25 ± 0.14, SFT -0.75 ± 0.25, PPO 1 0.75 ± 0.25" in told
    assert (
        "Greedy: SFT over base +0.50, 2.4 standard errors; PPO 1 over SFT 0.00, 0.0 standard errors (" in told
    )
    assert "Success fell, beyond its 95 % interval, in harm (T=0.7: 80 % to 40 %)." in told
    assert "Answers that assert a falsehood: 30 % to 6 % (-24 points, 95 % interval -34 to -14)." in told
    assert "seed 7: the intervals are about other prompts, not about other seeds" in told
    assert "validation" not in told


def test_the_ladder_holds_rates_intervals_and_marks_what_fell(page: Page) -> None:
    told = plain(page)
    assert "known n 100 2 % 0.6 to 7 50 % 40 to 60 90 % 83 to 94 +40 +28 to +51" in told
    assert "harm n 100 1 % 0.2 to 5.4 80 % 71 to 87 40 % 31 to 50 ▼ fell -40 -51 to -27" in told
    assert told.count("▼ fell") == 1


def test_rates_lengths_accuracy_counts_and_times(page: Page) -> None:
    told = plain(page)
    assert "asserts a falsehood n 100 30 % 22 to 40 30 % 22 to 40 6 % 2.8 to 12 -24 -34 to -14" in told
    assert "tokens per answer 12.0 9.7 to 14.3" in told
    assert "false premise 64 % 62 to 66 · n 5 344" in told
    assert "over all 87 % 85 to 89 · n 5 344" in told
    assert "documents 60 000 1 200" in told
    assert "rank 1: rankings 2 400 39 518 pairs" in told


def test_each_column_names_the_artifact_behind_it(page: Page, run_directory: Path) -> None:
    for path in run_directory.glob("*-*"):
        assert path.name in page.text
    found = json.loads(next(run_directory.glob(f"data-*/{MANIFEST}")).read_text())
    assert found["digest"][:12] in page.text


def test_curves_and_clouds_are_drawn_with_words_for_those_who_do_not_see_them(page: Page) -> None:
    plots = [found["aria-label"] for name, found in page.tags if name == "svg"]
    assert len(plots) == 1 + 2 + 2 + 2 + 4  # gold ladder; proxy and gold; base, sft; reward; ppo
    assert any(label.startswith("ppo 1: gold") and "highest 0.88" in label for label in plots)
    assert "gold’s mean over 5 steps is highest at 2.00 nats with 0.88" in page.text


def test_transcripts_stand_side_by_side_with_their_gold(page: Page) -> None:
    told = plain(page)
    assert "The first 3 prompts of the evaluation, decoded at T=0.7; none was chosen for its answer." in told
    assert (
        "1 · known you Where does Mira live? (0) base gold -1.00 fog SFT gold -1.00 Mira lives in Holm."
        in told
    )
    assert "gold +1.00 (no words)" in told


def test_the_same_artifacts_give_the_same_bytes(run_directory: Path, tmp_path: Path) -> None:
    write_report(run_directory, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(collect(run_directory))


def test_missing_stages_are_simply_absent(tmp_path: Path) -> None:
    run = start(tmp_path / "young")
    told = snapshot(run)
    (run.path / "base-0123456789ab").mkdir()
    page = read(render(collect(run.path)))
    assert page.problems == []
    assert "1 stage finished so far" in page.text
    assert "Not finished, so not shown: base-0123456789ab." in page.text
    assert "Every behaviour" not in page.text
    base = trained(run, "base", told)
    evaluated(run, "base", base, told, gold_report(decoding([0.0], {"known": 1})))
    page = read(render(collect(run.path)))
    assert page.problems == []
    assert "fewer than two were evaluated" in page.text
    assert "Proxy and gold" not in page.text


def test_nothing_finished_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no finished stage"):
        collect(tmp_path)


def test_a_changed_recipe_sets_the_older_artifacts_aside(tmp_path: Path) -> None:
    run = start(tmp_path / "tiny")
    told = snapshot(run)
    base = trained(run, "base", told)
    old = trained(run, "sft", told, base, rate=1.0)
    old_report = evaluated(run, "sft", old, told, gold_report(decoding([0.0], {"known": 1})))
    manifest = old.path / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": 1}))
    new = trained(run, "sft", told, base, rate=2.0)
    report = collect(run.path)
    assert new.path.name in [record.directory for record in report.records]
    assert report.evaluations == ()
    assert {old.path.name, old_report.path.name} < set(report.set_aside)
    chosen = [path.name for path in (told.path, base.path, old.path, old_report.path)]
    assert labels(collect(run.path, only=chosen).records) == ["data", "base", "sft", "evaluate sft"]


def test_a_run_on_people_s_words(tmp_path: Path) -> None:
    page = read(render(collect(words_run(tmp_path / "words").path)))
    told = plain(page)
    assert page.problems == []
    assert_self_contained(page)
    assert "no exact truth judges these answers" in told
    assert "bits per byte of unseen text 1.234 1.346" in told
    assert "mean score of replies to unseen prompts – 0.75 0.55 to 0.95" in told
    assert "replies that came to an end – 98 %" in told
    assert "from 0.30 (first five steps) to 1.80 (last five), at 3.60 nats" in told
    assert HOSTILE.replace("\x00", "\ufffd") in "".join(page.texts)
    assert "decoded at T=1" in told


def test_probes_are_shown_where_the_report_holds_them(tmp_path: Path) -> None:
    run = start(tmp_path / "probed")
    told = snapshot(run)
    base = trained(run, "base", told)
    probed = decoding([0.0, 1.0], {"known": 1})
    probed["cue_swap"] = {
        "doubts/right/right": {"n": 50, "success": interval(wilson(45, 50))},
        "doubts/right/wrong": {"n": 50, "success": interval(wilson(5, 50))},
    }
    probed["wordings"] = {
        "n": 40,
        "same": {"value": 0.5, "low": 0.35, "high": 0.65},
        "know_flip": interval(wilson(4, 40)),
    }
    evaluated(run, "base", base, told, gold_report(probed))
    page = read(render(collect(run.path)))
    assert page.problems == []
    assert "doubts: seems right, is right 90 % 79 to 96 · n 50" in plain(page)
    assert "doubts: seems right, is wrong (crossed) 10 % 4.3 to 21 · n 50" in plain(page)
    assert "the same answer in every wording 50 % 35 to 65 · n 40" in plain(page)
    assert "right in one wording, “I do not know” in another 10 % 4 to 23 · n 40" in plain(page)


def test_a_policy_rewarded_with_the_truth_is_called_a_diagnosis(tmp_path: Path) -> None:
    run = start(tmp_path / "gold")
    told = snapshot(run)
    sft = trained(run, "sft", told)
    ppo = reinforced(run, 1, sft, rewarded(run, 1, told, sft), reward_kind="gold")
    for stage, policy in (("sft", sft), ("ppo-1", ppo)):
        evaluated(run, stage, policy, told, gold_report(decoding([0.0, 1.0], {"known": 50})))
    text = plain(read(render(collect(run.path))))
    assert "In this run PPO was rewarded with it: a diagnosis of PPO" in text
    assert "No model ever sees it" not in text


def test_hostile_names_and_broken_letters_break_nothing(tmp_path: Path) -> None:
    run = start(tmp_path / "bad")
    told = snapshot(run, hygiene=findings('"><svg onload=x>', "\ud800 & <b>"))
    base = trained(run, "base", told)
    report = gold_report(decoding([0.0, 1.0], {"<i>known</i>": 1, "a'\" onclick='x": 2}))
    evaluated(run, "base", base, told, report, ["\ud800 \x1b[31m </article>"])
    markup = render(collect(run.path))
    markup.encode("utf-8")
    page = read(markup)
    assert page.problems == []
    assert_self_contained(page)
    assert "<i>known</i>" in page.text


def test_a_report_of_another_version_is_named(tmp_path: Path) -> None:
    run = start(tmp_path / "old")
    told = snapshot(run)
    base = trained(run, "base", told)
    evaluated(run, "base", base, told, {"kind": "micro-world", "decodings": {"T=1": {"gold": 1}}})
    with pytest.raises(ArtifactError, match=r"report\.json: decoding 'T=1' is not of this version"):
        collect(run.path)
