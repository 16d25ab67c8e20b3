"""The data page: every count that hygiene found, and people's texts shown as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parley.artifacts import Run
from parley.reports.hygiene import hygiene_section
from parley.reports.run_report import collect, render
from parley.reports.values import RunReport
from parley.stages.hygiene.findings import Findings
from tests.reports.reading import assert_self_contained, read
from tests.reports.synthetic import HOSTILE, findings, snapshot, start, trained


def report(path: Path, found: Findings) -> RunReport:
    run: Run = start(path)
    trained(run, "base", snapshot(run, hygiene=found))
    return collect(run.path)


@pytest.fixture
def told(tmp_path: Path) -> str:
    page = read(render(report(tmp_path / "run", findings("people.jsonl", "no reply"))))
    assert page.problems == []
    assert_self_contained(page)
    return " ".join(page.text.replace("\u2212", "-").replace("\u202f", " ").split())


def test_every_row_that_came_in_is_accounted_for(told: str) -> None:
    assert (
        "2 files told 18 records. 3 were at fault, 2 were left out for another reason, "
        "14 are learnt from, and 4 are held out. 4 private details were found." in told
    )
    assert "ours.jsonl dialogues 9 9 – – 7 2 1 by held-out people 2 · 4 · 6 10 · 20 · 40" in told
    assert "people.jsonl dialogues 12 9 3 2 7 2" in told


def test_reasons_stand_with_the_places_where_one_can_look(told: str) -> None:
    assert "people.jsonl dialogues at fault 3 no reply line 2; line 5 …" in told
    assert "left out 2 duplicate line 4, as line 1; line 6, as people.jsonl, line 3" in told


def test_unsafe_answers_stand_by_category(told: str) -> None:
    assert "people.jsonl dialogues harassment 11 line 5; line 7 …" in told


def test_the_mix_stands_beside_what_was_wanted(told: str) -> None:
    assert "ours.jsonl 900 600 0.67 75 % +0.3 75 %" in told
    assert "people.jsonl 100 200 2.00 25 % -0.3 25 %" in told


def test_recall_stands_with_its_n(told: str) -> None:
    assert "email 97 % 92 to 99 · n 100 4 285.7" in told


def test_what_people_wrote_is_shown_as_text(tmp_path: Path) -> None:
    page = read(render(report(tmp_path / "run", findings(HOSTILE, HOSTILE))))
    assert page.problems == []
    assert_self_contained(page)
    shown = HOSTILE.replace("\x00", "\ufffd")
    assert "".join(page.texts).replace("\u200b", "").count(shown) >= 8


def test_the_micro_world_has_no_such_page(tmp_path: Path) -> None:
    found = report(tmp_path / "run", findings("a", "b"))
    assert hygiene_section(found) is not None
    assert hygiene_section(replace(found, hygiene=None)) is None
