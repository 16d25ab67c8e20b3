"""Choosing the numeric plan of a run: by measuring speed and error here and now, about a second.

CPU names say little: some are fast in bfloat16 and some only pretend, and a busy neighbour turns two
threads into less than one. A run asks once, records the plan, and reuses it on resume (rule C1).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from parley.model.decoder import Decoder, DecoderConfig, causal_bias, explicit_attention
from parley.numerics import AttentionPath, NumericPlan, Precision

SHAPES: Final = ((2048, 128, 384), (2048, 256, 688))  # rows, inputs, outputs of a linear layer
LENGTHS: Final = (64, 256)  # tokens a row, 2048 in all
GAIN_FOR_BFLOAT16: Final = 1.3
WORST_ERROR: Final = 2e-2  # relative, of a product
GAIN_FOR_FUSED: Final = 1.1
GAIN_FOR_THREADS: Final = 1.15
REPEATS: Final = 5
BUDGET_SECONDS: Final = 0.25  # of one measurement; on a busy machine the first run may be all


def choose_plan(device: str = "cpu") -> NumericPlan:
    """The fastest path that is exact enough on this device at this moment.

    bfloat16 where it is 1.3 times as fast and its products are within 2 % of fp32; all cores but one
    where they gain 15 % over one. One is left to the page, the server and whatever else people do:
    threads that wait for a core that somebody else has are many times slower than one thread.
    torch's thread count is left as it was found.
    """
    with _threads(1):
        linear = _choose_linear(device)
        attention = _choose_attention(device)
    plan = NumericPlan(device=device, threads=1, linear=linear, attention=attention)
    return NumericPlan(device=device, threads=_choose_threads(plan), linear=linear, attention=attention)


def apply_plan(plan: NumericPlan) -> None:
    """Set this process's thread count, and flush denormals in the calling thread."""
    torch.set_num_threads(plan.threads)
    torch.set_flush_denormal(True)


def physical_cores() -> int:
    """Cores that this process may run on; two threads of one core count once."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    return len({_siblings(number) for number in allowed})


def _siblings(number: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
    return path.read_text(encoding="ascii").strip() if path.exists() else str(number)


def _choose_linear(device: str) -> Precision:
    slow = fast = 0.0
    for rows, inputs, outputs in SHAPES:
        generator = torch.Generator().manual_seed(rows + inputs)
        x = torch.randn(rows, inputs, generator=generator).to(device).requires_grad_()
        weight = torch.randn(outputs, inputs, generator=generator).to(device).requires_grad_()
        if product_error(x, weight, torch.bfloat16) > WORST_ERROR:
            return "float32"
        slow += shortest_seconds(_linear_step(x, weight, torch.float32), device)
        fast += shortest_seconds(_linear_step(x, weight, torch.bfloat16), device)
    return "bfloat16" if slow >= GAIN_FOR_BFLOAT16 * fast else "float32"


def product_error(x: Tensor, weight: Tensor, dtype: torch.dtype) -> float:
    """Relative error of `x W^T` in this dtype against fp32, in the root mean square; inf for NaN."""
    exact, found = F.linear(x, weight), F.linear(x.to(dtype), weight.to(dtype)).float()
    error = float(((found - exact).norm() / exact.norm()).detach())
    return error if math.isfinite(error) else math.inf


def _linear_step(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    upstream = torch.ones(len(x), len(weight), device=x.device)

    def step() -> None:
        _backward(F.linear(x.to(dtype), weight.to(dtype)).float(), upstream)

    return step


def _choose_attention(device: str) -> AttentionPath:
    explicit = fused = 0.0
    for length in LENGTHS:
        parts = torch.randn(3, 4, 2048 // length, length, 32, device=device).requires_grad_()
        bias = causal_bias(torch.ones(2048 // length, length, dtype=torch.int64, device=device))
        explicit += shortest_seconds(_attention_step(parts, bias, "explicit"), device)
        fused += shortest_seconds(_attention_step(parts, bias, "fused"), device)
    return "fused" if explicit >= GAIN_FOR_FUSED * fused else "explicit"


def _attention_step(parts: Tensor, bias: Tensor, path: AttentionPath) -> Callable[[], None]:
    upstream = torch.ones_like(parts[0])

    def explicit() -> None:
        _backward(explicit_attention(parts[0], parts[1], parts[2], bias[:, 0]), upstream)

    def fused() -> None:
        query, key, value = (part.transpose(0, 1) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        _backward(mixed.transpose(0, 1), upstream)

    return explicit if path == "explicit" else fused


def _choose_threads(plan: NumericPlan) -> int:
    cores = physical_cores() - 1
    if cores <= 1 or plan.device != "cpu":
        return 1
    step = training_step(plan)
    with _threads(1):
        alone = shortest_seconds(step, plan.device)
    with _threads(cores):
        together = shortest_seconds(step, plan.device)
    return cores if alone >= GAIN_FOR_THREADS * together else 1


def training_step(
    plan: NumericPlan, *, width: int = 128, layers: int = 2, rows: int = 32, length: int = 64
) -> Callable[[], None]:
    """A forward and backward pass of a small decoder over packed rows, to be timed."""
    config = DecoderConfig(
        vocab_size=768,
        width=width,
        layers=layers,
        heads=width // 32,
        kv_heads=width // 32,
        mlp_width=width * 8 // 3,
    )
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(config).initialise(generator).use(plan)
    tokens = torch.randint(config.vocab_size, (rows, length), generator=generator).to(plan.device)
    positions = torch.arange(length, device=plan.device).expand(rows, length)
    segments = torch.ones_like(tokens)

    def step() -> None:
        decoder.zero_grad(set_to_none=True)
        hidden = decoder(tokens, positions, causal_bias(segments))
        logprobs = decoder.token_logprobs(hidden[:, :-1], tokens[:, 1:])
        _backward(logprobs, torch.ones_like(logprobs))

    return step


def _backward(found: Tensor, upstream: Tensor) -> None:
    torch.autograd.backward(found, upstream)


def shortest_seconds(step: Callable[[], object], device: str) -> float:
    """The shortest of a few runs: at least a warm-up, and no more than fit into the budget."""
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < BUDGET_SECONDS:
        started = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return min(taken)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
