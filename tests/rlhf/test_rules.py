"""Rewards that are checked: every check by hand, and a rule that cannot be is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parley.config import build
from parley.dialogue import dialogue
from parley.errors import ConfigError
from parley.rlhf.rules import CheckConfig, RuleConfig, rule_of

ASKED = dialogue(["There was a girl named Lily.", "Yes.", "There was a boy named Tim. Go on."])


def met(check: CheckConfig, reply: str, *, ended: bool = True) -> float:
    (found,) = rule_of(RuleConfig(checks=(check,))).met(ASKED, reply, ended=ended)
    return found


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ({"check": "words", "at_least": 2, "at_most": 3}, ["a b", "a  b\nc"], ["a", "a b c d", ""]),
        ({"check": "words", "at_least": 2}, ["a b", "a " * 900], ["a", ""]),
        (
            {"check": "matches", "pattern": r"happy[^.]*\.$"},
            ["He was happy. He was happy."],
            ["happy. Then sad."],
        ),
        ({"check": "lacks", "pattern": r"\b(\w+) \1\b"}, ["no, not one", ""], ["he saw a a dog"]),
        ({"check": "echoes", "pattern": r"named (\w+)"}, ["Then Tim ran."], ["Lily ran.", "Timmy ran.", ""]),
        ({"check": "echoes", "pattern": r"called (\w+)"}, ["Nobody was called anything.", ""], []),
    ],
)
def test_each_check_by_hand(check: dict[str, Any], good: list[str], bad: list[str]) -> None:
    config = build(CheckConfig, check, "check")
    assert [met(config, reply) for reply in good] == [1.0] * len(good)
    assert [met(config, reply) for reply in bad] == [0.0] * len(bad)


def test_the_end_is_that_of_the_token_not_of_the_text() -> None:
    check = CheckConfig(check="ends")
    assert met(check, "The end.", ended=False) == 0.0
    assert met(check, "and then", ended=True) == 1.0


def test_the_score_is_the_least_check_or_their_weighted_mean(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "def half(history, reply):\n    return 0.5 if history.messages[-1].role == 'user' else 2\n"
    )
    checks = (
        CheckConfig(check="ends", weight=3.0),
        CheckConfig(check="function", function=f"{file}:half"),
        CheckConfig(check="lacks", pattern="x", weight=0.0),
    )
    everything, mean = (rule_of(RuleConfig(score=score, checks=checks)) for score in ("all", "mean"))
    found = everything.met(ASKED, "x", ended=True)
    assert found == (1.0, 0.5, 0.0)
    assert everything.score(found) == 0.0
    assert mean.score(found) == pytest.approx((3 * 1.0 + 1 * 0.5) / 4)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ([{"check": "shouts"}], "checks.0..check: 'shouts' is not one of ends, words"),
        ([{"check": "words"}], "'words' needs at_least or at_most"),
        ([{"check": "words", "at_least": 9, "at_most": 3}], "at least 9 and at most 3"),
        ([{"check": "matches"}], "'matches' needs pattern"),
        ([{"check": "matches", "pattern": "(open"}], r"'\(open' is no regular expression"),
        ([{"check": "echoes", "pattern": "open"}], "needs a group"),
        ([{"check": "ends", "pattern": "x"}], "'ends' reads no pattern"),
        ([{"check": "function", "function": "rules.py"}], "FILE.py:NAME"),
        ([{"check": "ends"}, {"check": "ends"}], "two checks are called 'ends'"),
        ([{"check": "ends", "weight": 0.0}], "weights of all checks are 0"),
        ([{"check": "ends", "weight": -1}], "weight must be at least 0"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(RuleConfig, {"checks": rule}, "recipe: reward.rule")


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("", "nothing", "has no function 'nothing'"),
        ("def f(history, reply) return 1", "f", "cannot be run .SyntaxError"),
        ("def f(history, reply): return 7", "f", "gave 7; true, false or a number from 0 to 1"),
        ("def f(history, reply): return float('nan')", "f", "gave nan"),
        ("def f(history, reply): return reply[99]", "f", "failed on the reply 'Hi' .IndexError"),
    ],
)
def test_a_function_at_fault_is_named(tmp_path: Path, code: str, name: str, words: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(code)
    with pytest.raises(ConfigError, match=words):
        met(CheckConfig(check="function", function=f"{file}:{name}"), "Hi")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no Python file .*none.py"):
        met(CheckConfig(check="function", function=f"{tmp_path}/none.py:f"), "Hi")
