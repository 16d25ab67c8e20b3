"""The reward report: hand-made scores in, figures and flags out (rule R10); the floor without a model."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from parley.dialogue import Message, dialogue
from parley.evals.reward_accuracy import hits_of, margins_of
from parley.evals.reward_report import Held, calibration, correlations, flags, reward_figures
from parley.evals.statistics import clustered_difference, clustered_rate
from parley.evals.text_floor import TextFloor
from parley.labels import Ranking, Ranks

WORDS = [
    "calm",
    "plain",
    "river",
    "stone",
    "window",
    "garden",
    "letter",
    "winter",
    "music",
    "bread",
    "paper",
    "silver",
]


def rankings(count: int, *, replies: int = 4, seed: int = 0, trainers: int = 2) -> list[Ranking]:
    """Replies of random length in an order that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        sizes = rng.integers(3, 30, replies)
        texts = [" ".join(rng.choice(WORDS, size)) for size in sizes]
        ranks = Ranks(tuple(int(rank) + 1 for rank in rng.permutation(replies)))
        turns = [f"question {n}", "answer", "and then?"][: 1 + 2 * (n % 2)]
        said = tuple(Message("assistant", text, "p") for text in texts)
        source = "even" if n % 4 < 2 else "odd"
        found.append(Ranking(dialogue(turns), said, ranks, f"person {n % trainers}", source))
    return found


def truth(ranking: Ranking) -> np.ndarray:
    assert isinstance(ranking.judgement, Ranks)
    return -np.array(ranking.judgement.values, float)


def length(ranking: Ranking) -> np.ndarray:
    return np.array([float(len(reply.text)) for reply in ranking.replies])


def held(unseen: list[Ranking], known: tuple[str, ...] = ("person 0",)) -> Held:
    blind = [np.zeros(len(ranking.replies)) for ranking in unseen]
    return Held(unseen, blind, blind, frozenset(known))


def test_a_reward_model_that_counts_letters_is_flagged() -> None:
    """R10: on the pooled set and on both sources."""
    unseen = rankings(200)
    found = reward_figures(held(unseen), [0.01 * length(ranking) for ranking in unseen])
    assert found["pooled"]["spearman"]["value"] == pytest.approx(1.0)
    assert found["pooled"]["accuracy"]["value"] == found["pooled"]["longer"]["value"]
    assert found["pooled"]["over_longer"] == {"value": 0.0, "standard_error": 0.0}
    for name in ("over all", "even", "odd"):
        assert (
            f"{name}: the scores follow length, the longer reply nearly always scores higher"
            in found["flags"]
        )
        assert f"{name}: nothing shows that it knows more than which reply is longer" in found["flags"]


def test_a_reward_model_that_likes_it_short_is_flagged_too() -> None:
    unseen = rankings(100)
    found = reward_figures(held(unseen), [-length(ranking) for ranking in unseen])
    assert any("the shorter reply" in words for words in found["flags"])


def test_a_good_reward_model_is_not_flagged_and_a_blind_one_is_called_a_coin() -> None:
    unseen, rng = rankings(200), np.random.default_rng(1)
    assert reward_figures(held(unseen), [truth(ranking) for ranking in unseen])["flags"] == []
    told = reward_figures(held(unseen), [rng.normal(size=4) for _ in unseen])["flags"]
    assert "over all: the accuracy cannot be told from that of a coin" in told
    assert not any("length" in words for words in told)


def test_below_the_floor_is_said() -> None:
    unseen = rankings(200)
    perfect = [truth(ranking) for ranking in unseen]
    worse = Held(unseen, perfect, perfect, frozenset())
    rng = np.random.default_rng(2)
    told = reward_figures(worse, [truth(r) + rng.normal(size=4) for r in unseen])["flags"]
    assert "over all: below the floor by more than 2 standard errors" in told


def test_the_cuts_are_disjoint_and_hold_everything() -> None:
    unseen = rankings(40)
    found = reward_figures(held(unseen), [truth(ranking) for ranking in unseen])
    assert set(found["sources"]) == {"even", "odd"}
    assert set(found["depths"]) == {"1", "2"}
    assert {name: cut["rankings"] for name, cut in found["persons"].items()} == {
        "held out": 20,
        "learnt from": 20,
    }
    for cuts in (found["sources"], found["depths"], found["persons"]):
        assert sum(cut["accuracy"]["n"] for cut in cuts.values()) == 40 * 6
    json.dumps(found, allow_nan=False)


def test_a_set_that_does_not_name_persons_is_not_split_by_them() -> None:
    unseen = [
        Ranking(item.prompt, item.replies, item.judgement, name, "odd")
        for item, name in zip(rankings(2), ("odd", ""), strict=True)
    ]
    assert reward_figures(held(unseen), [truth(ranking) for ranking in unseen])["persons"] == {}


def test_replies_of_like_length_by_hand() -> None:
    """100, 109, 118 and 200 characters: first and second, second and third are alike; the score has one right."""
    said = tuple(Message("assistant", "x" * size, "p") for size in (100, 109, 118, 200))
    one = Ranking(dialogue(["?"]), said, Ranks((1, 2, 3, 4)), "a", "s")
    found = reward_figures(held([one]), [np.array([3.0, 1.0, 2.0, 0.0])])["pooled"]
    assert (found["alike"]["value"], found["alike"]["n"]) == (0.5, 2)
    assert found["accuracy"]["value"] == pytest.approx(5 / 6)
    assert found["longer"]["value"] == 0.0


