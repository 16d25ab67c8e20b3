"""Dropout, for the few places where it belongs: nothing of it is part of any model (rule P13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from parley.model.decoder import Layer


@contextmanager
def dropout(modules: Iterable[nn.Module], share: float, *, seed: int) -> Iterator[None]:
    """While inside, this share of what each module puts out is 0 and the rest is larger for it.

    The noise is a function of the seed and of the order of the passes; `share` 0 changes nothing.
    """
    generators: dict[torch.device, torch.Generator] = {}

    def drop(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del module, inputs
        if output.device not in generators:
            generators[output.device] = torch.Generator(output.device).manual_seed(seed)
        noise = torch.rand(output.shape, generator=generators[output.device], device=output.device)
        return output * (noise >= share).to(output.dtype) / (1 - share)

    hooks = [module.register_forward_hook(drop) for module in modules] if share else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def residual_parts(model: nn.Module) -> list[nn.Module]:
    """The modules whose output is added to the residual stream (InstructGPT's residual dropout)."""
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    return [part for layer in layers for part in (layer.attention, layer.mlp)]
