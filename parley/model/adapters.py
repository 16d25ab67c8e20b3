"""Low-rank adapters (LoRA, arXiv:2106.09685): few trained numbers beside frozen matrices.

    policy ─┐
    critic ─┼─ adapters of their own ─► one frozen trunk ◄─ no adapters: the reference
    reward ─┘

The trunk is in memory once, whoever reads it; an optimizer and a saved step hold adapters alone. An
`AdaptedModel` is a `LanguageModel` like any other, and is saved merged: one matrix again where two were.
Embeddings stay frozen, those of added tokens too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from parley.config import check_bounds
from parley.errors import ConfigError
from parley.model.cache import CacheView
from parley.model.checkpoint import empty_model
from parley.model.decoder import Linear
from parley.model.language_model import Circumstances, LanguageModel
from parley.model.sight import Sight
from parley.numerics import NumericPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Low-rank adapters (LoRA) on every matrix of the layers, in the place of training all weights."""

    rank: int = 0
    """Rank of each adapter; 0: all weights are trained."""
    alpha: float = 32.0
    """What an adapter adds is multiplied by alpha / rank."""

    def __post_init__(self) -> None:
        check_bounds(self, rank=(0, inf), alpha=(0, inf))


class LowRank(nn.Module):
    """What one adapter adds to one matrix: `scale · x Aᵀ Bᵀ`. B starts at 0, so at first nothing."""

    def __init__(self, inputs: int, outputs: int, config: AdapterConfig) -> None:
        super().__init__()
        self.inward = nn.Parameter(torch.zeros(config.rank, inputs))
        self.outward = nn.Parameter(torch.zeros(outputs, config.rank))
        self.scale = config.alpha / config.rank

    def forward(self, x: Float[Tensor, "*rows inputs"], dtype: torch.dtype) -> Float[Tensor, "*rows outputs"]:
        """The addition, in the dtype of the product that it joins."""
        inner = F.linear(x.to(dtype), self.inward.to(dtype))
        return F.linear(inner, self.outward.to(dtype)) * self.scale

    def change(self) -> Float[Tensor, "outputs inputs"]:
        """The same as a matrix."""
        return self.outward @ self.inward * self.scale


class SharedTrunk:
    """A frozen model that several others read, and whose adapters are on at the moment."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model.requires_grad_(False)
        self.matrices = dict(_matrices(model))
        if not self.matrices:
            raise ConfigError("adapters: this model has no linear layers to put them on")
        self._worn: nn.ModuleDict | None = None
        for name, module in self.matrices.items():
            module.register_forward_hook(partial(self._add, _key(name)))

    def _add(self, key: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        del module
        if self._worn is None:
            return None
        added: Tensor = self._worn[key](inputs[0], output.dtype)
        return output + added

    @contextmanager
    def wearing(self, adapters: nn.ModuleDict) -> Iterator[LanguageModel]:
        """The model with these adapters on; without, it is what it was, bit for bit."""
        with self._dressed(adapters):
            yield self.model

    @contextmanager
    def _dressed(self, adapters: nn.ModuleDict | None) -> Iterator[None]:
        before, self._worn = self._worn, adapters
        try:
            yield
        finally:
            self._worn = before

    def as_now(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Layers that are computed again wear what they wore."""
        return nullcontext(), self._dressed(self._worn)


