"""Simulated trainers: noise, ties, habits, faults."""

from __future__ import annotations

from itertools import combinations, permutations
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.errors import ConfigError
from parley.labels import Ranks
from parley.microworld.gold import judge
from parley.microworld.language import statement
from parley.microworld.replies import good_reply
from parley.microworld.situations import Situation
from parley.microworld.trainers import Panel, TrainerConfig, agrees, grouped, pair_agreement
from parley.microworld.users import scripts
from parley.microworld.world import World


def _cases(world: World, num: int) -> list[tuple[Situation, list[str]]]:
    """Replies from good to bad, in an order that does not give them away."""
    cases = []
    for script in scripts(world, num, 1, split="train"):
        situation = script.turns[-1].situation
        good = good_reply(world, situation)
        replies = ["I am sure.", f"{good} I hope this helps.", "Plan a small", good, f"{good} {good}"]
        cases.append((situation, replies))
    return cases


def _agreement(world: World, config: TrainerConfig, *, num: int = 200) -> tuple[float, float]:
    """The share of untied pairs ranked as gold does, and the share of tied pairs, where gold differs."""
    panel = Panel.build(config, 1)
    right = wrong = tied = 0
    for n, (situation, replies) in enumerate(_cases(world, num)):
        gold = [judge(world, situation, reply).utility for reply in replies]
        ranks, _ = panel.rank(world, situation, replies, n)
        for i, j in combinations(range(len(replies)), 2):
            if gold[i] == gold[j]:
                continue
            order = (ranks.values[j] - ranks.values[i]) * (gold[i] - gold[j])
            right, wrong, tied = right + (order > 0), wrong + (order < 0), tied + (order == 0)
    return right / (right + wrong), tied / (right + wrong + tied)


def test_agreement_falls_with_noise(world: World) -> None:
    rates = [_agreement(world, TrainerConfig(noise_sd=sd))[0] for sd in (0.0, 0.15, 0.5, 1.5)]
    assert rates[0] == 1.0
    assert rates[1] > 0.97
    assert rates == sorted(rates, reverse=True)
    assert rates[1] - rates[2] > 0.03
    assert rates[2] - rates[3] > 0.05


def test_without_noise_ties_are_the_close_ones(world: World) -> None:
    assert _agreement(world, TrainerConfig(noise_sd=0.0))[1] == 0.0
    everything = TrainerConfig(noise_sd=0.0, tie_margin=5.0)
    panel = Panel.build(everything, 0)
    for situation, replies in _cases(world, 24):
        assert panel.rank(world, situation, replies, 0)[0] == Ranks((1, 1, 1, 1, 1))


def test_careless_and_adversarial_trainers(world: World) -> None:
    careless, _ = _agreement(world, TrainerConfig(share_careless=1.0))
    assert 0.4 < careless < 0.6
    adversarial, _ = _agreement(world, TrainerConfig(share_adversarial=1.0, noise_sd=0.0))
    assert adversarial == 0.0
    mixed, _ = _agreement(world, TrainerConfig(share_adversarial=0.3))
    assert 0.5 < mixed < 0.9


def test_the_panel_holds_the_shares() -> None:
    panel = Panel.build(TrainerConfig(num_trainers=25, share_careless=0.2, share_adversarial=0.12), 3)
    sorts = [trainer.sort for trainer in panel.trainers]
    assert (sorts.count("careless"), sorts.count("adversarial")) == (5, 3)
    assert len({trainer.name for trainer in panel.trainers}) == 25
    assert panel == Panel.build(panel.config, 3)
    assert panel.trainers != Panel.build(panel.config, 4).trainers


def test_each_ranking_is_of_one_trainer_of_the_panel(world: World) -> None:
    panel = Panel.build(TrainerConfig(), 0)
    situation, replies = _cases(world, 1)[0]
    names = [panel.rank(world, situation, replies, seed)[1] for seed in range(200)]
    assert set(names) == {trainer.name for trainer in panel.trainers}


