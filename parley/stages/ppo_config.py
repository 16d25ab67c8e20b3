"""The settings of PPO and of its simpler relative, rejection sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Literal

from parley.config import check_bounds
from parley.model.adapters import AdapterConfig
from parley.rlhf.loop import AdamForm, Schedule
from parley.rlhf.rollout import NoEnd, ScoreSlot


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig:
    """Reinforcement learning against the reward model."""

    method: Literal["ppo", "rejection"] = "ppo"
    """PPO, or rejection sampling: maximum likelihood on the best of `best_of` replies to each prompt."""
    best_of: int = 4
    """n: replies to each prompt of which rejection sampling keeps the best. Choosing so costs at most
    log n - (n-1)/n nats of KL to the policy that was drawn from."""
    reward: Literal["model", "gold"] = "model"
    """Who scores: what the section `reward` makes (a model, or a rule), or the world's exact truth (a
    diagnosis: it separates a broken PPO from a bad reward model)."""
    steps: int = 40
    """Rollout-and-update steps."""
    batch: int = 128
    """Replies a step; of rejection sampling, prompts a step."""
    balance: Mapping[str, float] = field(default_factory=dict)
    """Shares of the kinds of prompt (the source of people's words, the behaviour in the micro-world) in
    every batch; those that are not named have none. Nothing: as often as there are prompts of them."""
    epochs: int = 2
    """Passes over each rollout."""
    minibatches: int = 2
    """Optimizer steps a pass."""
    micro_tokens: int = 0
    """Tokens in memory at once in the update; a larger minibatch is read in several portions whose gradients
    gather, with the same loss (rule P12). 0 is no limit."""
    recompute: bool = False
    """Whether layers are computed again on the way back instead of being kept: less memory, more time."""
    rate: float = 4e-4
    """Peak learning rate of the policy."""
    value_rate: float = 8e-4
    """Peak learning rate of the critic."""
    adam: AdamForm = "torch"
    """Where Adam adds its ε: to the corrected root (`torch`), or to the bare one (`tensorflow`), as in the
    first RLHF (rule P18)."""
    warmup: int = 5
    """Steps of linear warm-up."""
    warmup_start: float = 0.0
    """Share of the peak rates at which the warm-up begins (InstructGPT: 0.1, over 10 steps); 0 begins one
    step above nothing."""
    schedule: Schedule = "linear"
    """How the rates fall after the warm-up: to `floor` by a line or a cosine, or not at all (InstructGPT;
    rule P19)."""
    floor: float = 0.0
    """Share of the peak rates at the end of the fall."""
    critic: Literal["policy", "reward"] = "policy"
    """What the critic starts from (rule P20): the SFT policy with a head of zeros, or the reward model with
    its head, so that after the last token its value is the score."""
    value_only_steps: int = 2
    """First steps in which only the critic learns (rule P20)."""
    value_only_limit: int = 0
    """The policy waits on, at most up to this step, until the critic explains some of the variance of the
    returns; 0 does not wait."""
    kl_coefficient: float = 0.08
    """β: price of one nat of KL to the reference, in units of normalised score."""
    kl_target_nats: float = 0.0
    """KL of a reply that β is adapted to hold, from `kl_coefficient` on (rule P6); 0 keeps β as it is."""
    kl_horizon: float = 10_000.0
    """Replies over which β would change by its own size where the KL is far off its target."""
    kl_budget_nats: float = 0.0
    """Mean KL of a reply at which training stops, with the policy that reached it; 0 is no limit."""
    guard_drop: float = 0.0
    """How far the mean normalised score of any kind of prompt may fall below the reference's, smoothed
    over steps, before training stops; 0 is no guard."""
    clip: float = 0.2
    """Range of the policy's ratio around 1 (rule P10)."""
    value_clip: float = 0.2
    """Range of a value around its old one (rule P11)."""
    trace_decay: float = 0.95
    """λ of generalised advantage estimation (rule P7)."""
    whiten: Literal["rollout", "minibatch", "none"] = "rollout"
    """Over which tokens advantages are brought to mean 0 and deviation 1 (rule P9)."""
    whiten_rewards: bool = False
    """Whether rewards get deviation 1 over the rollout, their mean kept, before advantages are estimated
    (rule P9)."""
    score_slot: ScoreSlot = "end"
    """Where the score is paid: at the reply's last token, or one place behind it, where the critic's value
    then takes part of it (rule P5b)."""
    temperature: float = 1.0
    """Of sampling, and of every log-probability (rule P1)."""
    max_new_tokens: int = 32
    """Longest reply."""
    max_prompt_tokens: int = 96
    """Longest history; older turns are dropped."""
    normalise: bool = True
    """Whether scores are brought to mean 0 and deviation 1 on the reference's replies (rule R6)."""
    normalising_replies: int = 256
    """Replies of the reference that this is measured on."""
    score_limit: float = 4.0
    """Scores beyond are cut off, in normalised units."""
    no_end: NoEnd = "replace"
    """What becomes of the score of a reply that never ends (rule P16): it is replaced by `no_end_score`
    in normalised units, or in the reward model's own (`replace-raw`), or that is added to it."""
    no_end_score: float = -2.0
    """Score of a reply that never ends, or what is added to it."""
    ema_decay: float = 0.0
    """Of the moving average of the policy's weights over steps, which is what the stage gives (rule P21;
    InstructGPT: 0.992); 0 gives the last weights."""
    ptx_coefficient: float = 0.0
    """γ: weight of pretraining's gradient in every policy step (rule P22); 0 leaves it out."""
    ptx_examples: int = 8
    """Pieces of documents in a minibatch for each of its replies."""
    ptx_tokens: int = 0
    """Tokens of documents in a minibatch instead, whatever its replies; 0 counts by replies."""
    ptx_row_tokens: int = 128
    """Tokens of a piece at most."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Low-rank adapters for policy and critic, on one trunk with the reference; the checkpoint holds the
    policy's merged."""

    def __post_init__(self) -> None:
        check_bounds(self, steps=(1, inf), batch=(2, inf), epochs=(1, inf), minibatches=(1, self.batch // 2))
        check_bounds(self, rate=(0, inf), value_rate=(0, inf), warmup=(0, inf), value_only_steps=(0, inf))
        check_bounds(
            self, warmup_start=(0, 1), floor=(0, 1), value_only_limit=(0, inf), micro_tokens=(0, inf)
        )
        check_bounds(self, kl_coefficient=(0, inf), kl_budget_nats=(0, inf), guard_drop=(0, inf))
        check_bounds(self, clip=(1e-6, 1), value_clip=(1e-6, inf), best_of=(1, 4096))
        check_bounds(self, trace_decay=(0, 1), temperature=(1e-3, inf), max_new_tokens=(1, inf))
        check_bounds(self, max_prompt_tokens=(8, inf), normalising_replies=(2, inf), score_limit=(0, inf))
        check_bounds(self, no_end_score=(-inf, inf), kl_target_nats=(0, inf), kl_horizon=(1, inf))
        check_bounds(self, ema_decay=(0, 1), ptx_coefficient=(0, inf), ptx_examples=(1, inf))
        check_bounds(self, ptx_tokens=(0, inf), ptx_row_tokens=(8, inf))
        self._check_shares()
        self._check_together()

    def _check_shares(self) -> None:
        for kind, share in self.balance.items():
            if not (isfinite(share) and share >= 0):
                raise ValueError(f"balance: the share of {kind} must be 0 or more, not {share}")
        if self.balance and not sum(self.balance.values()):
            raise ValueError("balance: every share is 0, so no prompt would ever be drawn")

    def _check_together(self) -> None:
        if self.kl_target_nats and not self.kl_coefficient:
            raise ValueError("kl_target_nats needs a kl_coefficient above 0 to begin with")
        if self.ema_decay == 1:
            raise ValueError("ema_decay 1 would give the policy as it was; it is below 1")
        if self.critic == "reward" and self.reward == "gold":
            raise ValueError(
                "critic: reward needs reward: model; the world's truth is no network to start from"
            )
        if self.whiten_rewards and self.score_slot == "after":
            raise ValueError("whiten_rewards puts rewards into other units than the score that is paid after")

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and reply together, at most."""
        return self.max_prompt_tokens + self.max_new_tokens

    @property
    def ptx_pieces(self) -> int:
        """Pieces of documents in a minibatch."""
        if self.ptx_tokens:
            return max(1, self.ptx_tokens // self.ptx_row_tokens)
        return self.ptx_examples * -(-self.batch // self.minibatches)
