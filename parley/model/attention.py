"""Attention text by text, with its gradient by hand: rotation, products and softmax in one dtype.

torch's own operations would keep every intermediate, join gradients by copying, and compute each row of
packed texts against itself. Compared with the plain formula, values and gradients, in its test.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from parley.model.cache import BLOCKED
from parley.model.sight import Text


class Heads(NamedTuple):
    """Query heads, key-value heads, and numbers in each."""

    queries: int
    keys: int
    size: int


class _TextAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, texts: tuple[Text, ...], heads: Heads
    ) -> Tensor:
        query, key, value = parts = _rotated(qkv, cos, sin, heads)
        out = qkv.new_zeros(query.shape)
        hidden = _later(texts, qkv.device)
        weights = []
        for text in texts:
            looking = _by_head(query[text.own], heads)
            scores = torch.bmm(looking, _seen(key, text, heads).transpose(1, 2))
            _hide(scores, hidden, text)
            weights.append(torch.softmax(scores, -1))
            _put(out[text.own], torch.bmm(weights[-1], _seen(value, text, heads)), heads)
        ctx.save_for_backward(*parts, cos, sin, *weights)
        ctx.texts, ctx.heads = texts, heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        query, key, value, cos, sin, *weights = ctx.saved_tensors
        heads: Heads = ctx.heads
        for_query, for_key, for_value = (torch.zeros_like(part) for part in (query, key, value))
        for text, weight in zip(ctx.texts, weights, strict=True):
            slope = _by_head(upstream[text.own], heads)
            for_weight = torch.bmm(slope, _seen(value, text, heads).transpose(1, 2))
            for_score = torch._softmax_backward_data(for_weight, weight, -1, weight.dtype)
            _put(for_query[text.own], torch.bmm(for_score, _seen(key, text, heads)), heads)
            looking = _by_head(query[text.own], heads)
            _give(for_key, torch.bmm(for_score.transpose(1, 2), looking), text)
            _give(for_value, torch.bmm(weight.transpose(1, 2), slope), text)
        return _unrotated((for_query, for_key, for_value), cos, sin, heads), None, None, None, None


def text_attention(
    qkv: Float[Tensor, "B T C"],
    cos: Float[Tensor, "B T d"],
    sin: Float[Tensor, "B T d"],
    texts: tuple[Text, ...],
    heads: Heads,
) -> Float[Tensor, "B T D"]:
    """What each token gathers from those it sees; `qkv` holds queries, keys and values of all heads, not yet
    rotated. Everything is computed in the dtype of `qkv`; padding gathers nothing. Differentiable once."""
    halves = (cos[..., : heads.size // 2], sin[..., heads.size // 2 :])
    cos, sin = (part.flatten(0, 1).to(qkv.dtype) for part in halves)
    found = _TextAttention.apply(qkv.flatten(0, 1), cos, sin, texts, heads)  # type: ignore[no-untyped-call]
    return _apart(cast("Tensor", found), 0, *qkv.shape[:2])


def _apart(x: Tensor, dim: int, *sizes: int) -> Tensor:
    """A view with that dimension in parts."""
    return cast("Tensor", x.unflatten(dim, sizes))  # type: ignore[no-untyped-call]


def _rotated(qkv: Tensor, cos: Tensor, sin: Tensor, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, divided by the root of their size, keys and values: a row a token."""
    split, end = heads.queries * heads.size, heads.keys * heads.size
    found = torch.empty_like(qkv)
    query, key, value = torch.split(found, [split, end, end], 1)
    root = heads.size**-0.5
    _turn(qkv[:, :split], cos * root, sin * root, heads.size, query)
    _turn(qkv[:, split : split + end], cos, sin, heads.size, key)
    value.copy_(qkv[:, split + end :])
    return query, key, value


def _unrotated(slopes: tuple[Tensor, Tensor, Tensor], cos: Tensor, sin: Tensor, heads: Heads) -> Tensor:
    for_query, for_key, for_value = slopes
    split, end = heads.queries * heads.size, heads.keys * heads.size
    root = heads.size**-0.5
    found = for_query.new_empty(len(for_query), split + 2 * end)
    _turn(for_query, cos * root, -sin * root, heads.size, found[:, :split])
    _turn(for_key, cos, -sin, heads.size, found[:, split : split + end])
    found[:, split + end :] = for_value
    return found


def _turn(x: Tensor, cos: Tensor, sin: Tensor, size: int, out: Tensor) -> None:
    """The halves of every head rotated against each other."""
    first, second = _apart(x, 1, -1, size).chunk(2, -1)
    turned = _apart(out, 1, -1, size).chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    torch.mul(first, cos, out=turned[0]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=turned[1]).addcmul_(first, sin)


def _by_head(rows: Tensor, heads: Heads) -> Tensor:
    """`[L H*d]` to `[G H/G*L d]`: the query heads that share a key-value head stand below each other."""
    parts = _apart(rows, 1, heads.keys, -1, heads.size).permute(1, 2, 0, 3)
    return parts.flatten(1, 2)


def _seen(rows: Tensor, text: Text, heads: Heads) -> Tensor:
    """`[G K d]`: keys or values of the parent and of the text itself."""
    own = rows[text.own]
    all_of_it = torch.cat((rows[text.parent], own)) if text.before else own
    return _apart(all_of_it, 1, heads.keys, heads.size).transpose(0, 1)


def _later(texts: tuple[Text, ...], device: torch.device) -> Bool[Tensor, "L L"]:
    longest = max((text.size for text in texts), default=0)
    return torch.ones(longest, longest, dtype=torch.bool, device=device).triu(1)


def _hide(scores: Tensor, later: Tensor, text: Text) -> None:
    """What comes later in the text itself; the parent is seen whole."""
    own = _apart(scores, 1, -1, text.size)[..., text.before :]
    own.masked_fill_(later[: text.size, : text.size], BLOCKED)


def _put(rows: Tensor, found: Tensor, heads: Heads) -> None:
    """`[G H/G*L d]` into `[L H*d]`."""
    places = _apart(rows, 1, heads.keys, -1, heads.size).permute(1, 2, 0, 3)
    places.copy_(_apart(found, 1, *places.shape[1:3]))


def _give(rows: Tensor, found: Tensor, text: Text) -> None:
    """Add `[G K d]` to the rows of the text and of its parent."""
    found = found.transpose(0, 1).flatten(1)
    if text.before:
        rows[text.parent] += found[: text.before]
    rows[text.own] += found[text.before :]
