"""What a model takes in memory, from its `config.json` alone: nothing is loaded.

Bytes are those of this code, counted from what its passes keep: fp32 masters, products in the plan's
dtype, logits a block at a time. `stages.budget` adds them up for a recipe; a test holds them to what
a process really takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from parley.model.adapters import count_adapters
from parley.model.checkpoint import empty_model
from parley.model.kernels import CPU_BLOCK, GPU_BLOCK, SMALLEST_BLOCK
from parley.model.language_model import LanguageModel
from parley.numerics import NumericPlan

SINGLE: Final = 4  # bytes of an fp32 number
MOMENTS: Final = 2 * SINGLE  # Adam's, for each trained number
MLP_WIDTHS: Final = ("intermediate_size", "n_inner", "ffn_dim")  # as families call it


@dataclass(frozen=True, slots=True)
class Footprint:
    """The sizes of a model that its memory follows from, in numbers (not bytes)."""

    parameters: int
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    model: LanguageModel
    """The model without its numbers (torch's meta device)."""

    @classmethod
    def of(cls, found: Mapping[str, object]) -> Footprint:
        """Of the model that a `config.json` describes; `ArtifactError` where nothing here can run it."""
        with torch.device("meta"):
            model = empty_model(found)
        width = model.config.width
        heads = _whole(found, "num_attention_heads", "n_head") or width // model.config.head_dim
        return cls(
            parameters=_count(model),
            vocabulary=model.config.vocab_size,
            width=width,
            layers=model.config.layers,
            heads=heads,
            kv_heads=model.config.kv_heads,
            head_dim=model.config.head_dim,
            mlp_width=_whole(found, *MLP_WIDTHS) or 4 * width,
            model=model,
        )

    @property
    def weights(self) -> int:
        """Bytes of the fp32 masters."""
        return SINGLE * self.parameters

    def adapters(self, rank: int) -> int:
        """Numbers in the low-rank adapters of every matrix."""
        return count_adapters(self.model, rank) if rank else 0

    def activations(self, tokens: int, row_tokens: int, plan: NumericPlan, *, recompute: bool = False) -> int:
        """Bytes that a forward pass keeps for its backward pass, for so many tokens in rows of so many; with
        `recompute` what enters each layer, and the insides of one."""
        size = _bytes(plan)
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        norms = 2 * SINGLE * self.width + 2 * size * self.width  # normalised, and what the products read
        turned = SINGLE * ((query + 2 * key) + (query + key) + query)  # projected, rotated, scaled
        weights = SINGLE * self.heads * row_tokens if plan.attention == "explicit" else SINGLE * query
        mixed = size * query
        mlp = 4 * size * self.mlp_width  # gate and up, the gate bent, their product
        a_layer = norms + turned + weights + mixed + mlp
        masks = 2 * SINGLE * row_tokens
        ends = 3 * SINGLE * self.width
        layers = self.layers * SINGLE * self.width + a_layer if recompute else self.layers * a_layer
        return tokens * (layers + masks + ends)

    def at_work(self, tokens: int, row_tokens: int, plan: NumericPlan) -> int:
        """Bytes that come and go inside the widest layer of a pass."""
        query = self.heads * self.head_dim
        attention = (
            3 * SINGLE * self.heads * row_tokens if plan.attention == "explicit" else 4 * SINGLE * query
        )
        mlp = (2 * _bytes(plan) + SINGLE) * 2 * self.mlp_width
        return tokens * max(attention, mlp)

    def logits(self, rows: int, plan: NumericPlan, *, learnt: bool) -> int:
        """Bytes of the logits in work for so many predicted tokens, and of the output matrix's gradient."""
        room = CPU_BLOCK if plan.device == "cpu" else GPU_BLOCK
        block = min(rows, max(SMALLEST_BLOCK, room // self.vocabulary))
        gradient = SINGLE * self.vocabulary * self.width if learnt else 0
        return 3 * SINGLE * block * self.vocabulary + 2 * SINGLE * rows * self.width + gradient

    def products(self, plan: NumericPlan) -> int:
        """Bytes of the matrices' copies in the dtype of the products, which a graph keeps."""
        matrices = self.parameters - self.vocabulary * self.width
        return 0 if plan.linear == "float32" else _bytes(plan) * matrices

    def cache(self, rows: int, columns: int) -> int:
        """Bytes of the keys and values of so many rows while they are written."""
        return SINGLE * 2 * self.layers * self.kv_heads * self.head_dim * rows * columns


def _bytes(plan: NumericPlan) -> int:
    return 2 if plan.linear == "bfloat16" else SINGLE


def _count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _whole(found: Mapping[str, Any], *names: str) -> int:
    """The first of these keys that is there; 0 where none is."""
    values = (found.get(name) for name in names)
    return next((int(value) for value in values if value), 0)
