"""What a report is made of: frozen values that hold figures and where they came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from parley.evals.statistics import Estimate
from parley.stages.hygiene.findings import Findings

SERVED: Final = "T=0.7"
GREEDY: Final = "greedy"
PAPER_NAMES: Final = {"base": "base", "sft": "SFT"}


@dataclass(frozen=True, slots=True)
class Record:
    """One sealed directory: its manifest, and the lines that it left step by step."""

    label: str
    directory: str
    kind: str
    seed: int
    commit: str
    finished: int
    seconds: float
    digest: str
    inputs: tuple[str, ...]
    """Content digests of the artifacts it was made from."""
    made_with: Mapping[str, str]
    """Each config and source that it was made with, as JSON by name."""
    figures: Mapping[str, float]
    steps: tuple[Mapping[str, float], ...]
    samples: tuple[Mapping[str, Any], ...]
    """The lines of its `samples.jsonl`: replies that training made, with what was said of them."""

    def column(self, name: str) -> list[tuple[float, float]]:
        """One figure over the steps, where it was written."""
        return [(row["step"], row[name]) for row in self.steps if name in row and "step" in row]


@dataclass(frozen=True, slots=True)
class Decoding:
    """What one policy's answers were worth, decoded one way."""

    name: str
    gold: Estimate
    gold_error: float
    """Standard error of the mean gold reward."""
    behaviours: Mapping[str, Estimate]
    """Success rate of each behaviour."""
    rates: Mapping[str, Estimate]
    """Shares of answers that assert a falsehood and the like, by their key in the JSON."""
    tokens: Estimate | None
    per_prompt: tuple[float, ...]
    """Gold reward of each prompt, in the order that all evaluations share."""
    cue_swap: Mapping[str, Estimate]
    wordings: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer as it was given. `gold` is None where no truth judges it."""

    messages: tuple[tuple[str, str], ...]
    reply: str
    behaviour: str
    gold: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one stage's policy."""

    stage: str
    directory: str
    kind: Literal["micro-world", "words"]
    split: str
    asked: str
    """Equal for two evaluations that asked the same prompts in the same order."""
    decodings: Mapping[str, Decoding]
    words: Mapping[str, float]
    """Figures on people's words; empty in the micro-world."""
    transcribed: str
    """The decoding that the transcripts are of; "" where that is not known."""
    transcripts: tuple[Exchange, ...]
    memory: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Likelihood of held-out words by kind and source (`stages.memory`); empty where it was not measured."""
    side_by_side: tuple[Mapping[str, Any], ...]
    """Prompts with the replies before and after PPO and their scores (`stages.gain`)."""

    @property
    def title(self) -> str:
        """The stage as people say it."""
        return stage_title(self.stage)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often one round's reward model agreed with rankings that it had not seen."""

    record: Record
    overall: Estimate
    by_source: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one round's reward models are worth; `models` holds `evals.reward_report`'s figures by name."""

    record: Record
    models: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that a run's directory tells, in the order of the walk; what is absent is empty."""

    recipe: str
    records: tuple[Record, ...]
    evaluations: tuple[Evaluation, ...]
    accuracies: tuple[Accuracy, ...]
    measured: tuple[Measured, ...]
    hygiene: Findings | None
    """What of people's files was left out, and what is in the rest; None in the micro-world."""
    plan: Mapping[str, str]
    """The numeric plan: device, threads, number formats."""
    unfinished: tuple[str, ...]
    """Directories without a manifest: stages at work or broken off."""
    set_aside: tuple[str, ...]
    """Sealed directories that belong to another recipe or an earlier start."""

    def record(self, label: str) -> Record | None:
        """The artifact of a label."""
        return next((item for item in self.records if item.label == label), None)

    def starting(self, word: str) -> list[Record]:
        """The artifacts whose label is `word`, or `word` and a number."""
        return [item for item in self.records if item.label.split(" ")[0] == word]

    @property
    def trained_on_gold(self) -> bool:
        """Whether PPO was rewarded with the truth itself, which separates a broken PPO from a bad reward model."""
        configs = [json.loads(item.made_with.get("PpoConfig", "{}")) for item in self.starting("ppo")]
        return any(config.get("reward") == "gold" for config in configs)

    @property
    def golden(self) -> tuple[Evaluation, ...]:
        """The evaluations that the micro-world's truth judged."""
        return tuple(item for item in self.evaluations if item.kind == "micro-world" and item.decodings)

    @property
    def decodings(self) -> Sequence[str]:
        """The decodings of the evaluations, the served one first and the greedy one second."""
        return decodings_of(self.golden)


def decodings_of(evaluations: Iterable[Evaluation]) -> list[str]:
    """All decodings, the served one first and the greedy one second."""
    names = {name for item in evaluations for name in item.decodings}
    return sorted(names, key=lambda name: (name != SERVED, name != GREEDY, name))


def stage_title(stage: str) -> str:
    """`ppo-1` as PPO 1."""
    if numbered := re.fullmatch(r"(ppo)[- ](\d+)", stage):
        return f"{numbered[1].upper()}\u00a0{numbered[2]}"
    return PAPER_NAMES.get(stage, stage.replace("_", " "))


def spoken(key: str) -> str:
    """A key of the JSON in words."""
    return key.replace("_", " ")
