"""Replies of every PPO step that are kept for reading, in `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from parley.engine.sampler import Completion
from parley.labels import Prompt
from parley.metrics import Sample
from parley.model.checkpoint import LoadedModel

KEPT: Final = 4  # the first of each batch, whatever they are


def kept_samples(
    policy: LoadedModel,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    *,
    score: Tensor,
    kl_nats: Tensor,
    gold: Sequence[float] | None,
) -> list[Sample]:
    """The first replies of a batch, with the reward model's score, the KL to the reference, and, where
    there is a truth, gold."""
    told = {"score": score.tolist(), "kl_nats": kl_nats.tolist()} | (
        {"gold": gold} if gold is not None else {}
    )
    return [
        Sample(
            prompt.conversation.messages[-1].text,
            policy.tokenizer.decode(done.tokens),
            {name: round(float(values[n]), 4) for name, values in told.items()},
        )
        for n, (prompt, done) in enumerate(zip(prompts[:KEPT], completions, strict=False))
    ]