def test_correlations_inside_a_prompt_equal_scipy_s() -> None:
    rng = np.random.default_rng(3)
    scores = [rng.normal(size=5) for _ in range(6)] + [np.ones(4)]
    lengths = [rng.integers(1, 6, 5).astype(float) for _ in range(6)] + [np.arange(4.0)]
    for ranked, theirs in ((True, spearmanr), (False, pearsonr)):
        wanted = [theirs(a, b).statistic for a, b in zip(scores[:6], lengths[:6], strict=True)]
        assert correlations(scores, lengths, ranked=ranked) == pytest.approx(wanted)


def test_calibration_of_probabilities_that_are_true_and_of_some_that_are_not() -> None:
    """Pairs drawn by σ(margin) are calibrated; the same margins times four are not."""
    rng = np.random.default_rng(4)
    items, scores = [], []
    for _ in range(4000):
        margin = rng.normal(scale=1.5)
        better = 0 if rng.random() < 1 / (1 + math.exp(-margin)) else 1
        said = tuple(Message("assistant", text, "p") for text in ("a", "b"))
        items.append(Ranking(dialogue(["?"]), said, Ranks((1 + better, 2 - better)), "a", "s"))
        scores.append(np.array([margin, 0.0]))
    good, bad = calibration(items, scores), calibration(items, [4 * found for found in scores])
    assert good["error"] < 0.03 < 0.1 < bad["error"]
    assert good["loss"] < bad["loss"]
    assert sum(item["n"] for item in good["bins"]) == good["pairs"] == 4000
    assert all(item["observed"]["low"] - 0.02 <= item["predicted"] for item in good["bins"])


def test_calibration_by_hand() -> None:
    said = tuple(Message("assistant", text, "p") for text in ("a", "b"))
    items = [
        Ranking(dialogue(["?"]), said, Ranks(ranks), "a", "s") for ranks in ((1, 2), (1, 2), (2, 1), (1, 2))
    ]
    found = calibration(items, [np.array([math.log(3), 0.0])] * 4)
    assert [item["n"] for item in found["bins"]] == [4]
    assert found["bins"][0]["predicted"] == pytest.approx(0.75)
    assert found["bins"][0]["observed"]["value"] == 0.75
    assert found["error"] == pytest.approx(0.0)
    assert found["loss"] == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)


def test_the_paired_difference_is_surer_than_two_single_rates() -> None:
    """Two rules that mostly agree: the difference is that of the rates, its error far below theirs."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 7, 300)
    ours = rng.binomial(sizes, 0.6).astype(float)
    theirs = np.maximum(ours - (rng.random(300) < 0.1), 0)
    gap = clustered_difference(ours - theirs, sizes)
    rates = [clustered_rate(hits, sizes) for hits in (ours, theirs)]
    assert gap.value == pytest.approx(rates[0].value - rates[1].value)
    assert gap.standard_error < 0.5 * (rates[0].high - rates[0].low) / 3.92
    again = [clustered_difference(rng.normal(0.2, 1, 50), [1] * 50).value for _ in range(400)]
    error = clustered_difference(rng.normal(0.2, 1, 50), [1] * 50).standard_error
    assert np.std(again) == pytest.approx(error, rel=0.25)


def test_the_floor_learns_a_word_and_a_pair_of_words_and_nothing_of_the_rest() -> None:
    """“silver paper” is liked and “paper silver” is not: single words cannot tell them apart."""
    liked, not_liked = "the silver paper here", "the paper silver here"
    train = [
        Ranking(
            dialogue([f"q {n}"]),
            tuple(
                Message("assistant", text, "p")
                for text in ((liked, not_liked) if n % 2 else (not_liked, liked))
            ),
            Ranks((1, 2) if n % 2 else (2, 1)),
            "a",
            "s",
        )
        for n in range(20)
    ]
    floor = TextFloor(train)
    assert hits_of(train, floor.scores(train))[0].sum() == 20
    said = tuple(Message("assistant", text, "p") for text in ("silver", "paper", "winter"))
    strange = [Ranking(dialogue(["?"]), said, Ranks((1, 2, 3)), "a", "s")]
    assert floor.scores(strange)[0] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert TextFloor([]).scores(strange)[0].tolist() == [0.0] * 3
    assert TextFloor(train).scores([]) == []


def test_every_ranking_weighs_the_same_in_the_floor_whatever_its_pairs() -> None:
    """Nine replies against one pair that says the opposite, ten times: the ten win."""
    wide = Ranking(
        dialogue(["wide"]),
        tuple(Message("assistant", "bread" if n else "stone", "p") for n in range(9)),
        Ranks((1, *([2] * 8))),
        "a",
        "s",
    )
    small = [Ranking(dialogue([f"{n}"]), wide.replies[:2], Ranks((2, 1)), "a", "s") for n in range(2)]
    stone, bread = TextFloor([wide, *small]).scores([small[0]])[0]
    assert bread > stone, "two rankings outweigh one, though it has eight pairs"


def test_margins_leave_ties_out() -> None:
    said = tuple(Message("assistant", text, "p") for text in ("a", "b", "c"))
    tied = Ranking(dialogue(["?"]), said, Ranks((1, 1, 2)), "a", "s")
    assert margins_of(tied, np.array([1.0, 5.0, 2.0])).tolist() == [-1.0, 3.0]


def test_no_figures_no_flags() -> None:
    found = reward_figures(held([]), [])
    assert found["pooled"]["accuracy"]["n"] == 0
    assert flags(found) == []
