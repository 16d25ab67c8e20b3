"""A Llama-like decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

It stands under everything that learns or answers: base, SFT, reward model, policy and critic are
this module with other heads and weights. The families of `model.architecture` are one module with
a few parts on or off; its numbers equal those of transformers' models (tested to 1e-5), and
`model.checkpoint` reads and writes their layout.

Master weights, norms, attention, residual stream and logits are fp32; the linear layers of the
blocks multiply in the dtype of the run's `NumericPlan`, cast by hand: torch's autocast would also
put attention into bfloat16, whose backward pass is several times slower on a CPU. No dropout (P13).

Not here: heads that score (`model.heads`), sampling (`engine.sampler`), losses (`rlhf.losses`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, noop_context_fn

from parley.errors import ArtifactError
from parley.model.architecture import DecoderConfig, RopeScaling
from parley.model.attention import Heads, text_attention
from parley.model.cache import CacheView
from parley.model.kernels import rms_norm, rotate, swiglu
from parley.model.language_model import Circumstances, LanguageModel
from parley.model.sight import Sight, causal_bias, dense
from parley.model.weights import WEIGHTS_FILE, of_hf_names, save_weights, to_hf_names
from parley.numerics import AttentionPath, NumericPlan

__all__ = ["Decoder", "DecoderConfig", "causal_bias", "count_parameters"]

LINEAR_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INIT_STD: Final = 0.02


class Linear(nn.Module):
    """A matrix, with a bias on request: fp32 master weights, product and result in `dtype`."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.dtype = torch.float32

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """`x W^T + b`."""
        bias = None if self.bias is None else self.bias.to(self.dtype)
        return F.linear(x.to(self.dtype), self.weight.to(self.dtype), bias)


class RmsNorm(nn.Module):
    """Root-mean-square normalisation with a gain, in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
        """`x / rms(x)`, times the gain."""
        return rms_norm(x, self.weight, self.eps)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and signed sines of one forward pass, for the halves of a head (arXiv:2104.09864)."""

    cos: Float[Tensor, "B T d"]
    sin: Float[Tensor, "B T d"]

    @classmethod
    def at(cls, positions: Int[Tensor, "B T"], config: DecoderConfig) -> Rotation:
        """The rotation for each token's position within its own segment."""
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.int64, device=positions.device).float()
        frequencies = 1.0 / config.rope_theta ** (steps / config.head_dim)
        if config.rope_scaling is not None:
            frequencies = stretched(frequencies, config.rope_scaling)
        angles = positions[..., None].float() * frequencies
        cos, sin = angles.cos(), angles.sin()
        return cls(torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1))


def stretched(frequencies: Float[Tensor, " H"], scaling: RopeScaling) -> Float[Tensor, " H"]:
    """Frequencies for a longer context (Llama 3, arXiv:2407.21783): those that turn seldom within the
    original one are divided by the factor, those that turn often stay, between them it slides."""
    turns = frequencies * scaling.original_positions / (2 * math.pi)
    share = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
    share = share.clamp(0, 1)
    return share * frequencies + (1 - share) * frequencies / scaling.factor


