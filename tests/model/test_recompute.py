"""Layers that are computed again on the way back: the same gradients, from less that is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from parley.errors import ConfigError
from parley.model import kernels
from parley.model.adapters import AdaptedModel, AdapterConfig, SharedTrunk
from parley.model.decoder import causal_bias
from parley.model.dropout import dropout, droppable, residual_parts
from parley.model.language_model import LanguageModel
from tests.tiny import tiny_decoder

TOKENS = torch.randint(6, 290, (3, 24), generator=torch.Generator().manual_seed(0))


def gradients(model: LanguageModel, *, share: float = 0.0) -> tuple[list[Tensor], int]:
    """Of a mean log-probability; and how many numbers the forward pass kept for the way back."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    model.zero_grad()
    noisy = residual_parts(model)
    with dropout(noisy, share, seed=5), torch.autograd.graph.saved_tensors_hooks(keep, lambda found: found):
        hidden = model(TOKENS, torch.arange(24).expand(3, 24), causal_bias(torch.ones_like(TOKENS)))
        torch.autograd.backward(model.token_logprobs(hidden[:, :-1], TOKENS[:, 1:]).mean())
    return [p.grad.clone() for p in model.parameters() if p.grad is not None], kept


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_gradients_are_the_same_and_less_is_kept(share: float) -> None:
    """With dropout too: what is recomputed drops the very same."""
    plain, much = gradients(tiny_decoder(1), share=share)
    again = tiny_decoder(1)
    again.recompute()
    found, little = gradients(again, share=share)
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    assert little < 0.5 * much


def adapted() -> tuple[SharedTrunk, AdaptedModel]:
    trunk = SharedTrunk(tiny_decoder(1))
    model = AdaptedModel(trunk, AdapterConfig(rank=4), torch.Generator().manual_seed(2))
    for one in model.adapters.values():
        torch.nn.init.normal_(
            one.get_parameter("outward"), std=0.1, generator=torch.Generator().manual_seed(3)
        )
    return trunk, model


def test_recomputed_layers_wear_the_adapters_that_they_wore() -> None:
    """The way back comes after they were taken off, and after another pass through the same trunk."""
    _, plain = adapted()
    trunk, again = adapted()
    again.recompute()
    positions, bias = torch.arange(24).expand(3, 24), causal_bias(torch.ones_like(TOKENS))
    with torch.no_grad():
        trunk.model(TOKENS, positions, bias)
    expected, found = gradients(plain)[0], gradients(again)[0]
    assert len(found) == len(expected) > 0
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_modules_of_transformers_too(family: str) -> None:
    decoders: list[Any] = [_transformers(family) for _ in range(2)]
    decoders[1].recompute()
    plain, much = gradients(decoders[0])
    found, little = gradients(decoders[1])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(plain, found, strict=True))
    assert little < 0.7 * much
    assert not [m for m in decoders[1].modules() if isinstance(m, torch.nn.Dropout) and m.training]


def _transformers(family: str) -> LanguageModel:
    from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig

    from parley.model.transformers_decoder import TransformersDecoder

    torch.manual_seed(0)
    config = (
        GPT2Config(vocab_size=300, n_embd=32, n_layer=3, n_head=4, n_positions=64)
        if family == "gpt2"
        else GPTNeoXConfig(
            vocab_size=300,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    )
    return TransformersDecoder(AutoModelForCausalLM.from_config(config))


def test_dropout_where_there_is_nothing_to_drop_is_refused() -> None:
    assert len(droppable(tiny_decoder())) == 4
    assert len(droppable(adapted()[1])) == 4
    with pytest.raises(ConfigError, match="transformers' own"):
        droppable(_transformers("gpt2"))


def test_no_logits_are_kept_for_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of N tokens over V words not N times V numbers stay, but what they are computed from; a small batch, of
    which they would be few, keeps them."""
    monkeypatch.setattr(kernels, "KEPT", 600 * 290 - 1)
    decoder = tiny_decoder(1)
    hidden = torch.randn(600, 32, requires_grad=True)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda found: found):
        decoder.token_logprobs(hidden, torch.randint(290, (600,)), 0.7)
    assert sum(kept) < 600 * (32 + 4) + decoder.head_weight.numel() < 600 * 290 / 3
