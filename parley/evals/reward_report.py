"""What a reward model's scores are worth on rankings it has not seen (rules R8, R10).

Everything is computed from one score a reply, so that the same figures come out of a reward model, of a
floor, of "always the longer one" and of a rule made up for a test. Accuracy alone misleads: length is a
shortcut in some sets and a wrong one in others, so it stands beside the correlation with length, the pairs
of like length, and a floor without a language model on the very same pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

from parley.dialects import FORMATS
from parley.evals.reward_accuracy import hits_of, margins_of
from parley.evals.statistics import Estimate, clustered_difference, clustered_rate, mean, wilson
from parley.labels import Ranking

Scores = Sequence[np.ndarray]  # one array a ranking, one score a reply

ALIKE: Final = 0.1  # the longer of two replies of like length is at most this share longer
BINS: Final = 10
DEEPEST: Final = 4  # user turns; deeper conversations count together
FOLLOWS_LENGTH: Final = 0.7  # mean rank correlation from which scores are called a matter of length
SURE: Final = 2.0  # standard errors


@dataclass(frozen=True, slots=True)
class Held:
    """Held-out rankings with everything that their figures need. Arrays hold one row a ranking."""

    rankings: Sequence[Ranking]
    floor: Scores
    own_floor: Scores
    known: frozenset[str]
    """Persons whose rankings were learnt from."""

    @property
    def lengths(self) -> Scores:
        """Characters of every reply: the score of "always the longer one"."""
        return [np.array([float(len(reply.text)) for reply in item.replies]) for item in self.rankings]


def reward_figures(held: Held, scores: Scores) -> dict[str, Any]:
    """All figures of one reward model, as JSON: pooled, by source, by depth, by person; calibration; flags."""
    pooled = _cut(held, scores, range(len(held.rankings)))
    found = {
        "pooled": pooled,
        "sources": _cuts(held, scores, lambda ranking: ranking.source),
        "depths": _cuts(held, scores, _depth),
        "persons": _cuts(held, scores, lambda ranking: _person(ranking, held.known)),
        "calibration": calibration(held.rankings, scores),
    }
    return {**found, "flags": flags(found)}


def _cuts(held: Held, scores: Scores, name: Callable[[Ranking], str]) -> dict[str, Any]:
    names = [name(ranking) for ranking in held.rankings]
    return {
        key: _cut(held, scores, [n for n, found in enumerate(names) if found == key])
        for key in sorted(set(names))
        if key
    }


def _depth(ranking: Ranking) -> str:
    turns = sum(message.role == "user" for message in ranking.prompt.messages)
    return f"{turns}" if turns < DEEPEST else f"{DEEPEST} or more"


def _person(ranking: Ranking, known: frozenset[str]) -> str:
    """Whether the person was learnt from; "" where a source does not say who ranked."""
    if not names_person(ranking):
        return ""
    return "learnt from" if ranking.trainer in known else "held out"


def names_person(ranking: Ranking) -> bool:
    """Whether the ranking says which person it is by, not only which set it is of: readers of files that
    name nobody put the format's name there."""
    return ranking.trainer not in ("", ranking.source, *FORMATS)


def _cut(held: Held, scores: Scores, rows: Sequence[int]) -> dict[str, Any]:
    """The figures of some of the rankings."""
    rankings = [held.rankings[n] for n in rows]
    ours, floor, own, lengths = (
        [part[n] for n in rows] for part in (scores, held.floor, held.own_floor, held.lengths)
    )
    hits, sizes = hits_of(rankings, ours)
    found: dict[str, Any] = {"rankings": len(rankings), "accuracy": _plain(clustered_rate(hits, sizes))}
    for key, rule in (("longer", lengths), ("floor", floor), ("own_floor", own)):
        theirs, _ = hits_of(rankings, rule)
        gap = clustered_difference(hits - theirs, sizes)
        found[key] = _plain(clustered_rate(theirs, sizes))
        found[f"over_{key}"] = {"value": gap.value, "standard_error": gap.standard_error}
    found["alike"] = _plain(alike(rankings, ours, lengths))
    found["spearman"] = _plain(mean(correlations(ours, lengths, ranked=True)))
    found["pearson"] = _plain(mean(correlations(ours, lengths, ranked=False)))
    return found


