"""PPO's options: adaptive price, end-of-text modes, moving average, pretraining mix; all off by default."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.artifacts import Checkpoint, Run, Snapshot, Workspace
from parley.dialogue import dialogue
from parley.engine.sampler import Completion
from parley.errors import ConfigError, InvariantError
from parley.labels import Document, Prompt
from parley.metrics import MetricsFile
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.model.dropout import dropout, residual_parts
from parley.model.heads import RewardModel, ValueModel
from parley.rlhf import loop
from parley.rlhf.batches import permutation
from parley.rlhf.control import adapted_price
from parley.rlhf.copies import WeightCopy
from parley.rlhf.forward import over_replies, policy_logprobs, score_all, state_values
from parley.rlhf.invariants import FINDINGS, Findings
from parley.rlhf.loop import adam, descend
from parley.rlhf.rollout import NoEnd, final_scores, rollout_tokens
from parley.stages import ppo, ppo_models, ppo_update
from parley.stages.likelihood import document_tokens, mean_loss
from parley.stages.ppo import train_ppo
from parley.stages.ppo_config import PpoConfig
from parley.stages.ptx import Pretraining, pretraining
from parley.stages.records import document_row, prompt_row, write_rows
from tests.kills import kill_everything
from tests.stages.test_ppo import CONFIG, PLAN, policy, reward
from tests.tiny import TEXTS, tiny_model, tiny_tokenizer

ALL = replace(
    CONFIG,
    steps=6,
    epochs=2,
    rate=5e-3,
    kl_target_nats=0.02,
    kl_horizon=10.0,
    ema_decay=0.8,
    ptx_coefficient=0.5,
    ptx_examples=2,
    ptx_row_tokens=16,
    no_end="add",
)


def told(out: Workspace) -> Snapshot:
    prompts = [Prompt(dialogue([f"Who {n}?"]), "test") for n in range(5)]
    write_rows(out.file("prompts.jsonl"), map(prompt_row, prompts))
    write_rows(out.file("documents.jsonl"), (document_row(Document(text, "test")) for text in TEXTS * 4))
    return out.seal(Snapshot, {})


def trained(path: Path, config: PpoConfig) -> Checkpoint:
    run = Run(path, seed=1, plan=PLAN)
    sft = run.once("sft", policy, 2)
    scored = run.once("reward", reward, 64, False)
    return run.once("ppo 1", train_ppo, sft, sft, scored, run.once("data", told), config)


def rows(checkpoint: Checkpoint) -> list[dict[str, float]]:
    return MetricsFile(checkpoint.path / "metrics.jsonl").rows()


def flat(model: LoadedModel) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in model.decoder.state_dict().values()])


def weights(checkpoint: Checkpoint) -> torch.Tensor:
    return flat(load_checkpoint(checkpoint.path, PLAN))


def test_the_price_follows_the_golden_sequence() -> None:
    """P6, by hand: β 0.15, target 6 nats, 512 replies, horizon 10,000. Half the target and twice the target
    are both cut to a fifth; 6.3 is 5 % above."""
    price, seen = 0.15, []
    for kl in (3.0, 12.0, 6.3, 6.0):
        price = adapted_price(price, kl, target_nats=6.0, replies=512, horizon=10_000.0)
        seen.append(price)
    wanted = [0.148464, 0.14998427136, 0.150368231094682, 0.150368231094682]
    assert seen == pytest.approx(wanted, rel=1e-12)


def test_the_price_in_a_run_follows_the_kl_of_whole_replies(tmp_path: Path) -> None:
    """P6: β of each step follows from the KL of the steps before; without a target there is no such figure."""
    steps = rows(trained(tmp_path / "a", ALL))
    price = ALL.kl_coefficient
    for step in steps:
        assert step["kl_coefficient"] == pytest.approx(price, rel=1e-9)
        error = min(max(step["kl_nats"] / 0.02 - 1, -0.2), 0.2)
        price *= 1 + error * ALL.batch / 10.0
    assert len({step["kl_coefficient"] for step in steps}) == len(steps)
    assert "kl_coefficient" not in rows(trained(tmp_path / "b", CONFIG))[0]


@pytest.mark.parametrize(
    ("mode", "score", "wanted"),
    [
        ("replace", -1.0, [4.0, -4.0, -1.0, -1.0]),
        ("replace-raw", -1.0, [4.0, -4.0, -1.0, -1.0]),
        ("add", -1.0, [4.0, -4.0, 0.5, 3.0]),
        ("add", 0.0, [4.0, -4.0, 1.5, 4.0]),
    ],
)
def test_the_truth_table_of_replies_that_do_not_end(mode: NoEnd, score: float, wanted: list[float]) -> None:
    """P16."""
    found = final_scores(
        torch.tensor([9.0, -9.0, 1.5, 9.0]),
        [True, True, False, False],
        no_end_score=score,
        limit=4.0,
        no_end=mode,
    )
    assert found.tolist() == wanted


def test_a_raw_end_score_is_in_the_reward_models_own_units() -> None:
    values = {"score_mean": 2.0, "score_deviation": 4.0}
    config = replace(CONFIG, no_end_score=-1.0)
    assert ppo._no_end_score(values, config) == -1.0
    assert ppo._no_end_score(values, replace(config, no_end="add")) == -1.0
    assert ppo._no_end_score(values, replace(config, no_end="replace-raw")) == pytest.approx(-0.75)


def test_the_moving_average_is_what_the_stage_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P21: d^n w_0 + (1 - d) Σ d^(n-i) w_i over the policy's weights after every step."""
    seen: list[torch.Tensor] = []
    average = WeightCopy.average

    def spy(self: WeightCopy, module: Any, *, decay: float) -> None:
        seen.append(torch.cat([weight.flatten() for weight in module.state_dict().values()]).clone())
        average(self, module, decay=decay)

    monkeypatch.setattr(WeightCopy, "average", spy)
    config = replace(CONFIG, steps=4, rate=5e-3, ema_decay=0.7)
    done = trained(tmp_path / "a", config)
    expected = weights(Run(tmp_path / "a", seed=1, plan=PLAN).once("sft", policy, 2))
    for after in seen:
        expected = 0.7 * expected + 0.3 * after
    torch.testing.assert_close(weights(done), expected)
    assert torch.equal(weights(trained(tmp_path / "b", replace(config, ema_decay=0.0))), seen[-1])


