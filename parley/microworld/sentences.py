"""The table of all sentences that a reply may hold, and what each says.

A sentence is either in the table as a whole, or it is a subject of the table with a predicate of the
table: an exact product, no parsing. (Sums are read by pattern, whatever their numbers.) `gold` decides
what a sentence is worth in a situation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Final, Literal

from parley.microworld.language import (
    GRAMMAR,
    MISTAKEN,
    REFUSALS,
    STOCK_PHRASES,
    SURE,
    UNKNOWN,
    UNKNOWN_FACT,
    WRONG_QUESTION,
    absurd_values,
    because,
    explanation,
    predicate,
    rejection,
    which,
)
from parley.microworld.lexicon import ATTRIBUTES, IDLE_REASON, REQUESTS, VALUES, Attribute
from parley.microworld.sums import read_sum
from parley.microworld.world import World

Says = Literal[
    "fact",
    "rejection",
    "explanation",
    "denial",
    "reason",
    "declines",
    "refuses",
    "asks",
    "admits",
    "firm",
    "challenges",
    "helps",
    "harms",
    "sum",
    "stock",
]


@dataclass(frozen=True, slots=True)
class Act:
    """What a sentence says, whatever the situation."""

    says: Says
    attribute: Attribute | Literal[""] = ""
    value: str = ""
    other: str = ""
    """The value rejected, the reason given, the request advised on, the name asked about, or what is added."""


def sentences_of(reply: str) -> list[str]:
    """The sentences of a reply, as they stand; [""] of an empty one."""
    return _BETWEEN.split(reply.strip())


_BETWEEN: Final = re.compile(r"(?<=[.?!]) ")


@dataclass(frozen=True, slots=True)
class Sentences:
    """The table of one world."""

    whole: dict[str, Act]
    predicates: dict[str, Act]
    subjects: frozenset[str]

    def read(self, sentence: str) -> tuple[str, Act] | None:
        """The subject ("" of a whole sentence) and what is said; None for junk."""
        act = self.whole.get(sentence)
        if act is not None:
            return "", act
        added = read_sum(sentence)
        if added is not None:
            return "", Act("sum", value=str(added[1]), other=added[0])
        first, _, rest = sentence.partition(" ")
        if first in self.subjects and rest in self.predicates:
            return first, self.predicates[rest]
        second, _, rest = rest.partition(" ")
        name = f"{first} {second}"
        if name in self.subjects and rest in self.predicates:
            return name, self.predicates[rest]
        return None

    @classmethod
    def of(cls, world: World) -> Sentences:
        """The table of this world; built once."""
        return _table(world)


@lru_cache(maxsize=8)
def _table(world: World) -> Sentences:
    names = (*world.people, *world.shared, *world.unknown)
    predicates = dict(entry for attribute in ATTRIBUTES for entry in _predicates(world, attribute))
    return Sentences(dict(_whole(world)), predicates, frozenset(("She", "He", *names)))


def _predicates(world: World, attribute: Attribute) -> Iterator[tuple[str, Act]]:
    values = (*world.values[attribute], *absurd_values(attribute))
    reasons = (*(VALUES[attribute][value] for value in world.values[attribute]), IDLE_REASON)
    for value in values:
        for phrasing in range(len(GRAMMAR[attribute].predicates)):
            yield f"{predicate(attribute, value, phrasing)}.", Act("fact", attribute, value)
            for reason in reasons:
                said = explanation(attribute, value, reason, phrasing)
                yield f"{said}.", Act("explanation", attribute, value, reason)
        for form in GRAMMAR[attribute].infinitives:
            yield f"does not {form.format(v=value)}.", Act("denial", attribute, value)
    for value, wrong in permutations(values, 2):
        yield f"{rejection(attribute, value, wrong)}.", Act("rejection", attribute, value, wrong)


def _whole(world: World) -> Iterator[tuple[str, Act]]:
    for says, phrases in _FIXED.items():
        yield from ((phrase, Act(says)) for phrase in phrases)
    for attribute in ATTRIBUTES:
        for value in world.values[attribute]:
            yield because(VALUES[attribute][value]), Act("reason", attribute, value)
    yield because(IDLE_REASON), Act("reason")
    for request, ways in REQUESTS["harm"].items():
        yield from ((way, Act("harms", other=request)) for way in ways)
    for request, ways in REQUESTS["howto"].items():
        yield from ((way, Act("helps", other=request)) for way in ways)
    for name in (*world.people, *world.shared, *world.unknown):
        named = [phrase.format(s=name) for phrase in UNKNOWN if "{s}" in phrase]
        yield from ((phrase, Act("declines", other=name)) for phrase in named)
        yield from _unknown_facts(name)
        yield which(name), Act("asks", other=name)
    for first, pair in world.shared.items():
        for one, other in permutations(pair):
            yield f"Do you mean {one.name} or {other.name}?", Act("asks", other=first)


def _unknown_facts(name: str) -> Iterator[tuple[str, Act]]:
    for attribute in ATTRIBUTES:
        for phrase in UNKNOWN_FACT:
            if "{s}" in phrase:
                said = phrase.format(noun=GRAMMAR[attribute].noun, s=name)
                yield said, Act("declines", attribute, other=name)


_FIXED: Final[dict[Says, tuple[str, ...]]] = {
    "declines": tuple(phrase for phrase in UNKNOWN if "{s}" not in phrase),
    "refuses": REFUSALS,
    "admits": MISTAKEN,
    "firm": SURE,
    "challenges": WRONG_QUESTION,
    "stock": STOCK_PHRASES,
}
