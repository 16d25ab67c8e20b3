"""The mix: parts by weight to within 1 %, texts to the character, and the same rows whatever is beside them."""

from __future__ import annotations

import random

import pytest

from parley.dialogue import dialogue
from parley.labels import Demonstration, Document
from parley.stages.hygiene.cleaning import identity
from parley.stages.hygiene.ledger import Entry, Ledger
from parley.stages.hygiene.mix import (
    Stock,
    parts,
    repeats,
    serve_dialogues,
    serve_texts,
    shuffled,
    supervised_characters,
)


def talk(n: int, length: int) -> Demonstration:
    turns = (f"Question {n}?", "x" * length, "And?", "y" * length)
    return Demonstration.of_all_turns(dialogue(turns), trainer="", source="set")


def stock(name: str, weight: float, count: int, draw: random.Random) -> Stock[Demonstration]:
    ledger = Ledger("dialogues", name, "demonstrations")
    records = [talk(n, draw.randint(5, 300)) for n in range(count)]
    entries = [Entry(ledger, n, record, identity(record)) for n, record in enumerate(records)]
    return Stock(name, weight, entries, sum(map(supervised_characters, records)))


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (1, 1, 1), (0.9, 0.05, 0.05), (7, 2, 1)])
def test_the_mix_is_within_one_per_cent_of_the_weights(weights: tuple[float, ...]) -> None:
    draw = random.Random(sum(weights))
    stocks = [stock(f"{n}", weight, 40 + 100 * n, draw) for n, weight in enumerate(weights)]
    servings = serve_dialogues(stocks, most_repeats=4)
    for part in parts("dialogues", stocks, servings):
        assert part.wanted is not None
        assert part.achieved == pytest.approx(part.wanted, abs=0.01)
        assert part.repeats <= 4.01
    characters = [sum(supervised_characters(e.record) for _, e in serving.copies) for serving in servings]
    assert characters == [serving.used for serving in servings]


def test_a_small_file_limits_the_total() -> None:
    draw = random.Random(1)
    stocks = [stock("small", 0.5, 20, draw), stock("large", 0.5, 2000, draw)]
    small, large = serve_dialogues(stocks, most_repeats=3)
    assert small.used == pytest.approx(3 * stocks[0].available, rel=0.001)
    assert large.used == pytest.approx(small.used, rel=0.01)
    assert sum(len(places) for places in stocks[1].entries[0].ledger.dropped.values()) == 2000 - len(
        {entry.line for _, entry in large.copies}
    )


def test_without_weights_everything_is_taken_once() -> None:
    stocks = [stock("a", 0.0, 30, random.Random(1)), stock("b", 0.0, 5, random.Random(2))]
    servings = serve_dialogues(stocks, most_repeats=4)
    assert [len(serving.copies) for serving in servings] == [30, 5]
    assert [part.wanted for part in parts("dialogues", stocks, servings)] == [None, None]
    assert sorted(entry.line for entry in shuffled(servings, 1)) == sorted([*range(30), *range(5)])


def test_repeats_by_hand() -> None:
    assert repeats([3, 4, 5], 12) == [1, 1, 1]
    assert repeats([3, 6, 5], 28 + 8) == [3, 2, 3]  # two passes, then 3 and 5: 6 does not fit beside 3
    assert repeats([], 10) == []


def texts(name: str, weight: float, sizes: list[int]) -> Stock[Document]:
    ledger = Ledger("texts", name, "text")
    records = [Document(f"{n:04}" + "t" * (size - 4), name) for n, size in enumerate(sizes)]
    entries = [Entry(ledger, n, record, identity(record)) for n, record in enumerate(records)]
    return Stock(name, weight, entries, sum(sizes))


def test_texts_give_exactly_the_characters_asked_for() -> None:
    stocks = [texts("a", 3, [100] * 50), texts("b", 1, [700, 900])]
    servings = serve_texts(stocks, characters=2000, most_repeats=4, ready=lambda entry: entry)
    assert [serving.used for serving in servings] == [1500, 500]
    assert sum(len(entry.record.text) for entry in shuffled(servings, 1)) == 2000


def test_texts_are_repeated_to_reach_their_weight_but_not_too_often() -> None:
    stocks = [texts("a", 1, [100] * 50), texts("b", 1, [300])]
    first, second = serve_texts(stocks, characters=0, most_repeats=4, ready=lambda entry: entry)
    assert (first.used, second.used) == (1200, 1200)
    assert [copy for copy, _ in second.copies] == [0, 1, 2, 3]


def test_texts_without_weights_give_so_many_characters_each_at_most() -> None:
    stocks = [texts("a", 0, [100] * 50), texts("b", 0, [300])]
    servings = serve_texts(stocks, characters=1050, most_repeats=4, ready=lambda entry: entry)
    assert [serving.used for serving in servings] == [1050, 300]
