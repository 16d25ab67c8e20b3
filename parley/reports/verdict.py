"""The run in one paragraph, computed from its figures; no word goes beyond them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from parley.evals.statistics import Z95, Difference, Estimate
from parley.reports.figures import count, many, number, percent, plus_minus, points, signed
from parley.reports.gain import gained
from parley.reports.html import Html, join, tag
from parley.reports.paired import compared, mean_rate, rate_difference
from parley.reports.tables import excludes_none
from parley.reports.values import GREEDY, Evaluation, RunReport, spoken

STRONG: Final = 3.0
SMALL: Final = 100e6  # parameters; below, people's words are imitated more than understood


def verdict(report: RunReport) -> Html:
    """A headline and the figures behind it."""
    served = next(iter(report.decodings), "")
    golden = [item for item in report.golden if served in item.decodings]
    if len(golden) > 1:
        return tag("div", _golden(report, golden, served), class_="verdict")
    if len(report.evaluations) > 1 and not report.golden:
        return tag("div", _words(report), class_="verdict")
    return tag("div", tag("p", _too_early(report)), class_="verdict")


def _golden(report: RunReport, stages: Sequence[Evaluation], decoding: str) -> Html:
    steps = _steps(stages, decoding)
    last = stages[-1].decodings[decoding]
    where = f"{count(last.gold.n)} prompts about held-out facts"
    where += f" ({stages[-1].split} split)" if stages[-1].split else ""
    means = ", ".join(f"{item.title} {_mean(item, decoding)}" for item in stages)
    rewards = [
        f"Gold reward per answer at {decoding}, on {where}: {means} (±\u00a0one standard error). ",
        f"Step by step: {_told(steps)}. ",
        *_greedy(stages, decoding),
    ]
    changes = [*_behaviours(stages, decoding), *_dangers(stages, decoding)]
    return join(
        tag("p", tag("strong", _headline(steps)), rewards),
        tag("p", changes) if changes else "",
        tag("p", _caveat(report, stages), class_="note"),
    )


def _steps(stages: Sequence[Evaluation], decoding: str) -> list[tuple[str, Difference]]:
    return [
        (f"{after.title} over {before.title}", found)
        for before, after in pairwise(stages)
        if (found := compared(before, after, decoding))
    ]


def _headline(steps: Sequence[tuple[str, Difference]]) -> str:
    up = [name for name, step in steps if step.in_errors > STRONG]
    down = [name for name, step in steps if step.in_errors < -STRONG]
    open_ = [name for name, step in steps if abs(step.in_errors) <= STRONG]
    if len(up) == len(steps):
        each = "The step raised" if len(steps) == 1 else f"Each of the {len(steps)} steps raised"
        return f"{each} gold reward by more than three standard errors."
    parts = [f"raised by {_names(up)}" if up else "", f"lowered by {_names(down)}" if down else ""]
    parts += [f"not moved by more than three standard errors by {_names(open_)}" if open_ else ""]
    return f"Gold reward was {'; '.join(part for part in parts if part)}."


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _told(steps: Sequence[tuple[str, Difference]]) -> str:
    return "; ".join(f"{name} {told_in_errors(step)}" for name, step in steps)


def told_in_errors(step: Difference) -> str:
    """`+0.12, 4.1 standard errors`."""
    told = f"{signed(step.value)}, {number(abs(step.in_errors), 1)} standard errors"
    return told if abs(step.in_errors) >= Z95 else f"{told} (these prompts cannot tell it from none)"


def _mean(stage: Evaluation, decoding: str) -> str:
    found = stage.decodings.get(decoding)
    return plus_minus(found.gold.value, found.gold_error) if found else "not measured"


def _greedy(stages: Sequence[Evaluation], decoding: str) -> list[str]:
    steps = _steps(stages, GREEDY) if decoding != GREEDY else []
    return [f"Greedy: {_told(steps)}. "] if steps else []


def _behaviours(stages: Sequence[Evaluation], decoding: str) -> list[str]:
    """From the stage before PPO to the last, or from the first where there is none."""
    before, after = _before(stages), stages[-1]
    old, new = before.decodings[decoding].behaviours, after.decodings[decoding].behaviours
    shared = [key for key in new if key in old]
    if not shared:
        return []
    means = [mean_rate([rates[key] for key in shared]) for rates in (old, new)]
    told = (
        f"From {before.title} to {after.title} the mean over {many(len(shared), 'behaviour')} went from "
        f"{percent(means[0].value)} to {percent(means[1].value)} ({_change(rate_difference(*means))}). "
    )
    names = dict.fromkeys((decoding, GREEDY))
    fell = [worse for name in names for worse in _fell(before, after, name)]
    if not fell:
        return [told, "No behaviour’s success rate fell by more than its 95\u00a0% interval allows for. "]
    return [told, f"Success fell, beyond its 95\u00a0% interval, in {_names(fell)}. "]


def _fell(before: Evaluation, after: Evaluation, decoding: str) -> list[str]:
    if decoding not in before.decodings or decoding not in after.decodings:
        return []
    old, new = before.decodings[decoding].behaviours, after.decodings[decoding].behaviours
    return [
        f"{spoken(key)} ({decoding}: {percent(old[key].value)} to {percent(new[key].value)})"
        for key in new
        if key in old and rate_difference(old[key], new[key]).high < 0
    ]


def _before(stages: Sequence[Evaluation]) -> Evaluation:
    return next((item for item in stages[:-1] if item.stage == "sft"), stages[0])


def _dangers(stages: Sequence[Evaluation], decoding: str) -> list[str]:
    old, new = _before(stages).decodings[decoding].rates, stages[-1].decodings[decoding].rates
    told = []
    for key, words in (("asserts_false", "assert a falsehood"), ("complies_with_harm", "comply with harm")):
        if key in old and key in new:
            change = rate_difference(old[key], new[key])
            clear = "" if excludes_none(change) else ", which these prompts cannot tell from none"
            told.append(
                f"Answers that {words}: {percent(old[key].value)} to {percent(new[key].value)} "
                f"({_change(change)}{clear}). "
            )
    return told


def _change(change: Estimate) -> str:
    return f"{points(change.value)} points, 95\u00a0% interval {points(change.low)} to {points(change.high)}"


def _caveat(report: RunReport, stages: Sequence[Evaluation]) -> str:
    seeds = ", ".join(map(str, sorted({item.seed for item in report.records})))
    told = [f"One run, seed {seeds}: the intervals are about other prompts, not about other seeds."]
    if report.trained_on_gold:
        told.append("PPO was rewarded with gold itself: a diagnosis.")
    if any(item.split == "validation" for item in stages):
        told.append("The validation split may have been looked at while the recipe was tuned.")
    return " ".join(told)


def _words(report: RunReport) -> Html:
    first, last = report.evaluations[0], report.evaluations[-1]
    told = [
        f"{name}: {first.title} {number(first.words[key], 3)}, {last.title} {number(last.words[key], 3)}. "
        for key, name in (
            ("bits_per_byte", "Bits per byte of unseen text"),
            ("dialogue_loss", "Loss on unseen dialogues"),
        )
        if key in first.words and key in last.words
    ]
    for record in report.starting("ppo"):
        if {"first_score", "score"} <= record.figures.keys():
            told.append(
                f"In {record.label.upper()} the reward model’s mean score of sampled replies went from "
                f"{number(record.figures['first_score'])} (first five steps) to {number(record.figures['score'])} "
                f"(last five), at {number(record.figures.get('kl_nats', math.nan))} nats of KL to SFT. "
            )
    if "reward_gain" in last.words:
        gain = gained(last.words)
        told.append(
            f"On {many(gain.n, 'held-out prompt')} {last.title} moved it by {told_in_errors(gain)}, against SFT on the "
            f"same prompts, at {number(last.words['kl_nats'])} nats. "
        )
    strong = tag("strong", "Trained on people’s words: no exact truth judges these answers.")
    caveat = "A reward model’s score says what it learnt to prefer; only people can say whether they prefer it too."
    return join(tag("p", strong, told), tag("p", _plainly(report)), tag("p", caveat, class_="note"))


def _plainly(report: RunReport) -> str:
    """What a model of this size can and cannot do, said outright."""
    base = report.record("base")
    if base is None or not {"parameters", "tokens"} <= base.figures.keys():
        return ""
    size, read = (base.figures[name] for name in ("parameters", "tokens"))
    told = f"The base model has {size / 1e6:.1f} million parameters and was made from {read / 1e6:.1f} million tokens. "
    if size >= SMALL:
        return told
    return told + (
        "At this size it can put sentences together that look like the texts and dialogues it learnt from, and keep to "
        "the form of an answer. It holds hardly any fact, follows few instructions, cannot calculate, does not know "
        "when it is wrong: nothing that it says should be believed. Read the samples below before the figures."
    )


def _too_early(report: RunReport) -> str:
    done = many(len(report.records), "stage")
    return f"{done} finished so far; fewer than two were evaluated, so there is no step to judge yet."
