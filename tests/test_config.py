"""Strict recipes: what is filled in, what is refused and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from parley.config import build, canonical, overlay, plain, read_yaml
from parley.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    steps: int = 3
    rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    limit: int | None = None


def test_everything_finds_its_place() -> None:
    values = {
        "name": "x",
        "kind": "b",
        "on": True,
        "inner": {"rate": 2, "steps": 5},
        "parts": [{"steps": 1}, {"rate": "1e-4"}],
        "seconds": {"base": 3},
        "limit": 4,
    }
    built = build(Outer, values, "r.yaml")
    assert built.inner == Inner(steps=5, rate=2.0)
    assert built.parts == (Inner(steps=1), Inner(rate=1e-4))
    assert built.seconds == {"base": 3.0}
    assert build(Outer, plain(built), "again") == built


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "x", "inner": {"stepps": 5}}, ["r.yaml: inner", "stepps", "did you mean 'steps'"]),
        ({"name": "x", "zzz": 1}, ["unknown key 'zzz'", "known are", "kind"]),
        ({}, ["'name' is missing"]),
        ({"name": 3}, ["r.yaml: name", "a text", "3"]),
        ({"name": "x", "inner": {"steps": 1.5}}, ["r.yaml: inner.steps", "whole number"]),
        ({"name": "x", "inner": {"steps": True}}, ["whole number"]),
        ({"name": "x", "on": 1}, ["true or false"]),
        ({"name": "x", "kind": "c"}, ["'c' is not one of a, b"]),
        ({"name": "x", "parts": {"steps": 1}}, ["expected a list"]),
        ({"name": "x", "parts": [3]}, ["parts[0]", "section"]),
        ({"name": "x", "inner": None}, ["section", "nothing"]),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Outer, values, "r.yaml")
    for word in words:
        assert word in str(caught.value)


def test_flags_lie_over_the_recipe_without_touching_it() -> None:
    values = {"inner": {"steps": 1, "rate": 0.5}}
    merged = overlay(values, {"inner.steps": "7", "parts": "[{steps: 2}]", "name": "y"})
    assert merged == {"inner": {"steps": 7, "rate": 0.5}, "parts": [{"steps": 2}], "name": "y"}
    assert values == {"inner": {"steps": 1, "rate": 0.5}}
    with pytest.raises(ConfigError, match="not a section"):
        overlay({"name": "x"}, {"name.y": "1"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: [x", "line 1|line 2"),
        (b"- a\n- b\n", "mapping of sections"),
        (b"\xff\xfe", "not UTF-8|cannot read"),
        (b"", "mapping of sections"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_yaml(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.yaml: cannot read"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_canonical_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": Inner()}) == canonical({"a": Inner(), "b": 1})
