"""Dropout, for the few places where it belongs: nothing of it is part of any model (rule P13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from parley.errors import ConfigError
from parley.model.adapters import AdaptedModel
from parley.model.decoder import Layer
from parley.model.language_model import LanguageModel


@contextmanager
def dropout(modules: Iterable[nn.Module], share: float, *, seed: int) -> Iterator[None]:
    """While inside, this share of what each module puts out is 0 and the rest is larger for it.

    The noise is a function of the seed and of the order of the passes; `share` 0 changes nothing. It is
    drawn from torch's own generators, which are put back afterwards: layers that are recomputed on the
    way back find the very state in which they were computed, so the way back belongs inside as well.
    """

    def drop(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del module, inputs
        noise = torch.rand(output.shape, device=output.device)
        return output * (noise >= share).to(output.dtype) / (1 - share)

    if not share:
        yield
        return
    hooks = [module.register_forward_hook(drop) for module in modules]
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        for hook in hooks:
            hook.remove()


def residual_parts(model: nn.Module) -> list[nn.Module]:
    """The modules whose output is added to the residual stream (InstructGPT's residual dropout)."""
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    return [part for layer in layers for part in (layer.attention, layer.mlp)]


def droppable(model: LanguageModel) -> list[nn.Module]:
    """`residual_parts`, of which there must be some; `ConfigError` for a model in transformers' modules."""
    parts = residual_parts(model.trunk.model if isinstance(model, AdaptedModel) else model)
    if not parts:
        raise ConfigError("dropout: this model's layers are transformers' own, which get none; set it to 0")
    return parts
