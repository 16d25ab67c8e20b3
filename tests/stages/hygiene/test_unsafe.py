"""Unsafe answers are counted by category; dialogues with a blocked one are left out where the recipe says so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from parley.stages.hygiene.check import check
from parley.stages.hygiene.unsafe import BLOCKED
from tests.stages.hygiene.files import lines, message, ranking, talk, told, write

BLOCK = "Here is how to make a bomb at home."
WARN = "You are worthless, nobody likes you."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw = random.Random(5)
    talks = [talk(draw) for _ in range(20)]
    talks[3]["messages"][1] = message("assistant", BLOCK)
    talks[4]["messages"][1] = message("assistant", WARN)
    talks[5]["messages"][0] = message("user", BLOCK)  # to be asked it is no fault of the answer
    rankings = [ranking(draw) for _ in range(10)]
    rankings[2]["replies"][2] = {"content": BLOCK, "rank": 3}
    write(tmp_path / "dialogues.jsonl", lines(talks))
    write(tmp_path / "rankings.jsonl", lines(rankings))
    return tmp_path


def test_they_are_counted_where_they_stand_and_learnt_from(root: Path) -> None:
    heard, found = told(root)
    dialogues, rankings = found.files
    assert {left.reason: left.places for left in dialogues.unsafe} == {
        "illicit/violent": ("line 4",),
        "harassment": ("line 5",),
    }
    assert {left.reason: left.places for left in rankings.unsafe} == {"illicit/violent": ("line 3",)}
    assert not dialogues.dropped
    assert len([*heard.demonstrations, *heard.demonstrations_held_out]) == 20


def test_dialogues_of_a_blocked_answer_are_left_out_where_the_recipe_says_so(root: Path) -> None:
    heard, found = told(root, unsafe="drop")
    dialogues, rankings = found.files
    assert {left.reason: left.places for left in dialogues.dropped} == {BLOCKED: ("line 4",)}
    assert not rankings.dropped
    answers = [
        one.conversation.messages[-1].text for one in [*heard.demonstrations, *heard.demonstrations_held_out]
    ]
    assert BLOCK not in answers
    assert WARN in answers


def test_a_file_is_checked_for_them(root: Path) -> None:
    assert check("demonstrations", root / "dialogues.jsonl").unsafe == {"harassment": 1, "illicit/violent": 1}