def test_rank_does_not_depend_on_the_order_and_equal_texts_tie(world: World) -> None:
    panel = Panel.build(TrainerConfig(noise_sd=1.0, tie_margin=0.0), 0)
    for n, (situation, replies) in enumerate(_cases(world, 48)):
        doubled = [*replies, replies[0], replies[3]]
        ranks, name = panel.rank(world, situation, doubled, n)
        assert ranks.values[0] == ranks.values[5]
        assert ranks.values[3] == ranks.values[6]
        turned, again = panel.rank(world, situation, doubled[::-1], n)
        assert (turned.values[::-1], again) == (ranks.values, name)
        assert sorted(set(ranks.values)) == list(range(1, len(set(ranks.values)) + 1))


@settings(deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(st.text(max_size=4), st.floats(-2, 2), min_size=1, max_size=9),
    st.floats(0, 1),
)
def test_ties_obey_the_margin(seen: dict[str, float], margin: float) -> None:
    ranks = grouped(seen, margin)
    bests = [max(seen[t] for t in seen if ranks[t] == rank) for rank in range(1, max(ranks.values()) + 1)]
    for text, rank in ranks.items():
        gap = round(bests[rank - 1] - seen[text], 9)
        assert gap == 0 or gap < margin
        if rank > 1:
            assert round(bests[rank - 2] - seen[text], 9) >= margin
    for one, other in permutations(seen, 2):
        if seen[one] > seen[other]:
            assert ranks[one] <= ranks[other]


def test_grouped_by_hand() -> None:
    seen = {"a": 1.0, "b": 0.9, "c": 0.75, "d": 0.6, "e": -1.0}
    assert grouped(seen, 0.2) == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    assert grouped(seen, 0.0) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    assert grouped({"a": 1.0, "b": 1.0}, 0.0) == {"a": 1, "b": 1}


def test_a_length_bias_prefers_the_longer(world: World) -> None:
    situation, replies = _cases(world, 1)[0]
    good, longer = replies[3], replies[1]
    fair = Panel.build(TrainerConfig(noise_sd=0.0), 0)
    biased = Panel.build(TrainerConfig(noise_sd=0.0, length_bias=2.0), 0)
    assert fair.rank(world, situation, [good, longer], 0)[0] == Ranks((1, 2))
    assert biased.rank(world, situation, [good, longer], 0)[0] == Ranks((2, 1))


def test_an_agreement_bias_prefers_giving_in(world: World) -> None:
    script = scripts(world, 1, 1, split="train", shares={"firm": 1})[0]
    situation = script.turns[-1].situation
    assert situation.attribute
    firm = good_reply(world, situation)
    caving = (
        f"{statement(situation.subject, situation.attribute, situation.claim)} You are right, I was wrong."
    )
    assert agrees(world, situation, caving)
    assert not agrees(world, situation, firm)
    assert not agrees(world, situation, "It is so.")
    fair = Panel.build(TrainerConfig(noise_sd=0.0), 0)
    biased = Panel.build(TrainerConfig(noise_sd=0.0, agreement_bias=3.0), 0)
    assert fair.rank(world, situation, [firm, caving], 0)[0] == Ranks((1, 2))
    assert biased.rank(world, situation, [firm, caving], 0)[0] == Ranks((2, 1))


def test_the_length_bias_is_utility_per_logarithm_of_words(world: World) -> None:
    """A longer reply that is worth 0.4 less wins just when the bias outweighs that."""
    situation, replies = _cases(world, 1)[0]
    good, longer = replies[3], replies[1]
    gain = log(len(longer.split()) / len(good.split()))
    for factor, first in ((0.9, good), (1.1, longer)):
        config = TrainerConfig(noise_sd=0.0, tie_margin=0.0, length_bias=factor * 0.4 / gain)
        ranks = Panel.build(config, 0).rank(world, situation, [good, longer], 0)[0]
        assert ranks.values == ((1, 2) if first == good else (2, 1))


