"""Seeded streams: a generator per label, decks that run evenly, shares that hold in every stretch.

Everything in the micro-world is a pure function of its seed through these three.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import TypeVar

from parley.errors import ConfigError

T = TypeVar("T")
K = TypeVar("K", bound=str)


def stream(seed: int, label: str) -> random.Random:
    """A generator of its own for each seed and label, the same in every process."""
    return random.Random(f"{seed}/{label}")


def deck(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """The items for ever: all of them in a fresh order, then all again."""
    if not items:
        raise ConfigError("nothing to draw from in this part of the micro-world; enlarge it or its share")
    while True:
        yield from rng.sample(items, len(items))


def interleave(shares: Mapping[K, float], num: int) -> Iterator[K]:
    """`num` keys, each stretch of which holds the shares.

    Smooth weighted round robin in whole numbers: the order repeats, one period holds the shares
    exactly, and any other stretch is off by less than two of a kind.
    """
    fractions = {key: Fraction(str(share)) for key, share in shares.items()}
    if not fractions or min(fractions.values()) < 0 or sum(fractions.values()) <= 0:
        raise ConfigError(f"shares must be 0 or more, and one must be positive, not {dict(shares)}")
    common = lcm(*(fraction.denominator for fraction in fractions.values()))
    weights = {key: int(fraction * common) for key, fraction in fractions.items()}
    total = sum(weights.values())
    credit = dict.fromkeys(weights, 0)
    for _ in range(num):
        for key, weight in weights.items():
            credit[key] += weight
        chosen = max(credit, key=credit.__getitem__)
        credit[chosen] -= total
        yield chosen
