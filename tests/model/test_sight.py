"""Attention text by text is attention under the dense bias: values, gradients, trees, shared heads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from parley.model import sight as module
from parley.model.attention import Heads, text_attention
from parley.model.decoder import Decoder, DecoderConfig, Rotation, explicit_attention
from parley.model.kernels import rotate, swiglu
from parley.model.sight import Sight, causal_bias, dense
from parley.numerics import NumericPlan

SEGMENTS = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 3, 0, 0], [1, 1, 2, 2, 2, 3, 3, 4, 4, 4]])
PARENTS = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]])
POSITIONS = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 3, 0, 0], [0, 1, 2, 3, 4, 2, 3, 0, 1, 2]])


def shape(kv_heads: int = 2) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=40, width=32, layers=2, heads=4, kv_heads=kv_heads, mlp_width=48, max_positions=64
    )


def plain(qkv: Tensor, sight: Sight, rotation: Rotation, heads: Heads) -> Tensor:
    parts = qkv.view(*qkv.shape[:-1], -1, heads.size).permute(2, 0, 1, 3)
    turned = rotate(parts[: heads.queries + heads.keys].contiguous(), rotation.cos, rotation.sin)
    query, key = torch.split(turned, [heads.queries, heads.keys])
    mixed = explicit_attention(query, key, parts[heads.queries + heads.keys :].contiguous(), sight.bias[:, 0])
    return mixed.permute(1, 2, 0, 3).flatten(2)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("parents", [None, PARENTS])
def test_text_by_text_equals_the_dense_bias(kv_heads: int, parents: Tensor | None) -> None:
    """S3, R1: in float64, with the gradient of queries, keys and values."""
    sight, heads = Sight(SEGMENTS, parents), Heads(4, kv_heads, 8)
    rotation = Rotation.at(POSITIONS, shape(kv_heads))
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 10, (4 + 2 * kv_heads) * 8, generator=generator, dtype=torch.float64)
    upstream = torch.randn(2, 10, 32, generator=generator, dtype=torch.float64) * (SEGMENTS > 0)[..., None]
    found = []
    for by_text in (True, False):
        variable = qkv.clone().requires_grad_()
        mixed = (
            text_attention(variable, rotation.cos, rotation.sin, sight.texts, heads)
            if by_text
            else plain(variable, sight, rotation, heads)
        )
        (slope,) = torch.autograd.grad(mixed, variable, upstream)
        found.append((mixed[SEGMENTS > 0], slope))
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=1e-9)


def test_every_token_of_a_text_is_in_it_once_and_padding_in_none() -> None:
    texts = Sight(SEGMENTS, PARENTS).texts
    own = [i for text in texts for i in range(text.own.start, text.own.stop)]
    assert own == (SEGMENTS.flatten() > 0).nonzero().flatten().tolist()
    assert [(text.size, text.before) for text in texts[:3]] == [(3, 0), (4, 3), (1, 3)]


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_a_decoder_says_the_same_whichever_way_it_goes(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice is by the work that is saved; the whole decoder and its gradient do not depend on it."""
    monkeypatch.setattr(module, "WORTHWHILE", share)
    decoder = Decoder(shape()).initialise(torch.Generator().manual_seed(1)).use(NumericPlan())
    tokens = torch.arange(20).view(2, 10) % 40
    found = []
    for sight in (Sight(SEGMENTS, PARENTS), causal_bias(SEGMENTS, PARENTS)):
        decoder.zero_grad()
        hidden = decoder(tokens, POSITIONS, sight)[SEGMENTS > 0]
        (hidden**2).sum().backward()
        slope = torch.cat([p.grad.flatten() for p in decoder.parameters() if p.grad is not None])
        found.append((hidden.detach(), slope))
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=1e-4)


def test_the_bias_of_a_sight_is_the_causal_one() -> None:
    sight = Sight(SEGMENTS, PARENTS)
    assert torch.equal(dense(sight), causal_bias(SEGMENTS, PARENTS))
    assert dense(sight.bias) is sight.bias


def test_swiglu_and_its_gradient_equal_the_plain_formula() -> None:
    joined = torch.randn(3, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    upstream, slopes = torch.randn(3, 5, 6, dtype=torch.float64), []
    for by_hand in (True, False):
        variable = joined.clone().requires_grad_()
        gate, up = variable.chunk(2, -1)
        out = swiglu(variable) if by_hand else functional.silu(gate) * up
        slopes.append((out.detach(), torch.autograd.grad(out, variable, upstream)[0]))
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-12, rtol=1e-9)
