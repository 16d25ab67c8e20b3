"""Near-duplicates: shingles counted by hand, and every pair that comparing all with all finds."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from parley.stages.hygiene.near import SKETCH, NearTexts, jaccard, sketch

WORDS = ["oak", "river", "cloud", "seven", "blue", "under", "tower", "bread", "sing", "lamp", "stone", "run"]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[n : n + 3]) for n in range(max(1, len(words) - 2))}


def by_hand(one: str, other: str) -> float:
    mine, theirs = shingles(one), shingles(other)
    return len(mine & theirs) / len(mine | theirs)


def near(one: str, other: str) -> float:
    return float(jaccard(sketch(one), [sketch(other)])[0])


def test_four_of_six_shingles() -> None:
    assert near("a b c d e f g", "a b c d e f h") == pytest.approx(4 / 6)
    assert near("What does it cost?", "what DOES it -- cost") == 1.0
    assert near("yes", "no") == 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("don’t go there", "don't go there"),
        ("今日は良い天気", "今日は良い天気!"),
        ("①  of  four", "1 of four"),
    ],
)
def test_signs_and_widths_make_no_difference(one: str, other: str) -> None:
    assert near(one, other) == 1.0


def test_other_numbers_and_other_letters_do() -> None:
    assert near("question number 1", "question number 11") == 0.0
    assert near("猫が好き", "犬が好き") < 1.0


def varied(draw: random.Random, text: str) -> str:
    words = text.split()
    for _ in range(draw.randrange(4)):
        words[draw.randrange(len(words))] = draw.choice(WORDS)
    return " ".join(words)


def test_short_texts_are_compared_exactly_and_no_pair_is_missed() -> None:
    draw = random.Random(1)
    seeds = [" ".join(draw.choices(WORDS, k=draw.randint(3, 40))) for _ in range(40)]
    texts = [varied(draw, draw.choice(seeds)) for _ in range(200)]
    sketches = [sketch(text) for text in texts]
    for threshold in (0.5, 0.8, 1.0):
        index, found = NearTexts(sketches, threshold), set()
        for n in range(len(texts)):
            found |= {(other, n) for other in index.all_like(n)}
            index.add(n)
        expected = {
            (a, b) for a, b in combinations(range(len(texts)), 2) if by_hand(texts[a], texts[b]) >= threshold
        }
        assert found == expected


def test_long_texts_are_estimated() -> None:
    draw = random.Random(2)
    words = [f"w{draw.randrange(10_000)}" for _ in range(4000)]
    changed = [word if draw.random() < 0.97 else "other" for word in words]
    one, other = " ".join(words), " ".join(changed)
    assert len(sketch(one)) == SKETCH
    assert near(one, other) == pytest.approx(by_hand(one, other), abs=0.12)
    assert near(one, one + " and more") > 0.95


def test_texts_without_words() -> None:
    assert near("", "?!") == 1.0
    assert near("", "something") == 0.0
