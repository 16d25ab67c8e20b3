"""Our decoder as the engine runs it: weights packed once, tokens of all replies in one flat batch.

The numbers are `model.decoder`'s to rounding; the order of the additions differs. Pairs of rotary
dimensions lie side by side here, so that a rotation is one complex product; queries and keys are
permuted alike, which no inner product notices. The layers' products take one dtype, logits and all
else fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.nn import functional as F

from parley.engine.attention import attend, column_bias, column_page
from parley.engine.matrix import Matrix
from parley.engine.runner import CHUNK, Chunk, ModelRunner, Runner, Step
from parley.engine.slots import PAGE, Slots, paged
from parley.model.adapters import AdaptedModel
from parley.model.decoder import Decoder, DecoderConfig, Layer, Linear, Rotation
from parley.model.language_model import LanguageModel

WeightOf = Callable[[Linear], Tensor]


def runner_for(model: LanguageModel, *, exact: bool, dtype: torch.dtype | None = None) -> Runner:
    """The fastest way to run a model: packed where it is our decoder, with adapters or without. Other
    models multiply in their own dtype."""
    if isinstance(model, Decoder):
        return PackedRunner(model, exact=exact, dtype=dtype)
    if isinstance(model, AdaptedModel) and isinstance(model.trunk.model, Decoder):
        return PackedRunner(model.trunk.model, exact=exact, dtype=dtype, weight_of=model.weight_of)
    return ModelRunner(model, exact=exact)


def own_weight(linear: Linear) -> Tensor:
    """The matrix as it is, without adapters."""
    return linear.weight.detach()


@dataclass(frozen=True, slots=True)
class _Weights:
    """One layer."""

    attention_norm: Tensor
    qkv: Matrix
    qkv_bias: Tensor | None
    head_gains: Float[Tensor, "heads d"] | None
    """Of the norms over each head of queries and keys."""
    out: Matrix
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix

    @classmethod
    def of(
        cls, layer: Layer, config: DecoderConfig, dtype: torch.dtype, weight_of: WeightOf, *, exact: bool
    ) -> _Weights:
        attention, mlp = layer.attention, layer.mlp
        bias = attention.qkv.bias
        return cls(
            attention_norm=layer.attention_norm.weight.detach().clone(),
            qkv=Matrix(_interleaved(weight_of(attention.qkv), config), dtype, exact=exact),
            qkv_bias=None if bias is None else _interleaved(bias.detach()[:, None], config)[:, 0],
            head_gains=_head_gains(layer, config),
            out=Matrix(weight_of(attention.out), dtype, exact=exact),
            mlp_norm=layer.mlp_norm.weight.detach().clone(),
            gate_up=Matrix(weight_of(mlp.gate_up), dtype, exact=exact),
            down=Matrix(weight_of(mlp.down), dtype, exact=exact),
        )


def _interleaved(qkv: Float[Tensor, "N D"], config: DecoderConfig) -> Float[Tensor, "N D"]:
    """Rows of queries and keys with dimension i beside i + d/2, its partner in a rotation."""
    turned = (config.heads + config.kv_heads) * config.head_dim
    halves = qkv[:turned].view(-1, 2, config.head_dim // 2, qkv.shape[1])
    return torch.cat((halves.transpose(1, 2).reshape(turned, -1), qkv[turned:]))


def _head_gains(layer: Layer, config: DecoderConfig) -> Float[Tensor, "heads d"] | None:
    query, key = layer.attention.query_norm, layer.attention.key_norm
    if query is None or key is None:
        return None
    heads = (query.weight.expand(config.heads, -1), key.weight.expand(config.kv_heads, -1))
    halves = torch.cat(heads).detach().view(-1, 2, config.head_dim // 2)
    return halves.transpose(1, 2).reshape(-1, config.head_dim)


@dataclass(frozen=True, slots=True)
class _Group:
    """Chunks that are read as one batch, and where their tokens lie in the flat batch."""

    first: int
    last: int
    columns: int
    bias: Float[Tensor, "1 M S"]
    padded: Int[Tensor, " P"]
    real: Int[Tensor, " N"]


@dataclass(frozen=True, slots=True)
class _Pass:
    """Everything about a flat batch that all layers share."""

    rotation: Complex[Tensor, "N 1 h"]
    written: int
    writing: Slots
    writing_places: Int[Tensor, " W"]
    writing_bias: Float[Tensor, "RH 1 S"]
    reading: Slots
    reading_places: Int[Tensor, " P"]
    groups: Sequence[_Group]


class PackedRunner:
    """A decoder's weights as they are now; a decoder that learns on needs another runner.

    In exact mode a reply's logits depend, bit for bit, on its own tokens alone. Products take `dtype`
    (`torch.int8` too), the model's own for sampling where it is None.
    """

    @torch.inference_mode()
    def __init__(
        self,
        decoder: Decoder,
        *,
        exact: bool,
        dtype: torch.dtype | None = None,
        weight_of: WeightOf = own_weight,
    ) -> None:
        config, dtype = decoder.config, decoder.sampling_dtype if dtype is None else dtype
        self.shape, self.device, self.dtype = config, decoder.embedding.device, dtype
        self._exact = exact
        self._embedding = decoder.embedding.detach() * decoder.scale
        self._layers = [
            _Weights.of(layer, config, dtype, weight_of, exact=exact) for layer in _layers(decoder)
        ]
        self._norm = decoder.norm.weight.detach().clone()
        self._head = Matrix(decoder.head_weight, torch.float32, exact=exact)
        self._rotation = _rotations(config, self.device)
        self._chunk_bias: dict[int, Tensor] = {}

    def slots(self, *, rows: int, columns: int) -> Slots:
        """Memory for so many replies of so many tokens."""
        return Slots(self.shape, rows=rows, columns=columns, device=self.device)

    @torch.inference_mode()
    def run(self, step: Step) -> Float[Tensor, "N V"]:
        """Logits behind every written token, in order, then behind every last chunk, in their order."""
        ordered = [chunk for group in step.groups() for chunk in group]
        tokens = [*step.tokens, *(token for chunk in ordered for token in chunk.tokens)]
        x = F.embedding(torch.tensor(tokens, device=self.device), self._embedding)
        shared = self._prepare(step)
        for index, layer in enumerate(self._layers):
            x = self._layer(x, index, layer, shared)
        x = x[self._wanted(step, ordered)]
        if not len(x):
            return x.new_empty(0, self.shape.vocab_size)
        return self._head(F.rms_norm(x, x.shape[-1:], self._norm, self.shape.norm_eps))

    def _wanted(self, step: Step, ordered: Sequence[Chunk]) -> Tensor | slice:
        """Flat places of the tokens whose logits are asked for."""
        if not step.chunks:
            return slice(None)
        ends, end = {}, len(step.tokens)
        for chunk in ordered:
            end += len(chunk.tokens)
            ends[chunk.row, chunk.index] = end - 1
        lasts = [ends[chunk.row, chunk.index] for chunk in step.chunks if chunk.last]
        return torch.tensor([*range(len(step.tokens)), *lasts], dtype=torch.int64, device=self.device)

    def _prepare(self, step: Step) -> _Pass:
        groups = list(step.groups())
        read = [(c.row, c.index * CHUNK + n) for g in groups for c in g for n in range(len(c.tokens))]
        columns = torch.tensor([*step.columns, *(column for _, column in read)], device=self.device)
        rows = torch.tensor([row for row, _ in read], dtype=torch.int64, device=self.device)
        written = len(step.tokens)
        return _Pass(
            rotation=self._rotation[columns],
            written=written,
            writing=step.writing,
            writing_places=step.writing.places(torch.arange(written, device=self.device), columns[:written]),
            writing_bias=self._writing_bias(step, columns[:written]),
            reading=step.reading,
            reading_places=step.reading.places(rows, columns[written:]),
            groups=self._groups(groups, written, step.reading),
        )

    def _writing_bias(self, step: Step, columns: Tensor) -> Tensor:
        width = min(paged(max(step.columns, default=0) + 1, self._page(step.writing)), step.writing.columns)
        bias = column_bias(columns, width)
        return bias.repeat_interleave(self.shape.kv_heads, 0)[:, None]

    def _page(self, slots: Slots) -> int:
        if not self._exact:
            return PAGE
        machine = (self.device, torch.get_num_threads())
        queries = self.shape.heads // self.shape.kv_heads
        return column_page(queries, self.shape.head_dim, slots.columns, machine)

    def _groups(self, groups: Sequence[Sequence[Chunk]], begin: int, slots: Slots) -> list[_Group]:
        found = []
        for chunks in groups:
            counts = [len(chunk.tokens) for chunk in chunks]
            columns = min(paged((chunks[0].index + 1) * CHUNK), slots.columns)
            padded, real = self._places(counts, begin)
            bias = self._bias(chunks[0].index, columns)
            found.append(_Group(chunks[0].row, chunks[-1].row + 1, columns, bias, padded, real))
            begin += sum(counts)
        return found

    def _places(self, counts: Sequence[int], begin: int) -> tuple[Tensor, Tensor]:
        """Flat place of every token of whole chunks, the last one's where there is none, and which of
        them are there."""
        padded: list[int] = []
        real: list[int] = []
        for row, count in enumerate(counts):
            padded += [begin + min(n, count - 1) for n in range(CHUNK)]
            real += range(row * CHUNK, row * CHUNK + count)
            begin += count
        return torch.tensor(padded, device=self.device), torch.tensor(real, device=self.device)

    def _bias(self, index: int, columns: int) -> Tensor:
        """What the queries of chunk `index` see, for all query heads of a key-value head."""
        if index not in self._chunk_bias:
            last = index * CHUNK + torch.arange(CHUNK, device=self.device)
            bias = column_bias(last, columns).repeat(self.shape.heads // self.shape.kv_heads, 1)
            self._chunk_bias[index] = bias[None]
        return self._chunk_bias[index]

    def _layer(self, x: Tensor, index: int, layer: _Weights, shared: _Pass) -> Tensor:
        shape, eps = self.shape, self.shape.norm_eps
        normed = F.rms_norm(x, x.shape[-1:], layer.attention_norm, eps)
        qkv = layer.qkv(normed).float()
        if layer.qkv_bias is not None:
            qkv = qkv + layer.qkv_bias
        qkv = qkv.view(len(x), -1, shape.head_dim)
        turned = qkv[:, : shape.heads + shape.kv_heads]
        if layer.head_gains is not None:
            turned = F.rms_norm(turned, turned.shape[-1:], None, eps) * layer.head_gains
        turned = _turned(turned, shared.rotation)
        mixed = self._attention(turned, qkv[:, shape.heads + shape.kv_heads :], index, shared)
        x = x + layer.out(mixed)
        gate_up = layer.gate_up(F.rms_norm(x, x.shape[-1:], layer.mlp_norm, eps))
        gate, up = gate_up.chunk(2, dim=-1)
        gate = F.gelu(gate, approximate="tanh") if shape.parts.geglu else F.silu(gate)
        return x + layer.down(gate.mul_(up))

    def _attention(self, turned: Tensor, value: Tensor, index: int, shared: _Pass) -> Tensor:
        heads, written = self.shape.heads, shared.written
        query, key = turned[:, :heads], turned[:, heads:]
        parts = []
        if written:
            shared.writing.write(index, shared.writing_places, key[:written], value[:written])
            parts.append(self._written(query[:written], index, shared))
        if shared.groups:
            shared.reading.write(index, shared.reading_places, key[written:], value[written:])
            parts += [self._read(query, index, group, shared.reading) for group in shared.groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _written(self, query: Tensor, index: int, shared: _Pass) -> Tensor:
        kv_heads, columns = self.shape.kv_heads, shared.writing_bias.shape[-1]
        keys, values = shared.writing.read(index, 0, len(query), columns)
        asked = query.reshape(len(query) * kv_heads, -1, self.shape.head_dim)
        return attend(asked, keys, values, shared.writing_bias).view(len(query), -1)

    def _read(self, query: Tensor, index: int, group: _Group, slots: Slots) -> Tensor:
        rows, heads, width = group.last - group.first, self.shape.heads, self.shape.head_dim
        keys, values = slots.read(index, group.first, group.last, group.columns)
        chunks = query[group.padded].view(rows, CHUNK, heads, width).transpose(1, 2)
        asked = chunks.reshape(rows * self.shape.kv_heads, -1, width)
        mixed = attend(asked, keys, values, group.bias).view(rows, heads, CHUNK, width)
        return mixed.transpose(1, 2).reshape(rows * CHUNK, -1)[group.real]


def _layers(decoder: Decoder) -> list[Layer]:
    return [layer for layer in decoder.layers if isinstance(layer, Layer)]


def _turned(x: Float[Tensor, "N heads d"], rotation: Complex[Tensor, "N 1 h"]) -> Float[Tensor, "N heads d"]:
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2)


def _rotations(config: DecoderConfig, device: torch.device) -> Complex[Tensor, "T 1 h"]:
    """The rotation of every position, as complex numbers."""
    positions = torch.arange(config.max_positions, device=device)[None]
    angles = Rotation.at(positions, config)
    half = config.head_dim // 2
    return torch.complex(angles.cos[0, :, :half], angles.sin[0, :, half:])[:, None].contiguous()
