"""InstructGPT's SFT baseline: many epochs with dropout, of which the reward model chooses one (rule S6).

What PPO is compared with: the likelihood of demonstrations is best after one epoch, yet people prefer the
replies of later ones, and the reward model's score on unseen prompts follows people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

import torch

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, Workspace
from parley.config import check_bounds
from parley.engine.sampler import sample
from parley.errors import ConfigError
from parley.model.checkpoint import LoadedModel
from parley.model.reward_checkpoint import LoadedReward
from parley.rlhf.copies import WeightCopy
from parley.rlhf.exchanges import history_tokens
from parley.rlhf.forward import score_all
from parley.rlhf.rollout import rollout_tokens
from parley.stages.data import prompts_of
from parley.stages.scores import readable_reward
from parley.stages.sft import SftConfig, fine_tune, to_fine_tune

BEST: Final = "reward of the best epoch"
EPOCH: Final = "best epoch"


def _instructgpt() -> SftConfig:
    return SftConfig(epochs=16, dropout=0.2, warmup=0, replay=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineConfig:
    """An SFT model to compare with, trained for its own sake."""

    sft: SftConfig = field(default_factory=_instructgpt)
    """Its training: by default 16 epochs with dropout 0.2, a cosine to a tenth, no warm-up, no documents."""
    prompts: int = 256
    """Unseen prompts, a reply to each of which is scored after every epoch."""
    temperature: float = 1.0
    """Of these replies."""
    max_new_tokens: int = 32
    """Longest reply."""
    max_prompt_tokens: int = 96
    """Longest history; older turns are dropped."""

    def __post_init__(self) -> None:
        check_bounds(self, prompts=(1, inf), temperature=(1e-3, inf), max_new_tokens=(1, inf))
        check_bounds(self, max_prompt_tokens=(8, inf))


def train_baseline(
    out: Workspace, base: Checkpoint, told: Snapshot, reward: RewardCheckpoint, config: BaselineConfig
) -> Checkpoint:
    """The base model fine-tuned for all epochs, with the weights of the one that `reward` scores highest."""
    model = to_fine_tune(out, base, config.sft)
    tokens = config.max_prompt_tokens + config.max_new_tokens
    judge = readable_reward(out, reward, model, num_tokens=tokens)
    choice = EpochChoice(out, model, judge, told, config)
    return fine_tune(out, base, model, told, config.sft, watch=choice)


class EpochChoice:
    """The weights after the epoch whose replies score highest; what they depend on is saved with the steps."""

    def __init__(
        self,
        out: Workspace,
        model: LoadedModel,
        judge: LoadedReward,
        told: Snapshot,
        config: BaselineConfig,
    ) -> None:
        self.copy = WeightCopy(model.decoder)
        self._out, self._model, self._judge, self._config = out, model, judge, config
        prompts = prompts_of(told, held_out=True) or prompts_of(told)
        if not prompts:
            raise ConfigError("baseline: the data section gives no prompts to choose an epoch on")
        self._histories = [
            history_tokens(model, prompt.conversation, max_tokens=config.max_prompt_tokens)
            for prompt in prompts[: config.prompts]
        ]

    def look(self, epoch: int, values: dict[str, float]) -> dict[str, float]:
        """The mean score after this epoch; the best weights so far are kept."""
        score = self._score()
        if score > values.get(BEST, -inf):
            values |= {BEST: score, EPOCH: float(epoch)}
            self.copy.take(self._model.decoder)
        return {"reward": score, "epoch": float(epoch)}

    def finish(self) -> None:
        """The model gets the best weights."""
        self.copy.give(self._model.decoder)

    def _score(self) -> float:
        """Of one reply to each prompt, with the same noise after every epoch."""
        completions = sample(
            self._model.decoder,
            self._histories,
            max_new_tokens=self._config.max_new_tokens,
            temperature=self._config.temperature,
            end_id=self._model.tokenizer.end,
            generator=torch.Generator(self._out.plan.device).manual_seed(self._out.seed_for("choice")),
        )
        replies = rollout_tokens(self._histories, completions)
        return float(score_all(self._judge.model, replies, pad=self._model.tokenizer.pad).mean())
