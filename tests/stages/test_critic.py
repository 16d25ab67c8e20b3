"""Where the critic starts, when the policy begins to learn, where the score is paid (rules P20, P5b, P9)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.artifacts import Checkpoint, RewardCheckpoint, Run, Workspace
from parley.metrics import MetricsFile
from parley.model.heads import Pooling, RewardCritic, RewardModel, ValueModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import LoadedReward, load_reward, save_reward
from parley.rlhf.advantages import whiten
from parley.rlhf.batches import TokenSet, packed_batch, reply_batch
from parley.rlhf.forward import reward_scores, state_and_end_values, state_values
from parley.rlhf.rollout import PpoBatch, RolloutBatch, estimate
from parley.stages import ppo, ppo_update
from parley.stages.ppo import train_ppo
from parley.stages.ppo_config import PpoConfig
from parley.stages.ppo_models import load_models
from parley.stages.ppo_update import policy_learns
from tests.stages.test_ppo import CONFIG, PLAN, policy, told
from tests.tiny import tiny_decoder, tiny_tokenizer, workspace

PAD = tiny_tokenizer().pad


def examples() -> TokenSet:
    generator = torch.Generator().manual_seed(4)
    sizes = ((5, 4), (9, 1), (3, 8), (6, 6))
    rows = [(torch.randint(6, 290, (a + b,), generator=generator).tolist(), a) for a, b in sizes]
    return TokenSet.of((row, [n >= first for n in range(len(row))]) for row, first in rows)


def judge(pooling: Pooling) -> RewardModel:
    torch.manual_seed(1)
    model = RewardModel(tiny_decoder(5), [tiny_decoder(6)], pooling=pooling)
    torch.nn.init.normal_(model.surprises[0].get_parameter("weight"), std=0.1)
    model.shift += 0.7
    return model


@pytest.mark.parametrize("pooling", ["last", "last+mean"])
@torch.no_grad()
def test_after_the_last_token_the_value_is_the_score(pooling: Pooling) -> None:
    """P20: V_old at the end is the reward model's score, bias included, in PPO's units; packed or alone. And
    a value in the middle is the score that the reply would have if it ended there."""
    model = judge(pooling)
    critic = RewardCritic(model)
    critic.use_units(0.3, 2.0)
    replies = reply_batch(examples(), [2, 0, 3, 1], pad=PAD, device="cpu")
    values, ends = state_and_end_values(critic, replies)
    torch.testing.assert_close(ends, (scores(model, [2, 0, 3, 1]) - 0.3) / 2.0, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values, state_values(critic, replies))
    tokens, mask = examples().example(2)
    cut = TokenSet.of([(tokens[:7], mask[:7])])  # after the fourth token of the reply
    alone = reward_scores(model, packed_batch(cut, [[0]], pad=PAD, device="cpu"))
    assert values[0, 7].item() == pytest.approx((alone.item() - 0.3) / 2.0, abs=1e-5)


def scores(model: RewardModel, order: list[int]) -> torch.Tensor:
    alone = [packed_batch(examples(), [[n]], pad=PAD, device="cpu") for n in order]
    return torch.cat([reward_scores(model, batch) for batch in alone])


def test_a_zero_head_knows_nothing_after_the_end_either() -> None:
    replies = reply_batch(examples(), [0, 1], pad=PAD, device="cpu")
    values, ends = state_and_end_values(ValueModel(tiny_decoder(1)), replies)
    assert not values.any()
    assert not ends.any()


def trained(path: Path, config: PpoConfig) -> Checkpoint:
    run = Run(path, seed=1, plan=PLAN)
    sft = run.once("sft", policy, 2)
    scored = run.once("reward", judged)
    return run.once("ppo 1", train_ppo, sft, sft, scored, run.once("data", told), config)


def judged(out: Workspace) -> RewardCheckpoint:
    save_reward(out.path, LoadedReward(judge("last+mean"), tiny_tokenizer(), ChatFormat(), 64))
    return out.seal(RewardCheckpoint, {})


def rows(done: Checkpoint) -> list[dict[str, float]]:
    return MetricsFile(done.path / "metrics.jsonl").rows()


@pytest.mark.parametrize("slot", ["end", "after"])
def test_a_critic_from_the_reward_model_starts_with_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: Any
) -> None:
    """In a run: the first rollout's end values are its scores, so where they are paid makes no difference;
    later ones are the critic's own, and the reward model's are what they were."""
    seen: list[tuple[RolloutBatch, torch.Tensor]] = []
    roll_out = ppo.roll_out

    def spy(out: Any, models: Any, prompts: Any, values: Any, config: Any, step: int) -> Any:
        found = roll_out(out, models, prompts, values, config, step)
        replies = reply_batch(found[0].examples, range(8), pad=PAD, device="cpu")
        with torch.no_grad():
            seen.append((found[0], state_and_end_values(models.value, replies)[1]))
        return found

    monkeypatch.setattr(ppo, "roll_out", spy)
    config = replace(
        CONFIG, critic="reward", score_slot=slot, score_limit=1e6, no_end="add", no_end_score=0.0
    )
    trained(tmp_path, config)
    torch.testing.assert_close(seen[0][1], seen[0][0].scores, atol=1e-4, rtol=1e-4)
    assert seen[0][0].end_values.any() == (slot == "after")
    assert (seen[2][1] - seen[2][0].scores).abs().max() > 1e-2


def test_with_adapters_the_critic_has_new_ones_on_the_reward_models_trunk(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", seed=1, plan=PLAN)
    sft, scored = run.once("sft", policy, 2), run.once("reward", judged)
    config = replace(CONFIG, critic="reward", adapters=replace(CONFIG.adapters, rank=2))
    out = workspace(tmp_path / "out")
    models = load_models(out, sft, sft, scored, run.once("data", told), config)
    assert isinstance(models.value, RewardCritic)
    learnt = [name for name, weight in models.value.named_parameters() if weight.requires_grad]
    assert {name.split(".")[1] for name in learnt} == {"trunk", "hidden", "score", "surprises"}
    assert all("inward" in name or "outward" in name for name in learnt if ".trunk." in name)
    replies = reply_batch(examples(), [0, 1], pad=PAD, device="cpu")
    with torch.no_grad():
        ends = state_and_end_values(models.value, replies)[1]
    torch.testing.assert_close(ends, scores(load_reward(scored.path, PLAN).members[0], [0, 1]))


def test_the_policy_waits_until_the_critic_explains_something() -> None:
    """P20: at least value_only_steps, at most value_only_limit, and never again once it has begun."""

    def begins(explained: list[float], **changes: Any) -> list[bool]:
        values: dict[str, float] = {}
        config = replace(CONFIG, **changes)
        return [policy_learns(values, config, step, found) for step, found in enumerate(explained)]

    assert begins([-0.1, 0.0, 0.2, -0.5], value_only_steps=1, value_only_limit=9) == [
        False,
        False,
        True,
        True,
    ]
    assert begins([0.5, 0.5, 0.5], value_only_steps=2, value_only_limit=9) == [False, False, True]
    assert begins([-1.0] * 4, value_only_steps=0, value_only_limit=3) == [False, False, False, True]
    assert begins([-1.0] * 3, value_only_steps=1) == [False, True, True]


def test_in_a_run_the_policy_stands_still_until_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([-1.0, -0.1, 0.3, -0.4])
    monkeypatch.setattr(ppo_update, "explained_variance", lambda *_: next(figures))
    steps = rows(trained(tmp_path, replace(CONFIG, steps=4, value_only_steps=0, value_only_limit=9)))
    assert [step["approx_kl"] > 0 for step in steps] == [False, False, True, True]


def test_advantages_are_whitened_over_each_minibatch_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: OpenAI's scope. Each minibatch has mean 0 and deviation 1, with `rollout` only all together."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    part = ppo_update._policy_part

    def spy(decoder: Any, batch: PpoBatch, advantages: torch.Tensor, some: Any, *rest: Any) -> Any:
        seen.append((some.of(advantages), some.replies.mask))
        return part(decoder, batch, advantages, some, *rest)

    monkeypatch.setattr(ppo_update, "_policy_part", spy)
    config = replace(CONFIG, steps=1, epochs=1, no_end="add", no_end_score=0.0)
    for scope, own in (("minibatch", True), ("rollout", False), ("none", False)):
        seen.clear()
        trained(tmp_path / scope, replace(config, whiten=scope))  # type: ignore[arg-type]
        means = [float(values[mask].mean()) for values, mask in seen]
        spread = [float(values[mask].std(unbiased=False)) for values, mask in seen]
        assert (means == pytest.approx([0, 0], abs=1e-5)) is own
        assert (spread == pytest.approx([1, 1], abs=1e-3)) is own
        together = torch.cat([values[mask] for values, mask in seen])
        assert (float(together.std(unbiased=False)) == pytest.approx(1, abs=1e-3)) is (scope != "none")


def test_whitened_rewards_keep_their_mean() -> None:
    """P9, N+: `shift_mean=False` in the place where rewards are made."""
    mask = torch.tensor([[True, True, True], [True, True, False]])
    rewards = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)) * mask
    rollout = RolloutBatch(
        TokenSet.of([]), mask, rewards * 0, rewards * 0, rewards * 0, torch.ones(2), torch.zeros(2)
    )
    plain = estimate(rollout, kl_coefficient=0.0, trace_decay=1.0, whiten_advantages=False)
    found = estimate(
        rollout, kl_coefficient=0.0, trace_decay=1.0, whiten_advantages=False, whiten_rewards=True
    )
    paid = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    wanted = whiten(paid, mask, shift_mean=False)
    torch.testing.assert_close(found.advantages[:, 0], wanted.sum(1))
    torch.testing.assert_close(plain.advantages[:, 0], torch.ones(2))
