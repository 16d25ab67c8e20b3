"""Weights on disk: safetensors only (never pickle), and our decoder's parameters under transformers' names.

fp32, bf16 and fp16 are read, in one file or in shards with an index; what is written is fp32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from parley.errors import ArtifactError
from parley.model.architecture import DecoderConfig

WEIGHTS_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
NOT_WEIGHTS: Final = "rotary_emb.inv_freq"  # older files hold what follows from config.json
READABLE: Final = (torch.float32, torch.bfloat16, torch.float16)


def to_hf_names(state: Mapping[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """A decoder's weights under transformers' names, fp32 on the CPU; a tied head is left out."""
    state = {name: value.detach().float().cpu() for name, value in state.items()}
    found: dict[str, Tensor] = {}
    for ours, theirs, sizes in _names(config):
        parts = torch.split(state[ours], list(sizes)) if len(theirs) > 1 else (state[ours],)
        found |= {name: part.contiguous() for name, part in zip(theirs, parts, strict=True)}
    return _shifted(found, -config.parts.gain_offset)


def of_hf_names(directory: Path, config: DecoderConfig) -> dict[str, Tensor]:
    """A decoder's state from a directory's safetensors."""
    found = _shifted(dict(stored_weights(directory)), config.parts.gain_offset)
    where = directory / WEIGHTS_FILE
    if config.tied:
        found.pop("lm_head.weight", None)
    state: dict[str, Tensor] = {}
    for ours, theirs, sizes in _names(config):
        parts = [_take(found, name, where) for name in theirs]
        for name, part, size in zip(theirs, parts, sizes, strict=True):
            if len(part) != size:
                raise ArtifactError(f"{where}: {name} has {len(part)} rows, config.json asks for {size}")
        state[ours] = torch.cat(parts)
    found = {name: value for name, value in found.items() if not name.endswith(NOT_WEIGHTS)}
    if found:
        raise ArtifactError(
            f"{where}: does not fit config.json: {sorted(found)[0]} has no place in the model"
        )
    return state


def _shifted(weights: dict[str, Tensor], offset: float) -> dict[str, Tensor]:
    """Gains of norms counted from 1 where a family's files count them from 0, or back."""
    if not offset:
        return weights
    return {
        name: value.float() + offset if name.endswith("norm.weight") else value
        for name, value in weights.items()
    }


def _take(found: dict[str, Tensor], name: str, where: Path) -> Tensor:
    if name not in found:
        raise ArtifactError(f"{where}: lacks {name}, which config.json asks for")
    value = found.pop(name)
    if value.dtype not in READABLE:
        raise ArtifactError(f"{where}: {name} is {value.dtype}; weights must be fp32, bf16 or fp16")
    return value.float()


def _names(config: DecoderConfig) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Our parameter, transformers' names of its parts, and the rows of each part."""
    yield "embedding", ("model.embed_tokens.weight",), (config.vocab_size,)
    if not config.tied:
        yield "untied_head", ("lm_head.weight",), (config.vocab_size,)
    for n in range(config.layers):
        yield from _layer_names(config, f"layers.{n}", f"model.layers.{n}")
    yield "norm.weight", ("model.norm.weight",), (config.width,)


def _layer_names(
    config: DecoderConfig, ours: str, theirs: str
) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    attention, mlp = f"{theirs}.self_attn", f"{theirs}.mlp"
    for kind in ("weight", "bias") if config.parts.qkv_bias else ("weight",):
        projections = tuple(f"{attention}.{letter}_proj.{kind}" for letter in "qkv")
        yield f"{ours}.attention.qkv.{kind}", projections, (query, key, key)
    yield f"{ours}.attention.out.weight", (f"{attention}.o_proj.weight",), (config.width,)
    if config.parts.query_key_norm:
        yield f"{ours}.attention.query_norm.weight", (f"{attention}.q_norm.weight",), (config.head_dim,)
        yield f"{ours}.attention.key_norm.weight", (f"{attention}.k_norm.weight",), (config.head_dim,)
    both = (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight")
    yield f"{ours}.mlp.gate_up.weight", both, (config.mlp_width, config.mlp_width)
    yield f"{ours}.mlp.down.weight", (f"{mlp}.down_proj.weight",), (config.width,)
    yield f"{ours}.attention_norm.weight", (f"{theirs}.input_layernorm.weight",), (config.width,)
    yield f"{ours}.mlp_norm.weight", (f"{theirs}.post_attention_layernorm.weight",), (config.width,)


def stored_weights(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the one file, or of the shards that the index names."""
    index = directory / INDEX_FILE
    if not index.exists():
        yield from read_weights(directory / WEIGHTS_FILE).items()
        return
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise ArtifactError(f"{index}: has no weight_map")
    for name in sorted(set(shards.values())):
        yield from read_weights(directory / Path(str(name)).name).items()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, on the CPU."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error


def weights_digest(model: nn.Module) -> str:
    """A name for what a model's weights are, wherever they lie."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(value.shape)} ".encode())
        found.update(value.detach().float().cpu().contiguous().numpy())
    return found.hexdigest()


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, marked as PyTorch's; `ArtifactError` where the disk does not take them."""
    try:
        save_file(dict(weights), path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise ArtifactError(f"{path}: cannot be written: {error}") from None


def read_json(path: Path) -> dict[str, object]:
    """A JSON object of a checkpoint; `ArtifactError` names the file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{path}: is not a JSON object")
    return found
