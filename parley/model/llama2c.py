"""Models of llama2.c (github.com/karpathy/llama2.c) turned into a Hugging Face directory.

Its first format: a header of seven whole numbers and then fp32 matrices, layer by layer within each
kind; a vocabulary with a score for each piece. Rotary positions turn neighbours there and halves of a
head here, so the rows of queries and keys change places.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, normalizers, processors
from torch import Tensor

from parley.errors import ArtifactError, DataError
from parley.model.architecture import DecoderConfig
from parley.model.weights import WEIGHTS_FILE, save_weights

HEADER: Final = struct.Struct("<7i")
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
MARK: Final = "▁"


def convert_llama2c(weights: Path, vocabulary: Path, out: Path) -> DecoderConfig:
    """Write config, weights and tokenizer into `out`; `DataError` where a file is not of this format."""
    config, numbers = _read_header(weights)
    found = _named(config, numbers, weights)
    inner = _tokenizer(vocabulary, config.vocab_size)
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out / WEIGHTS_FILE, found)
    inner.save(str(out / "tokenizer.json"))
    _write_json(out / "config.json", config.to_hf() | {"bos_token_id": 1, "eos_token_id": 2})
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    names = {"unk_token": UNKNOWN, "bos_token": BEGIN, "eos_token": END}
    _write_json(out / "tokenizer_config.json", settings | names)
    return config


def _read_header(path: Path) -> tuple[DecoderConfig, np.ndarray]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if len(data) < HEADER.size or (len(data) - HEADER.size) % 4:
        raise DataError(
            "is no model of llama2.c: its size is not that of a header and numbers", file=str(path)
        )
    width, mlp_width, layers, heads, kv_heads, rows, positions = HEADER.unpack_from(data)
    try:
        config = DecoderConfig(
            vocab_size=abs(rows),
            width=width,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            mlp_width=mlp_width,
            tied=rows > 0,
            max_positions=positions,
        )
    except (ArtifactError, ZeroDivisionError) as error:
        raise DataError(f"is no model of llama2.c: {error}", file=str(path)) from error
    return config, np.frombuffer(data, dtype="<f4", offset=HEADER.size)


def _named(config: DecoderConfig, numbers: np.ndarray, path: Path) -> dict[str, Tensor]:
    """Every matrix under transformers' name."""
    shapes = list(_shapes(config))
    needed = sum(int(np.prod(shape)) for _, shape in shapes)
    if needed != len(numbers):
        raise DataError(f"holds {len(numbers)} numbers, its header asks for {needed}", file=str(path))
    found: dict[str, Tensor] = {}
    start = 0
    for name, shape in shapes:
        end = start + int(np.prod(shape))
        part = torch.from_numpy(numbers[start:end].reshape(shape).copy())
        found |= _layer_by_layer(name, part, config)
        start = end
    return found


def _shapes(config: DecoderConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The parts of a file in their order; the tables of rotary positions have no name."""
    width, layers, keys = config.width, config.layers, config.kv_heads * config.head_dim
    yield "model.embed_tokens.weight", (config.vocab_size, width)
    yield "model.layers.{}.input_layernorm.weight", (layers, width)
    yield "model.layers.{}.self_attn.q_proj.weight", (layers, width, width)
    yield "model.layers.{}.self_attn.k_proj.weight", (layers, keys, width)
    yield "model.layers.{}.self_attn.v_proj.weight", (layers, keys, width)
    yield "model.layers.{}.self_attn.o_proj.weight", (layers, width, width)
    yield "model.layers.{}.post_attention_layernorm.weight", (layers, width)
    yield "model.layers.{}.mlp.gate_proj.weight", (layers, config.mlp_width, width)
    yield "model.layers.{}.mlp.down_proj.weight", (layers, width, config.mlp_width)
    yield "model.layers.{}.mlp.up_proj.weight", (layers, config.mlp_width, width)
    yield "model.norm.weight", (width,)
    yield "", (config.max_positions, config.head_dim)
    if not config.tied:
        yield "lm_head.weight", (config.vocab_size, width)


def _layer_by_layer(name: str, part: Tensor, config: DecoderConfig) -> dict[str, Tensor]:
    if "{}" not in name:
        return {name: part} if name else {}
    turned = name.endswith(("q_proj.weight", "k_proj.weight"))
    layers = (_halves(layer, config.head_dim) if turned else layer for layer in part)
    return {name.format(n): layer.clone() for n, layer in enumerate(layers)}


def _halves(matrix: Tensor, head_dim: int) -> Tensor:
    """Rows of each head: first those of even place, then those of odd place."""
    pairs = matrix.view(-1, head_dim // 2, 2, matrix.shape[-1])
    return pairs.transpose(1, 2).reshape(matrix.shape)


# --- vocabulary ----------------------------------------------------------------------------------


def _tokenizer(path: Path, num_tokens: int) -> tokenizers.Tokenizer:
    """SentencePiece's BPE: of two pieces, those are joined whose whole has the highest score."""
    pieces = list(_pieces(path, num_tokens))
    ids = {piece: n for n, (piece, _) in enumerate(pieces)}
    inner = tokenizers.Tokenizer(
        models.BPE(ids, list(_merges(pieces, ids)), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    space = decoders.Strip(content=" ", left=1, right=0)
    inner.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), space]
    )
    inner.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, ids[BEGIN])]
    )
    inner.add_special_tokens([AddedToken(name, normalized=False) for name in (UNKNOWN, BEGIN, END)])
    return inner


def _pieces(path: Path, num_tokens: int) -> Iterator[tuple[str, float]]:
    """Each piece with its score, in the order of ids."""
    try:
        data = path.read_bytes()
        at = 4  # the length of the longest piece comes first
        for number in range(num_tokens):
            score, size = struct.unpack_from("<fi", data, at)
            text = data[at + 8 : at + 8 + size].decode("utf-8")
            at += 8 + size
            yield (UNKNOWN, BEGIN, END)[number] if number < 3 else text.replace(" ", MARK), score
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(f"is no vocabulary of llama2.c for this model: {error}", file=str(path)) from error
    if at != len(data):
        raise DataError(f"holds more than the model's {num_tokens} pieces", file=str(path))


def _merges(pieces: list[tuple[str, float]], ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Every pair of pieces whose whole is a piece, best score first."""
    for piece, _ in sorted(pieces[3:], key=lambda item: -item[1]):
        pairs = [(piece[:n], piece[n:]) for n in range(1, len(piece))]
        known = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        yield from sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
