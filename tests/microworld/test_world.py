"""What is true, and who may know it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest

from parley.errors import ConfigError
from parley.microworld.lexicon import (
    ATTRIBUTES,
    IDLE_REASON,
    LAST_NAMES,
    MEN,
    REQUESTS,
    STUFFS,
    THINGS,
    VALUES,
    WOMEN,
    WONDERS,
)
from parley.microworld.streams import interleave
from parley.microworld.world import MAX_HELD_OUT, SPLITS, World, WorldConfig


def test_default_world_has_the_trials_size(world: World) -> None:
    assert len(world.people) == 36 + 2 * 20
    assert len(world.shared) == 20
    assert len(world.unknown) == 24
    assert len(world.facts) == 76 * len(ATTRIBUTES)


def test_every_field_of_the_config_is_a_plain_number() -> None:
    config = WorldConfig()
    assert {type(getattr(config, entry.name)) for entry in fields(WorldConfig)} == {int, float}
    assert WorldConfig(num_unique_people=20, num_shared_names=4, num_unknown_people=12, num_values=8) == (
        WorldConfig.smoke()
    )


def test_same_seed_same_world_and_other_seed_another() -> None:
    first, again, other = (World.build(WorldConfig.smoke(), seed) for seed in (1, 1, 2))
    assert first == again
    assert hash(first) == hash(again)
    for entry in fields(World):
        assert getattr(first, entry.name) == getattr(again, entry.name), entry.name
    assert first.facts != other.facts


def test_what_is_said_does_not_change_what_is_true() -> None:
    plain = World.build(WorldConfig.smoke(), 5)
    swapped = World.build(
        WorldConfig(
            num_unique_people=20,
            num_shared_names=4,
            num_unknown_people=12,
            num_values=8,
            cue_share=0.0,
            absurd_share_premises=0.0,
            share_in_pretraining=0.5,
        ),
        5,
    )
    assert plain.facts == swapped.facts
    assert plain.splits == swapped.splits


@pytest.mark.parametrize("seed", range(6))
def test_people_of_one_first_name_differ_in_everything(seed: int) -> None:
    world = World.build(WorldConfig(num_unique_people=20, num_shared_names=40, num_values=4), seed)
    for one, other in world.shared.values():
        assert one.name != other.name
        assert all(world.value(one.name, a) != world.value(other.name, a) for a in ATTRIBUTES)


@pytest.mark.parametrize("seed", range(6))
def test_splits_are_disjoint_complete_and_of_the_right_size(seed: int) -> None:
    world = World.build(WorldConfig(), seed)
    parts = [set(world.facts_of(split)) for split in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(world.facts)
    for attribute in ATTRIBUTES:
        counts = Counter(split for key, split in world.splits.items() if key[1] == attribute)
        assert counts == {"train": 55, "validation": 9, "test": 12}
    held_out = Counter(name for (name, _), split in world.splits.items() if split != "train")
    assert max(held_out.values()) <= MAX_HELD_OUT
    taught = {(fact.attribute, fact.value) for fact in world.facts_of("train")}
    assert taught == {(a, value) for a in ATTRIBUTES for value in world.values[a]}


def test_every_split_has_names_of_each_sort(small: World) -> None:
    assert set(small.name_splits) == {*small.unknown, *small.shared}
    assert set(small.target_splits) == set(small.people)
    for names in (small.unknown, small.shared):
        assert {small.name_splits[name] for name in names} == set(SPLITS)


def test_the_three_masks_are_independent() -> None:
    config = WorldConfig(
        share_in_pretraining=0.6, share_known_to_demonstrators=0.5, share_known_beyond_documents=0.5
    )
    world = World.build(config, 0)
    cells = Counter(
        (key in world.pretrained, key in world.demonstrable, world.held_out(key)) for key in world.facts
    )
    total = len(world.facts)
    for (known, _, held), count in cells.items():
        expected = (0.6 if known else 0.4) * 0.5 * (105 / 380 if held else 275 / 380) * total
        assert abs(count - expected) < 4 * expected**0.5
    assert len(cells) == 8
    assert len(world.pretrained) == round(0.6 * total)


@pytest.mark.parametrize("seed", range(6))
def test_facts_outside_documents_are_spread_over_splits_people_and_values(seed: int) -> None:
    world = World.build(WorldConfig(), seed)
    assert {split: len(world.unstated(split)) for split in SPLITS} == {
        "train": 33,
        "validation": 5,
        "test": 7,
    }
    silent = Counter(name for name, attribute in world.facts if (name, attribute) not in world.pretrained)
    assert set(silent.values()) == {1}
    assert not world.demonstrable - world.pretrained
    taught = {(fact.attribute, fact.value) for fact in world.stated("train")}
    assert taught == {(a, value) for a in ATTRIBUTES for value in world.values[a]}


@pytest.mark.parametrize("seed", range(20))
def test_every_split_of_a_small_world_has_an_unknown_fact(seed: int) -> None:
    world = World.build(WorldConfig.smoke(), seed)
    assert all(world.unstated(split) for split in SPLITS)


def test_masks_at_their_ends() -> None:
    everything = World.build(WorldConfig(share_in_pretraining=1.0), 1)
    nothing = World.build(WorldConfig(share_in_pretraining=0.0), 1)
    assert everything.pretrained == frozenset(everything.facts)
    assert not nothing.pretrained
    told = World.build(WorldConfig(share_known_beyond_documents=1.0), 1)
    assert told.demonstrable == frozenset(told.facts)


def test_sums_are_split_and_stated(world: World) -> None:
    assert len(world.sum_splits) == 66
    assert all(a <= b <= 10 for a, b in world.sum_splits)
    assert Counter(world.sum_splits.values()) == {"train": 47, "validation": 8, "test": 11}
    assert world.stated_sums == frozenset(world.sum_splits)
    half = World.build(WorldConfig(share_sums_in_documents=0.5, num_addends=21), 1)
    for split in SPLITS:
        keys = [key for key, its in half.sum_splits.items() if its == split]
        assert len(half.stated_sums & set(keys)) == round(len(keys) / 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_unique_people": 100},
        {"num_shared_names": 2},
        {"num_values": 3},
        {"num_values": 13},
        {"share_test": 0.4},
        {"share_test_names": 0.5},
        {"cue_share": 1.5},
        {"num_addends": 3},
        {"share_copying": 0.5, "share_comparing": 0.4},
        {"share_sums_in_documents": 1.2},
        {"absurd_share_documents": -0.1},
    ],
)
def test_a_config_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        WorldConfig(**wrong)  # type: ignore[arg-type]


def test_no_word_of_the_lexicon_means_two_things() -> None:
    names = [*WOMEN, *MEN, *LAST_NAMES]
    assert len(set(names)) == len(names)
    values = [*(value for a in ATTRIBUTES for value in VALUES[a]), *THINGS, *STUFFS, *WONDERS]
    assert len(set(values)) == len(values)
    assert not set(names) & set(values)
    reasons = [*(reason for a in ATTRIBUTES for reason in VALUES[a].values()), IDLE_REASON]
    assert len(set(reasons)) == len(reasons)
    ways = [way for requests in REQUESTS.values() for pair in requests.values() for way in pair]
    assert len(set(ways)) == len(ways)
    articled = [*VALUES["job"], *VALUES["pet"], *WONDERS]
    assert not [value for value in articled if value[0] in "aeiou"]


def test_interleave_holds_the_shares_in_every_stretch() -> None:
    shares = {"a": 3, "b": 1.5, "c": 0.5}
    drawn = list(interleave(shares, 200))
    for start in range(len(drawn) - 10):
        assert Counter(drawn[start : start + 10]) == {"a": 6, "b": 3, "c": 1}
    assert list(interleave(shares, 30)) == drawn[:30]
    with pytest.raises(ConfigError):
        list(interleave({"a": 0}, 3))