def test_the_agreement_bias_is_utility_for_agreeing(world: World) -> None:
    """Giving in is worth -1 where standing firm is worth 1: a bias of 2 makes up for it."""
    situation = scripts(world, 1, 1, split="train", shares={"firm": 1})[0].turns[-1].situation
    assert situation.attribute
    firm = good_reply(world, situation)
    caving = statement(situation.subject, situation.attribute, situation.claim)
    for bias, ranks in ((1.9, (1, 2)), (2.1, (2, 1))):
        panel = Panel.build(TrainerConfig(noise_sd=0.0, tie_margin=0.0, agreement_bias=bias), 0)
        assert panel.rank(world, situation, [firm, caving], 0)[0].values == ranks


def test_the_length_bias_shows_in_choices_between_equals(world: World) -> None:
    """Two replies of one worth: the odds of the longer one rise with the bias, and are even without."""
    shares = []
    for bias in (0.0, 0.3, 1.0):
        panel = Panel.build(TrainerConfig(noise_sd=0.3, tie_margin=0.0, length_bias=bias), 0)
        longer = 0
        for n, script in enumerate(scripts(world, 600, 2, split="train", shares={"known": 1})):
            situation = script.turns[-1].situation
            texts = [f"{good_reply(world, situation)} {more}" for more in ("Come again soon.", "Of course.")]
            longer += panel.rank(world, situation, texts, n)[0].values[0] == 1
        shares.append(longer / 600)
    assert abs(shares[0] - 0.5) < 0.07
    assert shares[0] + 0.03 < shares[1]
    assert shares[1] + 0.05 < shares[2]


def test_to_agree_is_to_say_so_about_the_one_who_is_meant(world: World) -> None:
    situation = scripts(world, 1, 1, split="train", shares={"false_premise": 1})[0].turns[-1].situation
    assert situation.attribute
    other = next(name for name in world.people if name.split(" ")[0] != situation.subject.split(" ")[0])
    claim = [statement(name, situation.attribute, situation.claim) for name in (situation.subject, other)]
    assert [agrees(world, situation, text) for text in claim] == [True, False]
    assert agrees(world, situation, "Because it is nice.")
    assert not agrees(world, Situation("sum", "3 plus 4"), "3 plus 4 is 7.")


def _replies(world: World, num: int) -> tuple[list[Situation], list[list[str]]]:
    cases = _cases(world, num)
    return [situation for situation, _ in cases], [replies for _, replies in cases]


def test_pair_agreement_falls_with_noise_to_what_people_show(world: World) -> None:
    situations, replies = _replies(world, 150)
    deviations = (0.0, 0.15, 0.5, 1.0, 2.0, 50.0)
    found = [
        pair_agreement(world, TrainerConfig(noise_sd=sd), situations, replies, seed=3) for sd in deviations
    ]
    shares = [agreement.share for agreement in found]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[2] > 0.73 > shares[3]
    assert abs(shares[5] - 0.5) < 0.05
    assert all(800 < agreement.pairs <= 1500 for agreement in found)


def test_pair_agreement_of_careless_and_adversarial_panels(world: World) -> None:
    situations, replies = _replies(world, 150)
    careless = pair_agreement(world, TrainerConfig(share_careless=1.0), situations, replies)
    assert abs(careless.share - 0.5) < 0.06
    turned = TrainerConfig(num_trainers=2, noise_sd=0.0, share_adversarial=0.5)
    assert pair_agreement(world, turned, situations, replies).share == 0.0
    assert pair_agreement(world, TrainerConfig(), situations, [["a", "a"]] * 150).share == 0.0
    with pytest.raises(ConfigError):
        pair_agreement(world, TrainerConfig(num_trainers=1), situations, replies)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_trainers": 0},
        {"noise_sd": -0.1},
        {"tie_margin": -1.0},
        {"share_careless": 0.6, "share_adversarial": 0.6},
    ],
)
def test_a_panel_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        TrainerConfig(**wrong)  # type: ignore[arg-type]
