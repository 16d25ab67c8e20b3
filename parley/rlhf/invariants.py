"""What holds in every healthy run of PPO, watched while it runs.

What can only be a mistake stops the stage (`InvariantError`); what is a bad sign is told once, kept beside
the metrics, and counted in the artifact. Either is a diagnosis: what was seen, what it likely comes from,
what to do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from parley.errors import InvariantError

log = logging.getLogger(__name__)

FINDINGS: Final = "findings.jsonl"
TOLERANCE: Final = {"float32": 2e-3, "bfloat16": 0.1}  # of a ratio, by the dtype of the products
SMALLEST_K3: Final = -1e-4  # nats of a reply; rounding
SMOOTHING: Final = 0.8  # weight of the past in running means
SETTLED: Final = 5  # steps of learning before a running mean says anything
MOST_CLIPPED: Final = 0.3
FEWER_ENDS: Final = 0.5  # of the share at the start
LONGER: Final = 1.5  # than at the start
SHORTER: Final = 0.5
DRIFT: Final = 4.0  # tokens below which neither says anything
SURE: Final = 4.0  # standard errors


class Finding(NamedTuple):
    """A bad sign by name, and the diagnosis as a sentence."""

    name: str
    sentence: str


def check_first_minibatch(figures: Mapping[str, float], *, tolerance: float, step: int) -> None:
    """Before any update the policy is the one that sampled: ratio 1, KL 0, nothing clipped (rule P3)."""
    gap = figures["ratio_gap"]
    if gap > tolerance or figures["approx_kl"] > tolerance or figures["clip_fraction"] > 0:
        raise InvariantError(
            f"step {step}: before the first update a probability ratio is {1 + gap:.4f} instead of 1, so old "
            "and new log-probabilities are not computed alike: look for dropout, another temperature or "
            "another numeric plan"
        )


def check_scores(scores: Tensor) -> None:
    """Every reply has a score that is a number."""
    wrong = int((~torch.isfinite(scores)).sum())
    if wrong:
        raise InvariantError(
            f"{wrong} of {len(scores)} scores are not finite: the reward model's weights are spoilt; look at its "
            "training's last lines, lower its rate and train it again"
        )


def check_rollout(figures: Mapping[str, float], *, tolerance: float, step: int) -> None:
    """k3 is never negative (rule P4), and sampler and learner mean the same policy (rule P1)."""
    if figures["kl_k3_nats"] < SMALLEST_K3:
        raise InvariantError(
            f"step {step}: the k3 estimate of the KL is {figures['kl_k3_nats']:.4g} nats, which is never below 0: "
            "log-probabilities above 0 reached it, so look for logits that are not normalised"
        )
    if figures.get("sampler_gap", 0.0) > tolerance:
        raise InvariantError(
            f"step {step}: the sampler's log-probability of a token is {figures['sampler_gap']:.4f} nats off the "
            "learner's, so replies are not drawn from the policy that is trained: look for filters (top-p, top-k), "
            "another temperature, or a cache that the update did not reach"
        )


def symptoms(values: dict[str, float], figures: Mapping[str, float], *, learning: bool) -> Iterator[Finding]:
    """The bad signs of this step that were not told before. `values` holds running means, what was told and
    where the figures began; it is saved with the steps. `learning`: the policy is updated in this step."""
    count = values["steps watched"] = values.get("steps watched", 0.0) + learning
    means = {name: _running(values, name, figures) for name in _WATCHED if name in figures}
    for finding in _signs(values, figures, means, settled=count >= SETTLED):
        if values.setdefault(f"told {finding.name}", 0.0) == 0.0:
            values[f"told {finding.name}"] = 1.0
            yield finding


_WATCHED: Final = ("explained_variance", "ended", "length_tokens", "clip_fraction")


def _running(values: dict[str, float], name: str, figures: Mapping[str, float]) -> float:
    first = values.setdefault(f"first {name}", figures[name])
    before = values.get(f"mean {name}", first)
    values[f"mean {name}"] = SMOOTHING * before + (1 - SMOOTHING) * figures[name]
    return values[f"mean {name}"]


def _signs(
    values: Mapping[str, float], figures: Mapping[str, float], means: Mapping[str, float], *, settled: bool
) -> Iterator[Finding]:
    kl, error = figures["kl_nats"], figures["kl_nats se"]
    if kl < -SURE * error - 1e-3:
        yield Finding(
            "negative KL",
            f"the KL to the reference is {kl:.3f} nats, {-kl / max(error, 1e-9):.0f} standard errors below 0: replies "
            "are not drawn from the policy that is trained; look for filters in sampling or another temperature",
        )
    if not settled:
        return
    yield from _signs_of_replies(values, means)
    if means.get("explained_variance", 1.0) < 0:
        yield Finding(
            "critic",
            f"the critic explains {means['explained_variance']:.2f} of the variance of returns, less than a constant "
            "would: raise value_rate or value_only_limit, or start it from the reward model (critic: reward)",
        )
    if means.get("clip_fraction", 0.0) > MOST_CLIPPED:
        yield Finding(
            "clipping",
            f"{means['clip_fraction']:.0%} of the tokens are clipped: updates are larger than their clip allows; "
            "lower rate, epochs or minibatches",
        )


def _signs_of_replies(values: Mapping[str, float], means: Mapping[str, float]) -> Iterator[Finding]:
    ended, at_first = means["ended"], values["first ended"]
    if ended < FEWER_ENDS * at_first:
        yield Finding(
            "end-of-text rate",
            f"{ended:.0%} of the replies end by themselves, at first {at_first:.0%}: the score does not mind being "
            "cut off; lower no_end_score, or raise max_new_tokens",
        )
    length, first = means["length_tokens"], values["first length_tokens"]
    if (length > LONGER * first or length < SHORTER * first) and abs(length - first) > DRIFT:
        yield Finding(
            "length drift",
            f"replies have {length:.0f} tokens, at first {first:.0f}: the score may be a matter of length; look at the "
            "reward report's correlation with length, or raise kl_coefficient",
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of a stage: JSON lines beside its metrics, there only if there are any."""

    path: Path

    def tell(self, step: int, finding: Finding) -> None:
        """Keep it, and say it to whoever reads the log."""
        log.warning("step %d: %s", step, finding.sentence)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "name": finding.name, "sentence": finding.sentence}) + "\n")

    def rewind(self, step: int) -> None:
        """Drop what was found after `step`."""
        kept = [row for row in self.rows() if row["step"] <= step]
        if self.path.exists():
            self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            if not kept:
                self.path.unlink()

    def rows(self) -> list[dict[str, Any]]:
        """Everything that was found; a line that a kill cut off does not count."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