def test_the_gradient_is_that_of_ppo_plus_gamma_times_that_of_pretraining(tmp_path: Path) -> None:
    """P22: one buffer, one step."""
    run = Run(tmp_path, seed=1, plan=PLAN)
    snapshot = run.once("data", told)
    gradients = {}
    for name, gamma in (("ppo", 0.0), ("ptx", 1.0), ("both", 0.3)):
        model = tiny_model()
        tokens = torch.randint(6, 280, (3, 10), generator=torch.Generator().manual_seed(0))
        hidden = model.decoder(tokens, torch.arange(10).expand(3, 10), torch.zeros(3, 1, 10, 10))
        loss = model.decoder.token_logprobs(hidden, tokens).mean()
        text = pretraining(snapshot, model, coefficient=gamma, row_tokens=16, needed=9, seed=5)
        losses = {"ppo": [loss], "ptx": [], "both": [loss]}[name]
        more = [] if name == "ppo" else [*text.losses(model, number=1, count=4)]
        descend(adam(model.decoder.parameters()), *losses, *more, clip_norm=1e9)
        gradients[name] = torch.cat(
            [p.grad.flatten() for p in model.decoder.parameters() if p.grad is not None]
        )
    torch.testing.assert_close(
        gradients["both"], gradients["ppo"] + 0.3 * gradients["ptx"], atol=1e-7, rtol=1e-4
    )
    assert gradients["ptx"].norm() > 0


def test_pretraining_pieces_come_in_order_and_from_the_start_again(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=1, plan=PLAN)
    model = tiny_model()
    text = pretraining(run.once("data", told), model, coefficient=1.0, row_tokens=16, needed=10**6, seed=5)
    order = permutation(len(TEXTS) * 4, seed=5)
    wanted = document_tokens([(TEXTS * 4)[i] for i in order], model.tokenizer, row_tokens=16)
    assert text.pieces.tokens.tolist() == wanted.tokens.tolist()
    losses = [_loss(text, model, number) for number in range(len(wanted))]
    assert losses[0] == pytest.approx(
        -_logprob(model, wanted, range(5)) / sum(int(wanted.lengths[n]) - 1 for n in range(5)), rel=1e-5
    )
    assert len(set(losses[:4])) == 4
    assert _loss(text, model, len(wanted)) == losses[0]