class Attention(nn.Module):
    """Causal self-attention in which groups of query heads share one key-value head.

    Heads stand first inside (`[H B T d]`), so that every product reads contiguous matrices.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        outputs = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = Linear(config.width, outputs, bias=config.parts.qkv_bias)
        self.out = Linear(config.heads * config.head_dim, config.width)
        normed = config.parts.query_key_norm
        self.query_norm = RmsNorm(config.head_dim, config.norm_eps) if normed else None
        self.key_norm = RmsNorm(config.head_dim, config.norm_eps) if normed else None
        self.path: AttentionPath = "explicit"

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rotation: Rotation,
        sight: Sight | Float[Tensor, "B 1 T S"],
        memory: tuple[CacheView, int] | None,
    ) -> Float[Tensor, "B T D"]:
        """What each position gathers. `memory` is the cache and this layer's place in it."""
        if isinstance(sight, Sight):
            heads = Heads(self.heads, self.kv_heads, self.head_dim)
            mixed = text_attention(self.qkv(x).float(), rotation.cos, rotation.sin, sight.texts, heads)
            return cast("Tensor", self.out(mixed))
        parts = self.qkv(x).unflatten(-1, (-1, self.head_dim)).permute(2, 0, 1, 3)
        parts = parts.to(torch.float32, memory_format=torch.contiguous_format)
        turned, value = torch.split(parts, [self.heads + self.kv_heads, self.kv_heads])
        if self.query_norm is not None and self.key_norm is not None:
            query, key = torch.split(turned, [self.heads, self.kv_heads])
            turned = torch.cat((self.query_norm(query), self.key_norm(key)))
        turned = rotate(turned, rotation.cos, rotation.sin)
        query, key = torch.split(turned, [self.heads, self.kv_heads])
        if memory is not None:
            key, value = memory[0].append(memory[1], key, value)
        mixed = self._attend(query, key, value, sight[:, 0]).permute(1, 2, 0, 3)
        mixed = mixed.to(self.out.dtype, memory_format=torch.contiguous_format)
        return cast("Tensor", self.out(mixed.flatten(2)))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        if self.path == "explicit":
            return explicit_attention(query, key, value, bias)
        query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        grouped = self.heads != self.kv_heads
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[:, None], enable_gqa=grouped)
        return mixed.transpose(0, 1)


def explicit_attention(
    query: Float[Tensor, "H B T d"],
    key: Float[Tensor, "G B S d"],
    value: Float[Tensor, "G B S d"],
    bias: Float[Tensor, "B T S"],
) -> Float[Tensor, "H B T d"]:
    """Attention as products and a softmax; the H query heads share G key-value heads in order."""
    shape = (len(key), -1, *query.shape[1:])  # [G H/G B T d]
    scores = torch.matmul((query * query.shape[-1] ** -0.5).view(shape), key[:, None].transpose(-1, -2))
    weights = torch.softmax(scores.add_(bias), dim=-1)
    return torch.matmul(weights, value[:, None]).flatten(0, 1)


