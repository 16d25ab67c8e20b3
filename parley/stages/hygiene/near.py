"""Which texts are nearly the same: shingles of three words, sketched, compared by Jaccard.

A text's sketch holds the `SKETCH` smallest hashes of its shingles (Broder 1997, bottom-k): all of them where
the text is short, so that prompts are compared exactly, and a sample for long ones. Pairs are found by
prefix filtering (Chaudhuri et al. 2006), which misses none. All of it is a function of the texts alone:
nothing is drawn, and no library with its own hashing stands between a row and its fate.

A text of fewer than three words is one shingle, so it is near only to what has the same words.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]

SKETCH: Final = 64
SHINGLE: Final = 3  # words
MOST_POSTINGS: Final = 200  # texts that one shingle leads to; the others are found by a rarer one
CJK: Final = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")  # each sign is a word
SIGNS: Final = re.compile(
    "[\u0080-\u00bf\u00d7\u00f7\u2000-\u206f\u3000-\u303f]+"
)  # no letters, though not ASCII
NO_WORD: Final = re.compile(r"[\W_]+")
IS_LETTER: Final = np.array([value >= 0x80 or chr(value).isalnum() for value in range(256)])
MIX: Final = np.uint64(0x9E3779B97F4A7C15)
FIXED: Final = np.random.default_rng(0x5EED)
LETTERS: Final = FIXED.integers(1, 2**63, 256, dtype=np.uint64)
PLACES: Final = FIXED.integers(1, 2**62, 64, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def sketch(text: str) -> Hashes:
    """The smallest shingle hashes of a text, sorted."""
    shingles = _shingles(_mixed(_word_hashes(_lower(text))))
    few = 4 * SKETCH
    if len(shingles) > few and len(found := _unique(np.partition(shingles, few)[:few])) >= SKETCH:
        return found[:SKETCH]
    return _unique(shingles)[:SKETCH]


def _lower(text: str) -> NDArray[np.uint8]:
    if not text.isascii():
        text = CJK.sub(r" \1 ", SIGNS.sub(" ", unicodedata.normalize("NFKC", text)))
    return np.frombuffer(text.lower().encode(), dtype=np.uint8)


def _word_hashes(text: NDArray[np.uint8]) -> Hashes:
    """One hash a word: a run of letters and digits."""
    is_letter = IS_LETTER[text]
    letters = text[is_letter]
    if not len(letters):
        return np.zeros(1, np.uint64)
    before = np.concatenate(([False], is_letter[:-1]))
    starts = np.flatnonzero(~before[is_letter])
    lengths = np.diff(starts, append=len(letters))
    place = np.arange(len(letters)) - np.repeat(starts, lengths)
    return np.add.reduceat(LETTERS[letters] * PLACES[place % len(PLACES)], starts)


def _shingles(words: Hashes) -> Hashes:
    size = min(SHINGLE, len(words))
    count = len(words) - size + 1
    joined = np.full(count, size, np.uint64)
    for n in range(size):
        joined = _mixed(joined * MIX + words[n : n + count])
    return joined


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(31))) * MIX
    return values ^ (values >> np.uint64(29))


def _unique(values: Hashes) -> Hashes:
    ordered = np.sort(values)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]


def jaccard(one: Hashes, others: Sequence[Hashes]) -> NDArray[np.float64]:
    """Of each of the others: the share of the shingles of either text that both have."""
    sizes = np.array([len(other) for other in others])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    shared = np.add.reduceat(np.isin(np.concatenate(others), one), starts, dtype=np.int64)
    shares: NDArray[np.float64] = shared / (len(one) + sizes - shared)
    return shares


class NearTexts:
    """Sketches that can be asked for the first one nearly the same as another; all are known from the start,
    so that the rarest shingles lead the way, but only those that were `add`ed are found."""

    def __init__(self, sketches: Sequence[Hashes], threshold: float) -> None:
        self._sketches, self._threshold = sketches, threshold
        self._prefixes = _prefixes(sketches, threshold)
        self._postings: defaultdict[int, list[int]] = defaultdict(list)

    def add(self, index: int) -> None:
        """From now on sketch `index` is found."""
        for value in self._prefixes[index]:
            if len(self._postings[value]) < MOST_POSTINGS:
                self._postings[value].append(index)

    def all_like(self, index: int) -> list[int]:
        """Those added before that are at least as near to sketch `index` as the threshold."""
        met = sorted({other for value in self._prefixes[index] for other in self._postings.get(value, ())})
        if not met:
            return []
        near = jaccard(self._sketches[index], [self._sketches[other] for other in met])
        return [other for other, share in zip(met, near, strict=True) if share >= self._threshold]


def _prefixes(sketches: Sequence[Hashes], threshold: float) -> list[list[int]]:
    """Of each sketch its rarest hashes, as many as two near ones cannot both do without; hashes that no other
    sketch has lead nowhere and are left out."""
    if not sketches:
        return []
    _, inverse, counts = np.unique(np.concatenate(sketches), return_inverse=True, return_counts=True)
    ends = np.cumsum([len(values) for values in sketches])
    rarity = np.split(counts[inverse], ends[:-1])
    return [_prefix(values, rare, threshold) for values, rare in zip(sketches, rarity, strict=True)]


def _prefix(values: Hashes, rarity: NDArray[np.int64], threshold: float) -> list[int]:
    length = len(values) - math.ceil(threshold * len(values)) + 1
    order = np.lexsort((values, rarity))[:length]
    return [int(value) for value in values[order][rarity[order] > 1]]
