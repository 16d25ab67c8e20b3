"""A step read in several portions is the step read at once: losses, figures and gradients (rules S4, P12, R1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from parley.artifacts import Run
from parley.dialogue import Message, dialogue
from parley.labels import Ranking, Ranks
from parley.model.heads import RewardModel
from parley.rlhf.batches import epoch_batches
from parley.rlhf.groups import ranked_replies
from parley.rlhf.loop import adam, descend
from parley.rlhf.preference import PreferenceLoss, preference_loss, preference_losses
from parley.stages import ppo_update
from parley.stages.likelihood import document_tokens, likelihood_losses
from parley.stages.ppo import train_ppo
from parley.stages.ppo_config import PpoConfig
from tests.stages.test_ppo import PLAN, policy, reward
from tests.stages.test_ppo_options import ALL, rows, told
from tests.tiny import TEXTS, tiny_model

WORDS = ["Mira lives in Oakby.", "I do not know.", "Tom works as a baker.", "Which Sally do you mean?"]


def gathered(model: torch.nn.Module, losses: Any) -> tuple[float, Tensor]:
    """The summed loss, and the gradients before clipping."""
    found = descend(adam(model.parameters()), *losses, clip_norm=1e9).loss
    return found, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def same(whole: Tensor, parts: Tensor) -> None:
    """To 1e-6 of the gradient's norm."""
    assert float((whole - parts).norm() / whole.norm()) < 1e-6


@pytest.mark.parametrize("micro_tokens", [1, 40, 90, 10_000])
def test_maximum_likelihood_in_portions(micro_tokens: int) -> None:
    """S4: one row at a time, two, and all."""
    examples = document_tokens(TEXTS * 4, tiny_model().tokenizer, row_tokens=24)
    (batch, *_) = epoch_batches(examples, seed=1, row_tokens=24, batch_tokens=240)
    found = []
    for limit in (0, micro_tokens):
        model = tiny_model(1)
        losses = list(
            likelihood_losses(model.decoder, examples, batch, pad=model.tokenizer.pad, micro_tokens=limit)
        )
        found.append((len(losses), *gathered(model.decoder, losses)))
    assert found[0][0] == 1
    assert (found[1][0] == len(batch), found[1][0] == 1) == (micro_tokens <= 40, micro_tokens == 10_000)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-6)
    same(found[0][2], found[1][2])


@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_rankings_in_portions(margin: float) -> None:
    """R1, R2: rankings of different size, one of them all tied, with every term of the loss on."""
    ranks = [(1, 2, 3, 2), (2, 1), (1, 1, 1), (3, 1, 2, 1), (1, 2)]
    rankings = [
        Ranking(
            dialogue([f"Where does Mira live {n}?"]),
            tuple(Message("assistant", text, "p") for text in WORDS[: len(values)]),
            Ranks(values),
            "ana",
            "test",
        )
        for n, values in enumerate(ranks)
    ]
    found = []
    for limit in (0, 1, 120):
        torch.manual_seed(0)
        language = tiny_model(1)
        model = RewardModel(language.decoder, [])
        groups = ranked_replies(rankings, language, context=64)
        seen: list[PreferenceLoss] = []
        losses = preference_losses(
            model,
            groups,
            range(len(rankings)),
            pad=language.tokenizer.pad,
            score_penalty=0.1,
            language_weight=0.3,
            margin=margin,
            micro_tokens=limit,
            seen=seen,
        )
        loss, gradient = gathered(model, losses)
        figures = [sum(parts) for parts in zip(*map(_figures, seen), strict=True)]
        found.append((len(seen), [loss, *figures], gradient))
    assert [count for count, *_ in found] == [1, 5, 3]
    for _, figures, gradient in found[1:]:
        assert figures == pytest.approx(found[0][1], rel=1e-5)
        same(found[0][2], gradient)


def _figures(part: PreferenceLoss) -> tuple[float, float, float]:
    return part.ranking.loss.item(), part.ranking.accuracy.item(), part.language


def test_a_whole_step_is_the_loss_of_its_rankings() -> None:
    language = tiny_model(1)
    rankings = [
        Ranking(
            dialogue(["Who?"]),
            tuple(Message("assistant", text, "p") for text in WORDS),
            Ranks((1, 2, 3, 4)),
            "ana",
            "test",
        )
    ] * 2
    torch.manual_seed(0)
    model = RewardModel(language.decoder, [])
    groups = ranked_replies(rankings, language, context=64)
    assert groups.gaps[0] == (1, 2, 3, 1, 2, 1)
    seen: list[PreferenceLoss] = []
    pad = language.tokenizer.pad
    (loss,) = preference_losses(model, groups, [0, 1], pad=pad, score_penalty=0.0, seen=seen)
    assert torch.equal(loss(), preference_loss(model, groups, [0, 1], pad=pad, score_penalty=0.0).total)


@pytest.mark.parametrize("changes", [{}, {"score_slot": "after", "whiten": "minibatch"}])
def test_ppo_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    """P12, P22: the first gradients of policy (with pretraining text) and critic, and the step's figures."""
    config = replace(ALL, steps=1, value_only_steps=0, epochs=1, minibatches=2, **changes)
    found = [
        _ppo(tmp_path / str(limit), monkeypatch, replace(config, micro_tokens=limit)) for limit in (0, 30)
    ]
    for whole, parts in zip(found[0][0][:2], found[1][0][:2], strict=True):
        same(whole, parts)
    for name in ("policy_loss", "value_loss", "clip_fraction", "approx_kl"):
        assert found[1][1][name] == pytest.approx(found[0][1][name], rel=1e-4, abs=1e-6)
    assert found[1][2] > found[0][2], "more portions were read"


def _ppo(
    path: Path, monkeypatch: pytest.MonkeyPatch, config: PpoConfig
) -> tuple[list[Tensor], dict[str, float], int]:
    gradients: list[Tensor] = []
    portions: list[int] = []

    def spy(optimizer: AdamW, *losses: Callable[[], Tensor], clip_norm: float) -> Any:
        found = descend(optimizer, *losses, clip_norm=1e9)
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        portions.append(len(losses))
        return found

    monkeypatch.setattr(ppo_update, "descend", spy)
    run = Run(path, seed=1, plan=PLAN)
    sft = run.once("sft", policy, 2)
    scored = run.once("reward", reward, 64, False)
    done = run.once("ppo 1", train_ppo, sft, sft, scored, run.once("data", told), config)
    return gradients, rows(done)[0], sum(portions)