def alike(rankings: Sequence[Ranking], scores: Scores, lengths: Scores) -> Estimate:
    """Accuracy on the pairs whose replies differ by at most a tenth in length."""
    hits, sizes = [], []
    for ranking, ours, theirs in zip(rankings, scores, lengths, strict=True):
        pairs = ranking.comparisons()
        longer = [max(theirs[pair.better], theirs[pair.worse]) for pair in pairs]
        kept = np.abs(margins_of(ranking, theirs)) <= ALIKE * np.array(longer)
        gaps = margins_of(ranking, ours)[kept] if pairs else np.zeros(0)
        hits.append(float((gaps > 0).sum() + 0.5 * (gaps == 0).sum()))
        sizes.append(len(gaps))
    return clustered_rate(hits, sizes)


def correlations(scores: Scores, lengths: Scores, *, ranked: bool) -> list[float]:
    """For each ranking in which both vary: how score and length of its replies go together.

    Inside one prompt only, since a hard question makes all its replies long. With two replies the
    correlation is 1 or -1, so the mean is the agreement with "the longer one", twice, less one.
    """
    found = []
    for ours, theirs in zip(scores, lengths, strict=True):
        a, b = (rankdata(part) if ranked else np.asarray(part, float) for part in (ours, theirs))
        a, b = a - a.mean(), b - b.mean()
        spread = math.sqrt(float((a**2).sum() * (b**2).sum()))
        if spread > 0:
            found.append(float((a * b).sum()) / spread)
    return found


def calibration(rankings: Sequence[Ranking], scores: Scores) -> dict[str, Any]:
    """Predicted against observed: σ(margin) of the reply that the model prefers, and how often people did.

    `error` is the expected calibration error over equal steps of the prediction from 0.5 to 1, `loss`
    the mean -log σ(margin), in nats; a model that knows nothing loses 0.693.
    """
    margins = [margins_of(ranking, found) for ranking, found in zip(rankings, scores, strict=True)]
    flat = np.concatenate(margins) if margins else np.zeros(0)
    predicted = 1 / (1 + np.exp(-np.abs(np.clip(flat, -500, 500))))
    right = (flat > 0) + 0.5 * (flat == 0)
    place = np.minimum(((predicted - 0.5) * 2 * BINS).astype(int), BINS - 1)
    bins = [_bin(predicted[place == n], right[place == n], n) for n in range(BINS) if (place == n).any()]
    gaps = sum(item["n"] * abs(item["predicted"] - item["observed"]["value"]) for item in bins)
    return {
        "pairs": len(flat),
        "error": gaps / max(1, len(flat)),
        "loss": float(np.logaddexp(0, -flat).mean()) if len(flat) else math.log(2),
        "bins": bins,
    }


def _bin(predicted: np.ndarray, right: np.ndarray, n: int) -> dict[str, Any]:
    return {
        "from": 0.5 + n / (2 * BINS),
        "to": 0.5 + (n + 1) / (2 * BINS),
        "n": len(right),
        "predicted": float(predicted.mean()),
        "observed": _plain(wilson(float(right.sum()), len(right))),
    }


def flags(figures: Mapping[str, Any]) -> list[str]:
    """What a reader must not overlook, each a sentence; none where nothing is wrong (rule R10)."""
    found = [*_flags("over all", figures["pooled"])]
    for name, cut in figures["sources"].items():
        found += _flags(name, cut)
    return found


def _flags(name: str, cut: Mapping[str, Any]) -> list[str]:
    told = []
    accuracy, spearman = cut["accuracy"], cut["spearman"]
    if accuracy["n"] and accuracy["low"] <= 0.5:
        told.append(f"{name}: the accuracy cannot be told from that of a coin")
    if spearman["n"] and abs(spearman["value"]) >= FOLLOWS_LENGTH:
        word = "longer" if spearman["value"] > 0 else "shorter"
        told.append(f"{name}: the scores follow length, the {word} reply nearly always scores higher")
    if spearman["n"] and spearman["value"] >= FOLLOWS_LENGTH and not _surely(cut["over_longer"], 1):
        told.append(f"{name}: nothing shows that it knows more than which reply is longer")
    for key, words in (("over_floor", "the floor"), ("over_own_floor", "the floor of this source alone")):
        if _surely(cut[key], -1):
            told.append(f"{name}: below {words} by more than {SURE:g} standard errors")
    return told


def _surely(gap: Mapping[str, float], sign: int) -> bool:
    return sign * gap["value"] > SURE * gap["standard_error"]


def _plain(estimate: Estimate) -> dict[str, Any]:
    """As JSON; what is not known is null."""
    return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(estimate).items()}
