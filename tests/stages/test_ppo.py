"""PPO as a stage: it finds a known optimum, its figures are right, and what cannot work is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.artifacts import Checkpoint, RewardCheckpoint, Run, Snapshot, Workspace
from parley.dialogue import dialogue
from parley.engine.sampler import Completion
from parley.errors import ConfigError, InvariantError
from parley.labels import Prompt
from parley.metrics import MetricsFile
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.heads import RewardModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import LoadedReward, save_reward
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.rlhf.advantages import generalised_advantages, shaped_rewards, whiten
from parley.rlhf.batches import TokenSet
from parley.rlhf.invariants import check_first_minibatch
from parley.rlhf.rollout import RolloutBatch, estimate, final_scores, rollout_tokens
from parley.stages import ppo, ppo_models, ppo_update
from parley.stages.ppo import train_ppo
from parley.stages.ppo_config import PpoConfig
from parley.stages.records import prompt_row, write_rows
from tests.tiny import TEXTS, tiny_decoder, tiny_tokenizer

PLAN = NumericPlan()
CONFIG = PpoConfig(
    steps=3,
    batch=8,
    minibatches=2,
    value_only_steps=1,
    max_new_tokens=4,
    max_prompt_tokens=24,
    normalising_replies=8,
)


def policy(out: Workspace, seed: int) -> Checkpoint:
    save_checkpoint(out.path, tiny_decoder(seed), tiny_tokenizer(), ChatFormat())
    return out.seal(Checkpoint, {})


def told(out: Workspace) -> Snapshot:
    prompts = [Prompt(dialogue([f"Who {n}?"]), "test") for n in range(5)]
    write_rows(out.file("prompts.jsonl"), map(prompt_row, prompts))
    return out.seal(Snapshot, {})


def reward(out: Workspace, context: int, other_tokenizer: bool) -> RewardCheckpoint:
    torch.manual_seed(0)
    tokenizer = (
        Tokenizer.train([*TEXTS, "quite other words"] * 3, 300) if other_tokenizer else tiny_tokenizer()
    )
    model = RewardModel(tiny_decoder(5), [])
    save_reward(out.path, LoadedReward(model, tokenizer, ChatFormat(), context))
    return out.seal(RewardCheckpoint, {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", seed=1, plan=PLAN)


def train(run: Run, config: PpoConfig, *, context: int = 64, other_tokenizer: bool = False) -> Checkpoint:
    sft = run.once("sft", policy, 2)
    scored = run.once("reward", reward, context, other_tokenizer)
    return run.once("ppo 1", train_ppo, sft, sft, scored, run.once("data", told), config)


def rows(checkpoint: Checkpoint) -> list[dict[str, float]]:
    return MetricsFile(checkpoint.path / "metrics.jsonl").rows()


def weights(checkpoint: Checkpoint) -> torch.Tensor:
    model = load_checkpoint(checkpoint.path, PLAN).decoder
    return torch.cat([weight.flatten() for weight in model.state_dict().values()])


def test_a_run_reports_what_it_did(run: Run) -> None:
    done = train(run, CONFIG)
    steps = rows(done)
    assert [row["step"] for row in steps] == [1, 2, 3]
    assert steps[0]["kl_nats"] == pytest.approx(0.0, abs=1e-5), "the policy begins as the reference"
    assert steps[0]["approx_kl"] == 0.0, "only the critic learns in the first step (P20)"
    assert done.figures["steps"] == 3
    assert done.figures["first_score"] == pytest.approx(sum(row["score"] for row in steps) / 3)


def test_fewer_replies_normalise_than_there_are_minibatches(run: Run) -> None:
    done = train(run, replace(CONFIG, steps=1, minibatches=4, normalising_replies=2))
    assert len(rows(done)) == 1


def test_only_the_critic_learns_in_value_only_steps(run: Run) -> None:
    done = train(run, replace(CONFIG, value_only_steps=3))
    assert torch.equal(weights(done), weights(run.once("sft", policy, 2)))
    assert not torch.equal(weights(train(run, CONFIG)), weights(done))


def test_the_reference_is_never_touched(run: Run) -> None:
    """P25: the artifact that the KL is measured to is the same before and after."""
    before = weights(run.once("sft", policy, 2))
    train(run, replace(CONFIG, rate=0.05))
    assert torch.equal(before, weights(run.once("sft", policy, 2)))


def test_the_kl_budget_stops_the_run(run: Run) -> None:
    done = train(run, replace(CONFIG, steps=40, rate=0.02, kl_coefficient=0.0, kl_budget_nats=0.3))
    kl = [row["kl_nats"] for row in rows(done)]
    assert len(kl) < 40
    assert kl[-1] > 0.3
    assert all(value <= 0.3 for value in kl[:-1])


@pytest.mark.parametrize(
    ("config", "arguments", "words"),
    [
        (CONFIG, {"context": 20}, "reads 20 tokens, PPO makes up to 28"),
        (CONFIG, {"other_tokenizer": True}, "another tokenizer"),
        (replace(CONFIG, max_prompt_tokens=200), {"context": 400}, "the model's context has 128"),
        (replace(CONFIG, reward="gold"), {}, "real data has none"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(
    run: Run, config: PpoConfig, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        train(run, config, **arguments)


def test_a_guard_stops_the_round_when_one_kind_of_prompt_falls(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over all rises meanwhile: prompts of one kind are punished, the others rewarded."""

    def score(prompts: list[Prompt], examples: object, completions: object) -> torch.Tensor:
        seen.append(0)
        sign = [-1.0 if "Who 0" in prompt.conversation.messages[0].text else 1.0 for prompt in prompts]
        return torch.tensor(sign) * 0.3 * len(seen)

    seen: list[int] = []
    monkeypatch.setattr(ppo_models, "model_score", lambda *_, **__: score)
    monkeypatch.setattr(ppo, "group_of", lambda prompt: prompt.conversation.messages[0].text)
    config = replace(CONFIG, steps=30, batch=10, normalise=False, no_end_score=0.0, guard_drop=0.5)
    monkeypatch.setattr(ppo, "final_scores", lambda scores, ended, **_: scores)
    steps = rows(train(run, config))
    assert 2 < len(steps) < 30
    assert steps[-1]["score Who 0?"] < steps[0]["score Who 0?"] - 0.5
    assert steps[-1]["score"] > steps[0]["score"]
    seen.clear()
    assert len(rows(train(run, replace(config, guard_drop=0.0)))) == 30