def _loss(text: Pretraining, model: LoadedModel, number: int) -> float:
    (loss,) = text.losses(model, number=number, count=5)
    return loss().item()


@torch.no_grad()
def _logprob(model: LoadedModel, examples: Any, chosen: range) -> float:
    total = 0.0
    for n in chosen:
        ids, _ = examples.example(n)
        tokens = torch.tensor(ids.astype("int64"))[None]
        bias = torch.full((len(ids), len(ids)), -1e9).triu(1)[None, None]
        hidden = model.decoder(tokens, torch.arange(len(ids))[None], bias)
        logprobs = model.decoder.logits(hidden[0, :-1]).double().log_softmax(-1)
        total += float(logprobs.gather(1, tokens[0, 1:, None]).sum())
    return total


def test_without_a_coefficient_ppo_is_plain_bit_for_bit(tmp_path: Path) -> None:
    plain = trained(tmp_path / "a", CONFIG)
    other = trained(tmp_path / "b", replace(CONFIG, ptx_examples=3, ptx_tokens=64, ptx_row_tokens=32))
    assert torch.equal(weights(plain), weights(other))
    assert [row["score"] for row in rows(plain)] == [row["score"] for row in rows(other)]


def test_pretraining_keeps_what_was_read(tmp_path: Path) -> None:
    """The likelihood of the documents falls in plain PPO and rises with the mix."""
    examples = document_tokens(TEXTS, tiny_tokenizer(), row_tokens=64)
    config = replace(CONFIG, steps=8, rate=5e-3, value_only_steps=0)
    losses = []
    for name, changed in (("plain", config), ("mixed", replace(config, ptx_coefficient=1.0, ptx_tokens=256))):
        decoder = load_checkpoint(trained(tmp_path / name, changed).path, PLAN).decoder
        losses.append(mean_loss(decoder, examples, pad=tiny_tokenizer().pad, row_tokens=64))
    assert losses[1] < losses[0] - 0.3


def test_scores_of_the_references_replies_have_mean_zero_and_deviation_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6, by the numbers 0 to 7 as scores: mean 3.5, deviation √5.25."""
    seen: list[dict[str, float]] = []
    monkeypatch.setattr(
        ppo_models, "model_score", lambda *_, **__: lambda prompts, *_: torch.arange(float(len(prompts)))
    )
    roll_out = ppo.roll_out

    def spy(*args: Any) -> Any:
        seen.append(dict(args[3]))
        return roll_out(*args)

    monkeypatch.setattr(ppo, "roll_out", spy)
    trained(tmp_path, replace(CONFIG, steps=1))
    scores = (torch.arange(8.0) - seen[0]["score_mean"]) / seen[0]["score_deviation"]
    assert scores.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert scores.std(unbiased=False).item() == pytest.approx(1.0, rel=1e-6)
    assert seen[0]["score_deviation"] == pytest.approx(5.25**0.5)


def test_with_everything_on_a_kill_changes_nothing(tmp_path: Path) -> None:
    """C1: PPO-ptx, average, adapted β, guard, several reward models and their critic; each is saved or
    follows from the step. `make prove` does it twenty times."""
    assert kill_everything(tmp_path, kills=3, seed=3)["kills"] == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kl_target_nats": 1.0, "kl_coefficient": 0.0}, "kl_target_nats needs a kl_coefficient"),
        ({"ema_decay": 1.0}, "below 1"),
        ({"kl_horizon": 0.0}, "kl_horizon"),
        ({"ptx_coefficient": -1.0}, "ptx_coefficient must be at least 0"),
        ({"ptx_row_tokens": 4}, "ptx_row_tokens"),
        ({"critic": "reward", "reward": "gold"}, "needs reward: model"),
        ({"whiten_rewards": True, "score_slot": "after"}, "other units"),
        ({"balance": {"a": -1.0}}, "the share of a must be 0 or more"),
        ({"balance": {"a": 0.0}}, "no prompt would ever be drawn"),
        ({"best_of": 0}, "best_of"),
        ({"warmup_start": 2.0}, "warmup_start"),
    ],
)
def test_numbers_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(CONFIG, **changes)


def test_pretraining_without_documents_or_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="the model's context has 128"):
        trained(tmp_path, replace(ALL, ptx_row_tokens=500))
    monkeypatch.setattr("parley.stages.ptx.documents_of", lambda *_: iter(()))
    with pytest.raises(ConfigError, match="needs documents"):
        trained(tmp_path, ALL)


def test_pieces_of_a_minibatch_by_replies_or_by_tokens() -> None:
    assert replace(CONFIG, batch=9, minibatches=2, ptx_examples=8).ptx_pieces == 40
    assert replace(CONFIG, ptx_tokens=1000, ptx_row_tokens=128).ptx_pieces == 7


def test_layers_that_are_recomputed_change_nothing(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=2, value_only_steps=0, critic="reward")
    plain = trained(tmp_path / "a", config)
    assert trained(tmp_path / "b", replace(config, recompute=True)).digest == plain.digest


def test_a_kind_of_prompt_that_nobody_gave_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prompt of 'hh'"):
        trained(tmp_path, replace(CONFIG, balance={"hh": 1.0}))


def test_a_fault_in_the_models_stops_a_real_run_before_the_first_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3 in production: a policy that drops something in the update is found out, and nothing is sealed."""

    def noisy(decoder: Any, *arguments: Any, **options: Any) -> torch.Tensor:
        with dropout(residual_parts(decoder), 0.3, seed=1):
            return policy_logprobs(decoder, *arguments, **options)

    monkeypatch.setattr(ppo_update, "policy_logprobs", noisy)
    with pytest.raises(InvariantError, match=r"step 0: before the first update .* look for dropout"):
        trained(tmp_path, CONFIG)
    assert not list(tmp_path.glob("ppo-1-*/manifest.json"))


