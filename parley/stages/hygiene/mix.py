"""How much of each file is learnt from: as much as there is, or by weight.

The unit of dialogues is the character of an imitated turn, the nearest thing to a supervised token before
there is a tokenizer; the unit of texts is the character. With weights, a file gives its share of the total.
One that has more is drawn from; one that has less is repeated, `most_repeats` times at most. The total is
what there is together (or what is asked for), and less where a file would have to be repeated more often.
Draws follow a hash of each row, so the same rows come whatever stands beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final, Generic, TypeVar

from parley.labels import Demonstration, Document
from parley.stages.hygiene.faults import Learnt
from parley.stages.hygiene.findings import Part
from parley.stages.hygiene.ledger import Entry
from parley.stages.hygiene.sides import drawn

R = TypeVar("R", bound=Learnt)

NEAR_ENOUGH: Final = 0.0005  # of a file's part: no smaller gap is filled
NOT_NEEDED: Final = "beyond the characters of text asked for"
OVERWEIGHT: Final = "beyond the weight of its file"


@dataclass(frozen=True, slots=True)
class Stock(Generic[R]):
    """What a file has to give, in the order in which it is drawn."""

    file: str
    weight: float
    entries: Sequence[Entry[R]]
    available: int


@dataclass(frozen=True, slots=True)
class Serving(Generic[R]):
    """What a file gives: each entry with the number of times that it was given before."""

    copies: list[tuple[int, Entry[R]]]
    used: int


def supervised_characters(dialogue: Demonstration) -> int:
    """Characters of the turns that are imitated."""
    return sum(len(dialogue.conversation.messages[n].text) for n in dialogue.imitate)


def wanted(stocks: Sequence[Stock[R]], *, total: int, most_repeats: int) -> list[int]:
    """What each file is to give of `total` (0: of what there is together); all it has, without weights."""
    weights = sum(stock.weight for stock in stocks)
    if not weights:
        return [stock.available for stock in stocks]
    limits = (most_repeats * stock.available * weights / stock.weight for stock in stocks)
    most = min(total or sum(stock.available for stock in stocks), *limits)
    return [round(most * stock.weight / weights) for stock in stocks]


def serve_dialogues(
    stocks: Sequence[Stock[Demonstration]], *, most_repeats: int
) -> list[Serving[Demonstration]]:
    """Of each file so many dialogues that their supervised characters come as near to its part as they can."""
    served = []
    for stock, part in zip(stocks, wanted(stocks, total=0, most_repeats=most_repeats), strict=True):
        sizes = [supervised_characters(entry.record) for entry in stock.entries]
        times = repeats(sizes, part)
        for entry, count in zip(stock.entries, times, strict=True):
            if not count:
                entry.drop(OVERWEIGHT)
        copies = [(n, entry) for entry, count in zip(stock.entries, times, strict=True) for n in range(count)]
        served.append(Serving(copies, sum(size * n for size, n in zip(sizes, times, strict=True))))
    return served


def repeats(sizes: Sequence[int], part: int) -> list[int]:
    """How often each is taken so that the sizes add up to `part`, as nearly as they can.

    Whole passes come first; the rest is filled with the first ones that fit.
    """
    passes, rest = divmod(part, sum(sizes)) if sum(sizes) else (0, 0)
    times = [passes] * len(sizes)
    for n, size in enumerate(sizes):
        if size <= rest and rest > NEAR_ENOUGH * part:
            times[n] += 1
            rest -= size
    return times


def serve_texts(
    stocks: Sequence[Stock[Document]],
    *,
    characters: int,
    most_repeats: int,
    ready: Callable[[Entry[Document]], Entry[Document] | None],
) -> list[Serving[Document]]:
    """Of each file its part, to the character: the last document is cut. Without weights `characters` is what
    each file gives at most. `ready` makes a document fit to learn from, or leaves it out."""
    weighted = any(stock.weight for stock in stocks)
    limits: list[float] = [characters or inf] * len(stocks)
    if weighted:
        limits = [float(part) for part in wanted(stocks, total=characters, most_repeats=most_repeats)]
    return [
        _text(stock, limit, ready, weighted=weighted) for stock, limit in zip(stocks, limits, strict=True)
    ]


def _text(
    stock: Stock[Document],
    limit: float,
    ready: Callable[[Entry[Document]], Entry[Document] | None],
    *,
    weighted: bool,
) -> Serving[Document]:
    copies: list[tuple[int, Entry[Document]]] = []
    size = 0
    for entry in stock.entries:
        if size >= limit:
            entry.drop(NOT_NEEDED)
        elif fit := ready(entry):
            copies.append((0, _cut(fit, limit - size)))
            size += len(copies[-1][1].record.text)
    once = len(copies)
    while weighted and once and size < limit:
        number, again = divmod(len(copies), once)
        copies.append((number, _cut(copies[again][1], limit - size)))
        size += len(copies[-1][1].record.text)
    return Serving(copies, size)


def _cut(entry: Entry[Document], characters: float) -> Entry[Document]:
    if len(entry.record.text) <= characters:
        return entry
    return replace(entry, record=replace(entry.record, text=entry.record.text[: int(characters)]))


def shuffled(servings: Sequence[Serving[R]], seed: int) -> list[Entry[R]]:
    """All files together in a drawn order, the first copies of all before the second ones."""
    copies = [copy for serving in servings for copy in serving.copies]
    return [
        entry for _, entry in sorted(copies, key=lambda copy: (copy[0], drawn(seed, copy[1].digest.hex())))
    ]


def parts(section: str, stocks: Sequence[Stock[R]], servings: Sequence[Serving[R]]) -> list[Part]:
    """The mix of a section as it was wanted and as it came."""
    weights = sum(stock.weight for stock in stocks)
    used = sum(serving.used for serving in servings)
    return [
        Part(
            section=section,
            file=stock.file,
            available=stock.available,
            used=serving.used,
            wanted=stock.weight / weights if weights else None,
            achieved=serving.used / max(1, used),
            repeats=serving.used / max(1, stock.available),
        )
        for stock, serving in zip(stocks, servings, strict=True)
    ]