def test_a_ratio_off_one_before_the_first_update_is_a_diagnosis() -> None:
    """P3 in production."""
    healthy = {"ratio_gap": 1e-4, "approx_kl": 1e-9, "clip_fraction": 0.0}
    check_first_minibatch(healthy, tolerance=2e-3, step=0)
    for change in ({"ratio_gap": 0.5}, {"approx_kl": 0.1}, {"clip_fraction": 0.01}):
        with pytest.raises(InvariantError, match="step 7: .*dropout, another temperature"):
            check_first_minibatch(healthy | change, tolerance=2e-3, step=7)


def test_scores_of_replies_that_end_and_that_do_not() -> None:
    """P16 and the limit."""
    found = final_scores(
        torch.tensor([9.0, -9.0, 1.0, 1.0]), [True, True, True, False], no_end_score=-2.0, limit=4.0
    )
    assert found.tolist() == [4.0, -4.0, 1.0, -2.0]


def test_returns_come_from_advantages_before_whitening() -> None:
    """P8."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)
    logprobs, ref, values = (torch.randn(2, 4, generator=generator) * mask for _ in range(3))
    scores = torch.tensor([2.0, -1.0])
    rollout = RolloutBatch(TokenSet.of([]), mask, logprobs, ref, values, scores, torch.zeros(2))
    made = estimate(rollout, kl_coefficient=0.1, trace_decay=0.9)
    rewards = shaped_rewards(scores, logprobs, ref, mask, kl_coefficient=0.1)
    advantages = generalised_advantages(rewards, values, mask, trace_decay=0.9)
    torch.testing.assert_close(made.returns, advantages + values)
    torch.testing.assert_close(made.advantages, whiten(advantages, mask))


def test_sampled_ids_reach_the_models_as_they_are() -> None:
    """P24, P17: ids that re-encoding would merge otherwise stay apart, and nothing stands behind the end."""
    tokenizer = tiny_tokenizer()
    (whole,) = [tokenizer.encode("Mira")]
    pieces = [token for letter in "Mira" for token in tokenizer.encode(letter)]
    assert pieces != whole
    examples = rollout_tokens([[4, 9]], [Completion((*pieces, tokenizer.end), True)])
    tokens, mask = examples.example(0)
    assert tokens.tolist() == [4, 9, *pieces, tokenizer.end]
    assert mask.tolist() == [False, False] + [True] * (len(pieces) + 1)


def test_every_pass_sees_every_row_once_in_an_order_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P23."""
    seen: list[list[int]] = []
    minibatch = ppo_update._minibatch

    def spy(*args: Any) -> Any:
        seen.append(list(args[2]))
        return minibatch(*args)

    monkeypatch.setattr(ppo_update, "_minibatch", spy)
    train(run, replace(CONFIG, steps=2, epochs=3))
    passes = [[*seen[n], *seen[n + 1]] for n in range(0, len(seen), 2)]
    assert len(passes) == 2 * 3
    assert all(sorted(rows) == list(range(8)) for rows in passes)
    assert len({tuple(rows) for rows in passes}) == 6


def test_scores_are_brought_to_mean_zero_and_deviation_one_on_the_reference(run: Run) -> None:
    """R6: the figures are kept with the saved steps; without normalising they are the identity."""
    with pytest.MonkeyPatch.context() as patch:
        seen: list[dict[str, float]] = []
        roll_out = ppo.roll_out

        def spy(*args: Any) -> Any:
            seen.append(dict(args[3]))
            return roll_out(*args)

        patch.setattr(ppo, "roll_out", spy)
        train(run, CONFIG)
        train(run, replace(CONFIG, normalise=False))
    assert seen[0]["score_deviation"] > 0
    assert seen[0]["score_mean"] == pytest.approx(seen[0]["reference_score"])
    assert (seen[-1]["score_mean"], seen[-1]["score_deviation"]) == (0.0, 1.0)


def test_models_load_like_any_checkpoint(run: Run) -> None:
    loaded = load_checkpoint(train(run, CONFIG).path, PLAN)
    assert isinstance(loaded, LoadedModel)
    assert json.loads((run.once("sft", policy, 2).path / "config.json").read_text())["model_type"] == "llama"


def test_a_reward_model_in_another_chat_format_is_refused(run: Run) -> None:
    """P26: the template that it was trained in is part of it."""

    def other(out: Workspace) -> RewardCheckpoint:
        chat = ChatFormat(name="Nora", identity="You are {name}.")
        save_reward(out.path, LoadedReward(RewardModel(tiny_decoder(5), []), tiny_tokenizer(), chat, 64))
        return out.seal(RewardCheckpoint, {})

    sft, scored = run.once("sft", policy, 2), run.once("reward", other)
    with pytest.raises(ConfigError, match=r"another system prompt .'You are Nora"):
        run.once("ppo 1", train_ppo, sft, sft, scored, run.once("data", told), CONFIG)
