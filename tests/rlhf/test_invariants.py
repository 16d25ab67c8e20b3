"""What a run of PPO watches: faults that stop it, bad signs that are told once, each with its diagnosis."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from parley.engine.sampler import Completion, sample
from parley.errors import InvariantError
from parley.model.decoder import Decoder
from parley.rlhf.forward import over_replies, policy_logprobs
from parley.rlhf.invariants import Finding, Findings, check_rollout, symptoms
from parley.rlhf.rollout import rollout_tokens, sampler_gap
from tests.tiny import tiny_decoder, tiny_tokenizer

HEALTHY = {
    "kl_nats": 0.1,
    "kl_nats se": 0.02,
    "kl_k3_nats": 0.1,
    "sampler_gap": 1e-6,
    "ended": 0.9,
    "length_tokens": 12.0,
    "explained_variance": 0.4,
    "clip_fraction": 0.05,
}


def watched(change: dict[str, float], *, steps: int = 20) -> list[str]:
    """Names of what is told when the figures change after the first step."""
    values: dict[str, float] = {}
    told = list(symptoms(values, HEALTHY, learning=True))
    for _ in range(steps):
        told += symptoms(values, HEALTHY | change, learning=True)
    return [finding.name for finding in told]


def test_a_healthy_run_tells_nothing() -> None:
    check_rollout(HEALTHY, tolerance=2e-3, step=0)
    assert watched({}) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kl_nats": -0.5}, "negative KL"),
        ({"explained_variance": -0.3}, "critic"),
        ({"clip_fraction": 0.6}, "clipping"),
        ({"ended": 0.1}, "end-of-text rate"),
        ({"length_tokens": 40.0}, "length drift"),
        ({"length_tokens": 2.0}, "length drift"),
    ],
)
def test_each_bad_sign_is_told_once_by_name(change: dict[str, float], name: str) -> None:
    assert watched(change) == [name]


def test_one_odd_step_and_steps_before_learning_tell_nothing() -> None:
    assert watched({"length_tokens": 14.0, "ended": 0.8}) == []
    values: dict[str, float] = {}
    for _ in range(9):
        assert list(symptoms(values, HEALTHY | {"explained_variance": -2.0}, learning=False)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kl_k3_nats": -0.2}, "never below 0"),
        ({"sampler_gap": 0.3}, "not drawn from the policy that is trained"),
    ],
)
def test_what_can_only_be_a_mistake_stops_the_run(change: dict[str, float], words: str) -> None:
    """P4, P1 in production."""
    with pytest.raises(InvariantError, match=f"step 3: .*{words}"):
        check_rollout(HEALTHY | change, tolerance=2e-3, step=3)


def test_findings_are_kept_and_rewound_with_the_steps(tmp_path: Path) -> None:
    kept = Findings(tmp_path / "findings.jsonl")
    for step in (3, 7):
        kept.tell(step, Finding("critic", "it knows nothing"))
    with kept.path.open("a") as file:
        file.write('{"step": 9, "na')
    assert [row["step"] for row in kept.rows()] == [3, 7]
    kept.rewind(5)
    assert [(row["step"], row["sentence"]) for row in kept.rows()] == [(3, "it knows nothing")]
    kept.rewind(0)
    assert not kept.path.exists()


@torch.no_grad()
def test_the_sampler_and_the_learner_mean_the_same_policy() -> None:
    """P1: what the sampler drew by against packed rows; another temperature or other weights show."""
    decoder, pad = tiny_decoder(3), tiny_tokenizer().pad
    prompts = [[7, 8, 9, 10], [11] * 5, [12]]
    drawn = sample(
        decoder,
        prompts,
        max_new_tokens=9,
        temperature=0.7,
        end_id=1,
        generator=torch.Generator().manual_seed(0),
        logprobs=True,
    )
    examples = rollout_tokens(prompts, drawn)

    def gap(completions: list[Completion], learner: Decoder, temperature: float) -> float:
        found = over_replies(
            examples,
            lambda part: policy_logprobs(learner, part, temperature=temperature),
            pad=pad,
            device="cpu",
        )
        mask = over_replies(examples, lambda part: part.mask, pad=pad, device="cpu")
        return sampler_gap(completions, found, mask)

    assert gap(drawn, decoder, 0.7) < 1e-5
    assert gap(drawn, decoder, 1.0) > 0.01
    assert gap(drawn, tiny_decoder(4), 0.7) > 0.01