class Mlp(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))` (arXiv:2002.05202), or GeGLU with the tanh form of GELU;
    inside in the linear dtype."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.width, 2 * config.mlp_width)
        self.down = Linear(config.mlp_width, config.width)
        self.geglu = config.parts.geglu

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Each position on its own."""
        joined = self.gate_up(x)
        if not self.geglu:
            return cast("Tensor", self.down(swiglu(joined)))
        gate, up = joined.chunk(2, dim=-1)
        return cast("Tensor", self.down(F.gelu(gate, approximate="tanh") * up))


class Layer(nn.Module):
    """Attention, then the MLP, each on normalised input and added to the fp32 residual stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RmsNorm(config.width, config.norm_eps)
        self.mlp = Mlp(config)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rotation: Rotation,
        sight: Sight | Float[Tensor, "B 1 T S"],
        memory: tuple[CacheView, int] | None,
    ) -> Float[Tensor, "B T D"]:
        """The residual stream after this layer."""
        x = x + self.attention(self.attention_norm(x), rotation, sight, memory)
        return cast("Tensor", x + self.mlp(self.mlp_norm(x)))


class Decoder(LanguageModel):
    """Tokens to hidden states to logits. Built with zero weights: `initialise` or load them."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config: DecoderConfig = config
        self.linear_dtype = torch.float32
        self.embedding = nn.Parameter(torch.zeros(config.vocab_size, config.width))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.width, config.norm_eps)
        self.scale = config.width**0.5 if config.parts.scaled_embedding else 1.0
        self.untied_head = None if config.tied else nn.Parameter(torch.zeros(config.vocab_size, config.width))
        self._circumstances: Circumstances | None = None

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> Decoder:
        """Random weights: normal(0, 0.02), projections into the residual stream smaller by
        sqrt(2 L) (GPT-2), norm gains 1, biases 0. Drawn in the order of the parameters on the CPU."""
        shrink = (2 * self.config.layers) ** -0.5
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            std = INIT_STD * (shrink if name.endswith(("out.weight", "down.weight")) else 1.0)
            weight.copy_(torch.empty(weight.shape).normal_(0.0, std, generator=generator))
        return self

    def use(self, plan: NumericPlan) -> Decoder:
        """This decoder on the plan's device, with its dtypes and attention path."""
        self.linear_dtype = LINEAR_DTYPES[plan.linear]
        self.sampling_dtype = LINEAR_DTYPES[plan.sampling(self.config.width)]
        for module in self.modules():
            if isinstance(module, Linear):
                module.dtype = self.linear_dtype
            elif isinstance(module, Attention):
                module.path = plan.attention
        return self.to(plan.device)

    def recompute(self, circumstances: Circumstances | None = None) -> None:
        """Layers are computed again on the way back instead of being kept."""
        self._circumstances = circumstances or noop_context_fn

    @property
    def input_weight(self) -> Float[Tensor, "V D"]:
        """The token embeddings."""
        return self.embedding

    @property
    def head_weight(self) -> Float[Tensor, "V D"]:
        """The matrix that turns hidden states into logits."""
        return self.embedding if self.untied_head is None else self.untied_head

    @property
    def hf_weights(self) -> dict[str, Tensor]:
        """The weights under transformers' names, fp32 on the CPU; a tied head is left out."""
        return to_hf_names(self.state_dict(), self.config)

    def save(self, directory: Path) -> None:
        """Write `model.safetensors`."""
        save_weights(directory / WEIGHTS_FILE, self.hf_weights)

    def load(self, directory: Path) -> Decoder:
        """This decoder with the weights of a directory; `ArtifactError` names one that does not fit."""
        state = of_hf_names(directory, self.config)
        for name, weight in self.state_dict().items():
            if state[name].shape != weight.shape:
                raise ArtifactError(
                    f"{directory / WEIGHTS_FILE}: {name} has shape {tuple(state[name].shape)}, "
                    f"config.json asks for {tuple(weight.shape)}"
                )
        self.load_state_dict(state)
        return self

    def resize(self, vocab_size: int) -> None:
        """Room for so many tokens: rows beyond are dropped, new ones are 0."""
        self.config = replace(self.config, vocab_size=vocab_size)
        self.embedding = _with_rows(self.embedding, vocab_size)
        if self.untied_head is not None:
            self.untied_head = _with_rows(self.untied_head, vocab_size)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "B T"],
        sight: Sight | Float[Tensor, "B 1 T T"],
        *,
        extra: Float[Tensor, "B T D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Hidden states after the final norm."""
        x = self._embedded(tokens)
        return self._run(x if extra is None else x + extra, positions, self._worthwhile(sight), None)

    def _worthwhile(self, sight: Sight | Tensor) -> Sight | Tensor:
        """Text by text only where that is built and saves work: on a CPU, products with a softmax."""
        attention = cast("Layer", self.layers[0]).attention
        built = attention.path == "explicit" and attention.query_norm is None
        if isinstance(sight, Sight) and built and not sight.segments.is_cuda and sight.worthwhile:
            return sight
        return dense(sight)

    def forward_cached(
        self, tokens: Int[Tensor, "B N"], positions: Int[Tensor, "B N"], cache: CacheView
    ) -> Float[Tensor, "B N D"]:
        """Hidden states of the next N tokens of every row; their keys and values join the cache."""
        bias = cache.bias(tokens.shape[1])
        hidden = self._run(self._embedded(tokens), positions, bias, cache)
        cache.advance(tokens.shape[1])
        return hidden

    def _embedded(self, tokens: Tensor) -> Tensor:
        x = F.embedding(tokens, self.embedding)
        return x if self.scale == 1.0 else x * self.scale

    def _run(self, x: Tensor, positions: Tensor, sight: Sight | Tensor, cache: CacheView | None) -> Tensor:
        rotation = Rotation.at(positions, self.config)
        again = self._circumstances if torch.is_grad_enabled() and cache is None else None
        for index, layer in enumerate(self.layers):
            if again is not None:
                x = checkpoint(layer, x, rotation, sight, None, use_reentrant=False, context_fn=again)
            else:
                x = layer(x, rotation, sight, None if cache is None else (cache, index))
        return cast("Tensor", self.norm(x))


def _with_rows(matrix: nn.Parameter, rows: int) -> nn.Parameter:
    kept = matrix.detach()[:rows]
    return nn.Parameter(F.pad(kept, (0, 0, 0, rows - len(kept))))


def count_parameters(decoder: nn.Module) -> int:
    """How many numbers the module learns; a tied matrix counts once."""
    return sum(weight.numel() for weight in decoder.parameters())
