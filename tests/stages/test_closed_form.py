"""The strongest oracle there is for PPO: a language so small that its optimum is known exactly.

Eight tokens, replies of at most three: of all replies y the best policy is π*(y) ∝ π_ref(y) exp(r(y)/β).
Sampler, rollout, advantages, update and schedule are the stage's own; only prompt and score are made up.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from parley.artifacts import Snapshot
from parley.engine.sampler import sample
from parley.model.checkpoint import LoadedModel
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.heads import ValueModel
from parley.model.render import ChatFormat
from parley.rlhf.batches import TokenSet
from parley.rlhf.forward import over_replies, policy_logprobs, state_values
from parley.rlhf.loop import adam
from parley.rlhf.rollout import RolloutBatch, rollout_tokens
from parley.stages.ppo_config import PpoConfig
from parley.stages.ppo_models import Models
from parley.stages.ppo_update import update
from tests.tiny import tiny_tokenizer, workspace

END, PAD, LONGEST, BETA = tiny_tokenizer().end, tiny_tokenizer().pad, 3, 0.5
PROMPT = [5, 6]
REPLIES = [
    reply
    for size in range(1, LONGEST + 1)
    for reply in product(range(8), repeat=size)
    if END not in reply[:-1] and (reply[-1] == END or size == LONGEST)
]
CONFIG = PpoConfig(
    steps=220,
    batch=128,
    epochs=2,
    minibatches=2,
    rate=6e-3,
    value_rate=1e-2,
    warmup=5,
    value_only_steps=5,
    kl_coefficient=BETA,
    max_new_tokens=LONGEST,
)


class Exact(NamedTuple):
    """Expected score and KL to the reference, in nats, summed over every reply."""

    score: float
    kl_nats: float


def decoder() -> Decoder:
    shape = DecoderConfig(
        vocab_size=8, width=32, layers=1, heads=2, kv_heads=2, mlp_width=64, max_positions=8, tied=False
    )
    made = Decoder(shape).initialise(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for matrix in (made.embedding, made.head_weight):
            matrix.mul_(20)  # a reference with opinions
    return made


def every() -> TokenSet:
    return TokenSet.of(([*PROMPT, *y], [False] * len(PROMPT) + [True] * len(y)) for y in REPLIES)


@torch.no_grad()
def logprobs(policy: Decoder) -> Tensor:
    """log π(y) of every reply, in float64."""
    found = over_replies(
        every(), lambda part: policy_logprobs(policy, part, temperature=1.0), pad=PAD, device="cpu"
    )
    return found.double().sum(1)


def exact(logp: Tensor, reference: Tensor, scores: Tensor) -> Exact:
    chances = logp.exp()
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-4)
    return Exact(float((chances * scores).sum()), float((chances * (logp - reference)).sum()))


def test_ppo_ends_at_the_optimum_that_is_known(tmp_path: Path) -> None:
    """Expected score and KL within 2 % of those of π*, which are far from where it started."""
    policy, reference = decoder(), decoder()
    scores = torch.randn(len(REPLIES), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    of = {y: float(score) for y, score in zip(REPLIES, scores, strict=True)}
    at_first = logprobs(reference)
    tilted = at_first + scores / BETA
    best = exact(tilted - tilted.logsumexp(0), at_first, scores)
    start = exact(at_first, at_first, scores)
    assert best.score > start.score + 0.5
    assert start.kl_nats == pytest.approx(0.0, abs=1e-9)
    learn(tmp_path, policy, reference, of, CONFIG)
    found = exact(logprobs(policy), at_first, scores)
    assert found.score == pytest.approx(best.score, rel=0.02)
    assert found.kl_nats == pytest.approx(best.kl_nats, rel=0.02)
    assert found.score - BETA * found.kl_nats <= best.score - BETA * best.kl_nats, (
        "nothing is above the optimum"
    )


def learn(
    path: Path, policy: Decoder, reference: Decoder, of: dict[tuple[int, ...], float], config: PpoConfig
) -> None:
    """The stage's loop over one prompt."""
    out = workspace(path)
    speaker = LoadedModel(policy, tiny_tokenizer(), ChatFormat())
    torch.manual_seed(0)
    value = ValueModel(decoder())
    models = Models(speaker, reference, value, lambda *_: torch.zeros(0), Snapshot(path, "", {}), None)
    optimizers = {
        "policy": adam(policy.parameters(), eps=1e-5),
        "value": adam(value.parameters(), eps=1e-5),
    }
    values: dict[str, float] = {}
    for step in range(config.steps):
        rollout = _rollout(models, of, seed=out.seed_for("rollout", step), config=config)
        update(out, models, rollout, optimizers, values, config, step, config.kl_coefficient)


@torch.no_grad()
def _rollout(
    models: Models, of: dict[tuple[int, ...], float], *, seed: int, config: PpoConfig
) -> RolloutBatch:
    policy = models.policy.decoder
    drawn = sample(
        policy,
        [PROMPT] * config.batch,
        max_new_tokens=LONGEST,
        temperature=1.0,
        end_id=END,
        generator=torch.Generator().manual_seed(seed),
        batch_size=config.batch,
    )
    examples = rollout_tokens([PROMPT] * config.batch, drawn)

    def read(model: Decoder) -> Tensor:
        return over_replies(
            examples, lambda part: policy_logprobs(model, part, temperature=1.0), pad=PAD, device="cpu"
        )

    reference = models.reference
    assert isinstance(policy, Decoder)
    assert isinstance(reference, Decoder)
    return RolloutBatch(
        examples,
        over_replies(examples, lambda part: part.mask, pad=PAD, device="cpu"),
        read(policy),
        read(reference),
        over_replies(examples, lambda part: state_values(models.value, part), pad=PAD, device="cpu"),
        torch.tensor([of[done.tokens] for done in drawn]),
        torch.zeros(config.batch),
    )
