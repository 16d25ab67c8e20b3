"""Differentiable operations written by hand, because torch's own take more passes over memory.

At the widths trained here a CPU step is bound by memory, not by arithmetic. Each function's test
compares it, and its gradient, with the plain formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Entries of one block of logits: on a CPU they should stay in its caches, on a GPU fill it.
CPU_BLOCK: Final = 1 << 18
GPU_BLOCK: Final = 1 << 26
SMALLEST_BLOCK: Final = 256  # rows; fewer would read the vocabulary matrix too often
KEPT: Final = 1 << 24  # probabilities that the forward pass keeps for the way back; more are computed again
READING_BLOCK: Final = 1 << 23  # where nothing is learnt and caches matter less: 32 MiB of logits


def _applied(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    return cast("Tensor", function.apply(*arguments))  # type: ignore[no-untyped-call]


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        inverse = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        unit = x * inverse
        ctx.save_for_backward(unit, inverse, gain)
        out: Tensor = unit * gain
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, inverse, gain = ctx.saved_tensors
        product = upstream * unit
        for_gain = product.flatten(0, -2).sum(0)
        along = (product @ gain)[..., None].div_(-unit.shape[-1])
        return torch.addcmul(upstream * gain, unit, along).mul_(inverse), for_gain, None


def rms_norm(x: Float[Tensor, "*rows D"], gain: Float[Tensor, " D"], eps: float) -> Float[Tensor, "*rows D"]:
    """`gain * x / sqrt(mean(x^2) + eps)` (arXiv:1910.07467)."""
    return _applied(_RmsNorm, x, gain, eps)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(upstream, cos, -sin), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def rotate(
    x: Float[Tensor, "heads B T d"], cos: Float[Tensor, "B T d"], sin: Float[Tensor, "B T d"]
) -> Float[Tensor, "heads B T d"]:
    """The halves of every head rotated against each other; `sin` is negative in its first half."""
    return _applied(_Rotate, x, cos, sin)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, dtype: torch.dtype
    ) -> Tensor:
        totals, chosen = torch.empty(len(hidden), device=hidden.device), torch.empty_like(hidden[:, 0])
        kept = None
        if (ctx.needs_input_grad[0] or ctx.needs_input_grad[1]) and len(hidden) * len(weight) <= KEPT:
            kept = torch.empty(len(hidden), len(weight), dtype=dtype, device=hidden.device)
        for rows in _blocks(hidden, weight):
            logits = F.linear(hidden[rows], weight).div_(temperature)
            totals[rows] = torch.logsumexp(logits, -1)
            chosen[rows] = logits.gather(1, targets[rows, None])[:, 0]
            if kept is not None:
                kept[rows] = _over_certain(logits, totals[rows], targets[rows])
        ctx.save_for_backward(hidden, weight, targets, totals, kept)
        ctx.temperature, ctx.dtype = temperature, dtype
        return chosen.sub_(totals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        """`d log p(target) / d logit = [it is the target] - p`, a block of rows at a time."""
        hidden, weight, targets, totals, kept = ctx.saved_tensors
        dtype, scale = ctx.dtype, upstream[:, None] / ctx.temperature
        for_hidden = torch.empty_like(hidden)
        for_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        factor = weight.to(dtype)
        for rows in _blocks(hidden, weight):
            if kept is None:
                logits = F.linear(hidden[rows], weight).div_(ctx.temperature)
                over = _over_certain(logits, totals[rows], targets[rows])
            else:
                over = kept[rows]
            slope = (over * -scale[rows].to(over.dtype)).to(dtype)
            for_hidden[rows] = (slope @ factor).to(for_hidden.dtype)
            if for_weight is not None:
                for_weight += slope.t() @ hidden[rows].to(dtype)
        return for_hidden, for_weight, None, None, None


def _over_certain(logits: Tensor, totals: Tensor, targets: Tensor) -> Tensor:
    """In place of the logits: p, less 1 at the target."""
    p = logits.sub_(totals[:, None]).exp_()
    return p.scatter_add_(1, targets[:, None], p.new_full((len(p), 1), -1.0))


def _blocks(hidden: Tensor, weight: Tensor, cpu_room: int = CPU_BLOCK) -> Iterator[slice]:
    room = GPU_BLOCK if hidden.is_cuda else cpu_room
    size = max(SMALLEST_BLOCK, room // len(weight))
    return (slice(start, start + size) for start in range(0, len(hidden), size))


def token_logprobs(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    targets: Int[Tensor, " N"],
    temperature: float,
    dtype: torch.dtype,
) -> Float[Tensor, " N"]:
    """`log_softmax(hidden W^T / T)` at the targets.

    Logits are fp32 (in bfloat16 those around 10 would be off by up to 1/32 nat) and exist a block of rows at
    a time. For the way back a small batch keeps its probabilities, a large one computes them again, so that
    memory does not grow with rows times vocabulary. `dtype` is that of the products of the backward pass.
    Differentiable once.
    """
    return _applied(_TokenLogprobs, hidden, weight, targets, temperature, dtype)


@torch.no_grad()
def chosen_and_best(
    hidden: Float[Tensor, "N D"], weight: Float[Tensor, "V D"], targets: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """`log_softmax(hidden W^T)` at the targets and at each row's most probable token, in fp32.

    Nothing is learnt through it; like `token_logprobs` it holds a block of rows of logits at a time.
    """
    chosen, best = torch.empty_like(hidden[:, 0]), torch.empty_like(hidden[:, 0])
    for rows in _blocks(hidden, weight, READING_BLOCK):
        logprobs = F.log_softmax(F.linear(hidden[rows], weight), dim=-1)
        chosen[rows] = logprobs.gather(1, targets[rows, None])[:, 0]
        best[rows] = logprobs.amax(-1)
    return chosen, best


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        ctx.save_for_backward(gate_up)
        out: Tensor = F.silu(gate).mul_(up)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        found = torch.empty_like(gate_up)
        for_gate, for_up = found.chunk(2, -1)
        torch.mul(upstream, F.silu(gate), out=for_up)
        torch.ops.aten.silu_backward.grad_input(upstream * up, gate, grad_input=for_gate)
        return found


def swiglu(gate_up: Float[Tensor, "*rows 2M"]) -> Float[Tensor, "*rows M"]:
    """`silu(gate) * up` of both halves (arXiv:2002.05202)."""
    return _applied(_SwiGlu, gate_up)
