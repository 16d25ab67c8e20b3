"""The prompts of each step: every one as often as every other, kinds in their shares, from the seed alone."""

from __future__ import annotations

from collections import Counter

import pytest

from parley.errors import ConfigError
from parley.rlhf.prompts import PromptStream

KINDS = ["a"] * 30 + ["b"] * 9 + ["c"] * 1


def stream(shares: dict[str, float] | None = None, *, seed: int = 3, steps: int = 60) -> PromptStream:
    return PromptStream.of(KINDS, shares or {}, batch=8, steps=steps, seed=seed)


def test_every_batch_has_the_kinds_in_their_shares() -> None:
    """Per-source balance: within one prompt of the share in each batch, exactly over many."""
    found = stream({"a": 1.0, "b": 2.0, "c": 1.0})
    counts = [Counter(KINDS[n] for n in found.at(step)) for step in range(60)]
    assert all(sum(count.values()) == 8 for count in counts)
    assert all(
        abs(count[kind] - wanted) <= 1 for count in counts for kind, wanted in (("a", 2), ("b", 4), ("c", 2))
    )
    assert sum(count["b"] for count in counts) == pytest.approx(240, abs=2)
    assert {kind for count in (Counter(KINDS[n] for n in stream({"b": 1.0}).at(5)),) for kind in count} == {
        "b"
    }


def test_without_shares_every_prompt_is_seen_equally_often() -> None:
    seen = Counter(n for step in range(60) for n in stream().at(step))  # 480 places for 40 prompts
    assert set(seen) == set(range(40))
    assert max(seen.values()) - min(seen.values()) <= 2


def test_each_pass_over_a_kind_has_an_order_of_its_own() -> None:
    found = PromptStream.of(KINDS, {"b": 1.0}, batch=9, steps=10, seed=3)
    passes = [found.at(step) for step in range(10)]
    assert all(sorted(one) == list(range(30, 39)) for one in passes)
    assert len(set(map(tuple, passes))) == 10


def test_it_is_a_function_of_seed_and_step() -> None:
    """C1: a longer run, or one that begins in the middle, draws the same."""
    assert stream().at(17) == stream(steps=400).at(17)
    assert [stream().at(n) for n in range(9)] != [stream(seed=4).at(n) for n in range(9)]


def test_a_kind_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no prompt of 'bb'; did you mean|no prompt of 'bb'"):
        stream({"bb": 1.0})