class AdaptedModel(LanguageModel):
    """A shared trunk with adapters of its own; they alone are its parameters and its state."""

    def __init__(self, trunk: SharedTrunk, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.trunk, self.adapter_config = trunk, config
        self.config, self.linear_dtype = trunk.model.config, trunk.model.linear_dtype
        self.sampling_dtype = trunk.model.sampling_dtype
        sizes = {name: _sizes(module) for name, module in trunk.matrices.items()}
        self.adapters = nn.ModuleDict({_key(name): LowRank(*size, config) for name, size in sizes.items()})
        with torch.no_grad():
            for one in self.adapters.values():
                weight = one.get_parameter("inward")
                weight.copy_(
                    torch.empty(weight.shape).normal_(0.0, weight.shape[1] ** -0.5, generator=generator)
                )
        self.to(trunk.model.device)

    @property
    def input_weight(self) -> Tensor:
        """The token embeddings."""
        return self.trunk.model.input_weight

    @property
    def head_weight(self) -> Tensor:
        """The matrix that turns hidden states into logits."""
        return self.trunk.model.head_weight

    def use(self, plan: NumericPlan) -> AdaptedModel:
        """Adapters and trunk on the plan's device; whoever shares the trunk goes with it."""
        self.linear_dtype = self.trunk.model.use(plan).linear_dtype
        self.sampling_dtype = self.trunk.model.sampling_dtype
        return self.to(plan.device)

    def recompute(self, circumstances: Circumstances | None = None) -> None:
        """The trunk's layers are computed again on the way back, with the adapters that they wore."""
        del circumstances
        self.trunk.model.recompute(self.trunk.as_now)

    def resize(self, vocab_size: int) -> None:
        """The trunk's vocabulary; do it before the trunk is shared."""
        self.trunk.model.resize(vocab_size)
        self.config = self.trunk.model.config

    @torch.no_grad()
    def weight_of(self, module: nn.Module) -> Tensor:
        """What a matrix of the trunk is with its adapter on."""
        (name,) = (name for name, one in self.trunk.matrices.items() if one is module)
        change = cast("LowRank", self.adapters[_key(name)]).change()
        return module.get_parameter("weight") + (
            change if isinstance(module, nn.Linear | Linear) else change.T
        )

    def save(self, directory: Path) -> None:
        """Write the merged weights."""
        self.merged().save(directory)

    @torch.no_grad()
    def merged(self) -> LanguageModel:
        """A model of its own in which the adapters are part of the matrices."""
        found = empty_model(self.config.to_hf())
        found.load_state_dict(self.trunk.model.state_dict())
        for name, module in _matrices(found):
            module.get_parameter("weight").copy_(self.weight_of(self.trunk.matrices[name]))
        return found

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "B T"],
        sight: Sight | Float[Tensor, "B 1 T T"],
        *,
        extra: Float[Tensor, "B T D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Hidden states after the final norm."""
        with self.trunk.wearing(self.adapters) as model:
            hidden: Tensor = model(tokens, positions, sight, extra=extra)
        return hidden

    def forward_cached(
        self, tokens: Int[Tensor, "B N"], positions: Int[Tensor, "B N"], cache: CacheView
    ) -> Float[Tensor, "B N D"]:
        """Hidden states of the next N tokens of every row; their keys and values join the cache."""
        with self.trunk.wearing(self.adapters) as model:
            return model.forward_cached(tokens, positions, cache)


def adapted(model: LanguageModel, config: AdapterConfig, generator: torch.Generator) -> LanguageModel:
    """The model to be trained: itself, or its frozen weights with adapters where the config asks for them."""
    return AdaptedModel(SharedTrunk(model), config, generator) if config.rank else model


def count_adapters(model: LanguageModel, rank: int) -> int:
    """Numbers in adapters of this rank on a model's matrices; the model may have no weights yet."""
    return sum(rank * sum(_sizes(module)) for _, module in _matrices(model))


def _matrices(model: LanguageModel) -> Iterator[tuple[str, nn.Module]]:
    """Every linear layer between embeddings and logits; GPT-2 has its own kind of them."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Linear) or type(module).__name__ == "Conv1D":
            yield name, module


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs; GPT-2's matrices stand the other way round."""
    rows, columns = module.get_parameter("weight").shape
    return (columns, rows) if isinstance(module, nn.Linear | Linear) else (rows, columns)


def _key(name: str) -> str:
    return name.replace(".", "/")
