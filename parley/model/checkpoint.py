"""A checkpoint directory in the Hugging Face layout: whole, and safetensors only (never pickle).

    config.json  generation_config.json  model.safetensors
    tokenizer.json  tokenizer_config.json (with the chat template)  chat_format.json

`transformers` opens it as a LlamaForCausalLM. Weights are saved in fp32; fp32, bf16 and fp16 are
read, in one file or in shards with an index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from parley.config import build
from parley.errors import ArtifactError, ConfigError
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan

CONFIG_FILE: Final = "config.json"
GENERATION_FILE: Final = "generation_config.json"
WEIGHTS_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
FORMAT_FILE: Final = "chat_format.json"
READABLE: Final = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A whole checkpoint, ready to run."""

    decoder: Decoder
    tokenizer: Tokenizer
    chat_format: ChatFormat


def save_checkpoint(directory: Path, decoder: Decoder, tokenizer: Tokenizer, chat_format: ChatFormat) -> None:
    """Write the whole directory; weights in fp32. The caller seals or renames it into place."""
    directory.mkdir(parents=True, exist_ok=True)
    ids = {"bos_token_id": tokenizer.document, "eos_token_id": tokenizer.end, "pad_token_id": tokenizer.pad}
    _write_json(directory / CONFIG_FILE, decoder.config.to_hf() | ids)
    _write_json(directory / GENERATION_FILE, ids | {"do_sample": True, "temperature": 1.0, "top_k": 0})
    _write_json(directory / FORMAT_FILE, asdict(chat_format))
    tokenizer.save(
        directory, chat_template=chat_format.jinja_template(), max_tokens=decoder.config.max_positions
    )
    save_weights(directory / WEIGHTS_FILE, hf_weights(decoder))


def load_checkpoint(directory: Path, plan: NumericPlan) -> LoadedModel:
    """The checkpoint on the plan's device; `ArtifactError` names the file at fault.

    A directory without `chat_format.json` (another program wrote it) has the default format.
    """
    config = DecoderConfig.of_hf(read_json(directory / CONFIG_FILE))
    tokenizer = Tokenizer.load(directory)
    if tokenizer.vocab_size > config.vocab_size:
        raise ArtifactError(
            f"{directory / CONFIG_FILE}: vocab_size {config.vocab_size} is smaller than the "
            f"tokenizer's {tokenizer.vocab_size}"
        )
    decoder = Decoder(config)
    load_hf_weights(decoder, directory)
    return LoadedModel(decoder.use(plan), tokenizer, _read_format(directory / FORMAT_FILE))


def _read_format(path: Path) -> ChatFormat:
    if not path.exists():
        return ChatFormat()
    return chat_format_of(read_json(path), path)


def chat_format_of(found: Mapping[str, object], path: Path) -> ChatFormat:
    """The chat format that a JSON object describes; `ArtifactError` names the file."""
    try:
        return build(ChatFormat, found, str(path))
    except ConfigError as error:
        raise ArtifactError(str(error)) from None


# --- weights -------------------------------------------------------------------------------------


def hf_weights(decoder: Decoder) -> dict[str, Tensor]:
    """The decoder's weights under transformers' names, fp32 on the CPU; a tied head is left out."""
    state = {name: value.detach().float().cpu() for name, value in decoder.state_dict().items()}
    found: dict[str, Tensor] = {}
    for ours, theirs, sizes in _names(decoder.config):
        parts = state[ours].split(sizes) if len(theirs) > 1 else (state[ours],)
        found |= {name: part.contiguous() for name, part in zip(theirs, parts, strict=True)}
    return found


def load_hf_weights(decoder: Decoder, directory: Path) -> None:
    """Fill the decoder from a directory's safetensors."""
    found = dict(_stored_weights(directory))
    where = directory / WEIGHTS_FILE
    if decoder.config.tied:
        found.pop("lm_head.weight", None)
    state: dict[str, Tensor] = {}
    for ours, theirs, sizes in _names(decoder.config):
        parts = [_take(found, name, where) for name in theirs]
        for name, part, size in zip(theirs, parts, sizes, strict=True):
            if len(part) != size:
                raise ArtifactError(f"{where}: {name} has {len(part)} rows, config.json asks for {size}")
        state[ours] = torch.cat(parts)
    if found:
        raise ArtifactError(
            f"{where}: does not fit config.json: {sorted(found)[0]} has no place in the model"
        )
    _fill(decoder, state, where)


def _fill(decoder: Decoder, state: Mapping[str, Tensor], where: Path) -> None:
    for name, weight in decoder.state_dict().items():
        if state[name].shape != weight.shape:
            raise ArtifactError(
                f"{where}: {name} has shape {tuple(state[name].shape)}, config.json asks for "
                f"{tuple(weight.shape)}"
            )
    decoder.load_state_dict(state)


def _take(found: dict[str, Tensor], name: str, where: Path) -> Tensor:
    if name not in found:
        raise ArtifactError(f"{where}: lacks {name}, which config.json asks for")
    value = found.pop(name)
    if value.dtype not in READABLE:
        raise ArtifactError(f"{where}: {name} is {value.dtype}; weights must be fp32, bf16 or fp16")
    return value.float()


def _names(config: DecoderConfig) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Our parameter, transformers' names of its parts, and the rows of each part."""
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    yield "embedding", ("model.embed_tokens.weight",), (config.vocab_size,)
    if not config.tied:
        yield "untied_head", ("lm_head.weight",), (config.vocab_size,)
    for n in range(config.layers):
        ours, theirs = f"layers.{n}", f"model.layers.{n}"
        attention, mlp = f"{theirs}.self_attn", f"{theirs}.mlp"
        projections = tuple(f"{attention}.{letter}_proj.weight" for letter in "qkv")
        yield f"{ours}.attention.qkv.weight", projections, (query, key, key)
        yield f"{ours}.attention.out.weight", (f"{attention}.o_proj.weight",), (config.width,)
        both = (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight")
        yield f"{ours}.mlp.gate_up.weight", both, (config.mlp_width, config.mlp_width)
        yield f"{ours}.mlp.down.weight", (f"{mlp}.down_proj.weight",), (config.width,)
        yield f"{ours}.attention_norm.weight", (f"{theirs}.input_layernorm.weight",), (config.width,)
        yield f"{ours}.mlp_norm.weight", (f"{theirs}.post_attention_layernorm.weight",), (config.width,)
    yield "norm.weight", ("model.norm.weight",), (config.width,)


def _stored_weights(directory: Path) -> Iterator[tuple[str, Tensor]]:
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


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