def test_scores_that_are_not_numbers_stop_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(prompts: Any, *rest: Any) -> torch.Tensor:
        return torch.full((len(prompts),), float("nan"))

    monkeypatch.setattr(ppo_models, "model_score", lambda *_, **__: score)
    with pytest.raises(InvariantError, match=r"scores? .*not finite|became nan"):
        trained(tmp_path, replace(CONFIG, no_end="add"))


def test_findings_of_a_run_are_kept_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo_update, "explained_variance", lambda *_: -1.0)
    done = trained(tmp_path, replace(CONFIG, steps=9, value_only_steps=0))
    found = Findings(done.path / FINDINGS).rows()
    assert [row["name"] for row in found] == ["critic"]
    assert "start it from the reward model" in found[0]["sentence"]
    assert done.figures["findings"] == 1


def test_what_stands_behind_the_end_changes_nothing(tmp_path: Path) -> None:
    """P17, bitwise: a batch whose padding holds other tokens has the same log-probabilities, values, scores."""
    model, tokens = tiny_model(), tiny_tokenizer()
    generator = torch.Generator().manual_seed(0)
    rows_ = [torch.randint(6, 290, (size,), generator=generator).tolist() for size in (6, 11, 3)]
    examples = rollout_tokens([[tokens.user, 9]] * 3, [Completion((*row, tokens.end), True) for row in rows_])
    critic, judge = ValueModel(model.decoder), RewardModel(tiny_model(5).decoder, [])
    torch.nn.init.normal_(critic.head.weight)
    found = [
        (
            over_replies(
                examples, partial(policy_logprobs, model.decoder, temperature=1.0), pad=pad, device="cpu"
            ),
            over_replies(examples, partial(state_values, critic), pad=pad, device="cpu"),
            score_all(judge, examples, pad=pad),
        )
        for pad in (tokens.pad, tokens.end, 77)
    ]
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


OTHERS = replace(
    ALL,
    critic="reward",
    value_only_limit=3,
    score_slot="after",
    whiten="minibatch",
    adam="tensorflow",
    schedule="cosine",
    warmup_start=0.1,
    floor=0.1,
    micro_tokens=40,
    recompute=True,
    balance={"test": 1.0},
)


def test_the_other_half_of_the_options_survives_a_kill_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: a critic that waits, scores behind the end, portions, recomputed layers, the other Adam."""
    unbroken = trained(tmp_path / "whole", OTHERS)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)
        patch.setattr(loop, "SAVE_SHARE", 1e9)
        roll_out = ppo.roll_out

        def killed(*args: Any) -> Any:
            if args[-1] == 4:
                raise KeyboardInterrupt
            return roll_out(*args)

        patch.setattr(ppo, "roll_out", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut", OTHERS)
    resumed = trained(tmp_path / "cut", OTHERS)
    assert resumed.digest == unbroken.digest
    assert rows(resumed) == rows(unbroken)
