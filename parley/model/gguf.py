"""A checkpoint as one GGUF file, for llama.cpp and what is built on it: weights, tokenizer, chat template.

What the file says of the tokenizer lets llama.cpp make the same ids of a text. Rotary positions of
Llama and Mistral turn neighbours there and halves of a head here, so the rows of their queries and
keys change places; the other families turn halves in both. Needs the `gguf` package (extra `llama`).

Not here: running the file (`engine.llama`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from parley.errors import ArtifactError, ConfigError
from parley.model.architecture import DecoderConfig, RopeScaling
from parley.model.checkpoint import LoadedModel
from parley.model.decoder import Decoder, stretched
from parley.model.language_model import LanguageModel

Precision = Literal["f32", "bf16", "f16", "q8_0"]
PRECISIONS: Final[tuple[Precision, ...]] = ("f32", "bf16", "f16", "q8_0")

ARCHITECTURES: Final = {family: family for family in ("llama", "qwen2", "qwen3", "gemma")} | {
    "mistral": "llama"
}
NEIGHBOURS: Final = ("llama", "mistral")  # families whose rotations turn neighbours in llama.cpp
BLOCK: Final = 32  # numbers that share a scale in q8_0

LAYER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "attention_norm.weight": ("attn_norm.weight",),
    "attention.qkv.weight": ("attn_q.weight", "attn_k.weight", "attn_v.weight"),
    "attention.qkv.bias": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "attention.query_norm.weight": ("attn_q_norm.weight",),
    "attention.key_norm.weight": ("attn_k_norm.weight",),
    "attention.out.weight": ("attn_output.weight",),
    "mlp_norm.weight": ("ffn_norm.weight",),
    "mlp.gate_up.weight": ("ffn_gate.weight", "ffn_up.weight"),
    "mlp.down.weight": ("ffn_down.weight",),
}
"""Our parameters of a layer, and llama.cpp's names of their parts."""

NAMES: Final = {
    "embedding": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "untied_head": "output.weight",
}

LLAMA3_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITTERS: Final[Mapping[tuple[str, ...], str]] = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (LLAMA3_WORDS,): "llama-bpe",
    (LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}"),): "qwen2",
}
"""How byte-level vocabularies cut a text before they join bytes, and llama.cpp's name of it."""

NORMAL, UNKNOWN, CONTROL, OWN, UNUSED, BYTE = range(1, 7)  # llama.cpp's kinds of token


def export_gguf(model: LoadedModel, path: Path, *, precision: Precision, name: str) -> None:
    """Write the file; matrices in `precision`, all else fp32.

    `ArtifactError` for what llama.cpp has no words for: a model in transformers' own modules, a
    tokenizer whose splitting it does not know.
    """
    writer = _begun(model.decoder, path, name)
    _add_vocabulary(writer, model, rows=model.decoder.config.vocab_size)
    _finish(writer, model.decoder, path, precision)


def export_weights(decoder: LanguageModel, path: Path, *, precision: Precision) -> None:
    """The same without a vocabulary: for who speaks to llama.cpp in token ids."""
    writer = _begun(decoder, path, "parley")
    writer.add_tokenizer_model("none")
    _finish(writer, decoder, path, precision)


def _begun(decoder: LanguageModel, path: Path, name: str) -> Any:
    """A writer that knows the model's shape."""
    if not isinstance(decoder, Decoder):
        raise ArtifactError(
            "only models of Llama, Mistral, Qwen 2 and 3 and Gemma become GGUF here; llama.cpp's "
            "convert_hf_to_gguf.py reads the directory of any other"
        )
    writer = _library().GGUFWriter(_fresh(path), ARCHITECTURES[decoder.config.family])
    _describe(writer, decoder.config, name)
    return writer


def _finish(writer: Any, decoder: LanguageModel, path: Path, precision: Precision) -> None:
    assert isinstance(decoder, Decoder)
    library = _library()
    for tensor, values in _tensors(decoder):
        kind = library.GGMLQuantizationType[_stored_as(values, precision).upper()]
        stored = library.quants.quantize(values.numpy().astype(np.float32), kind)
        writer.add_tensor(tensor, stored, raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(_fresh(path), path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        _fresh(path).unlink(missing_ok=True)


def _fresh(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(f".{path.name}.fresh")


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise ConfigError("GGUF needs the gguf package: pip install 'parley[llama]'") from None
    return gguf


def _stored_as(values: Tensor, precision: Precision) -> Precision:
    """Matrices in the precision asked for, where their rows are whole blocks of it."""
    whole = precision != "q8_0" or values.shape[-1] % BLOCK == 0
    return precision if values.dim() > 1 and whole else "f32"


def _describe(writer: Any, config: DecoderConfig, name: str) -> None:
    writer.add_name(name)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp_width)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)


# --- weights -------------------------------------------------------------------------------------


def _tensors(decoder: Decoder) -> Iterator[tuple[str, Tensor]]:
    """Every tensor under llama.cpp's name, fp32 on the CPU."""
    config = decoder.config
    if config.rope_scaling is not None:
        yield "rope_freqs.weight", _frequency_factors(config, config.rope_scaling)
    state = {name: value.detach().float().cpu() for name, value in decoder.state_dict().items()}
    for ours, value in state.items():
        if ours in NAMES:
            yield NAMES[ours], value
            continue
        _, number, part = ours.split(".", 2)
        for theirs, piece in zip(LAYER_NAMES[part], _pieces(part, value, config), strict=True):
            yield f"blk.{number}.{theirs}", piece.contiguous()


def _pieces(part: str, value: Tensor, config: DecoderConfig) -> tuple[Tensor, ...]:
    if part.startswith("attention.qkv"):
        sizes = [heads * config.head_dim for heads in (config.heads, config.kv_heads, config.kv_heads)]
        query, key, last = torch.split(value, sizes)
        if config.family in NEIGHBOURS:
            query, key = _neighbours(query, config.head_dim), _neighbours(key, config.head_dim)
        return query, key, last
    return value.chunk(len(LAYER_NAMES[part]))


def _neighbours(matrix: Tensor, head_dim: int) -> Tensor:
    """Rows of each head with row i beside i + d/2, its partner in a rotation."""
    halves = matrix.view(-1, 2, head_dim // 2, *matrix.shape[1:])
    return halves.transpose(1, 2).reshape(matrix.shape)


def _frequency_factors(config: DecoderConfig, scaling: RopeScaling) -> Tensor:
    """What each rotary frequency is divided by."""
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32)
    frequencies = config.rope_theta ** -(steps / config.head_dim)
    return frequencies / stretched(frequencies, scaling)


# --- vocabulary ----------------------------------------------------------------------------------


def _add_vocabulary(writer: Any, model: LoadedModel, *, rows: int) -> None:
    tokenizer = model.tokenizer
    definition = tokenizer.definition
    if definition["model"]["type"] != "BPE":
        raise ArtifactError(
            f"llama.cpp reads vocabularies of BPE, byte-level or with byte fallback; this one's is "
            f"{definition['model']['type']}"
        )
    if definition["model"].get("byte_fallback"):
        _add_sentence_pieces(writer, definition, rows)
    else:
        _add_byte_level(writer, definition, rows)
    writer.add_bos_token_id(tokenizer.document)
    writer.add_eos_token_id(tokenizer.end)
    writer.add_pad_token_id(tokenizer.pad)
    writer.add_add_bos_token(False)  # what opens a prompt stands in the chat template
    writer.add_chat_template(model.chat_format.jinja_template(tokenizer.marks.end))


def _add_byte_level(writer: Any, definition: Mapping[str, Any], rows: int) -> None:
    words = _splitting(definition["pre_tokenizer"])
    if words not in SPLITTERS:
        raise ArtifactError(
            f"llama.cpp does not know how this tokenizer splits a text ({', '.join(words) or 'not at all'})"
        )
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(SPLITTERS[words])
    tokens, kinds = _tokens(definition, rows)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in _merges(definition)])


def _add_sentence_pieces(writer: Any, definition: Mapping[str, Any], rows: int) -> None:
    """llama.cpp joins the two pieces whose whole has the best score: that of its first merge."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(_merges(definition)):
        ranks.setdefault("".join(pair), rank)
    tokens, kinds = _tokens(definition, rows)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(ranks.get(token, len(ranks))) for token in tokens])
    writer.add_token_types(kinds)
    opens = json.dumps([definition["normalizer"], definition["pre_tokenizer"]])
    writer.add_add_space_prefix('"Prepend"' in opens or '"prepend_scheme": "always"' in opens)


def _tokens(definition: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """The text and the kind of every row of the embeddings; rows without a token are unused."""
    tokens, kinds = [f"[UNUSED{row}]" for row in range(rows)], [UNUSED] * rows
    unknown = definition["model"].get("unk_token")
    for text, number in definition["model"]["vocab"].items():
        tokens[number] = text
        byte = definition["model"].get("byte_fallback") and text.startswith("<0x")
        kinds[number] = UNKNOWN if text == unknown else BYTE if byte else NORMAL
    for added in definition["added_tokens"]:
        tokens[added["id"]] = added["content"]
        if kinds[added["id"]] != UNKNOWN:
            kinds[added["id"]] = CONTROL if added["special"] else OWN
    return tokens, kinds


def _merges(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for pair in definition["model"]["merges"]:
        first, second = pair.split(" ") if isinstance(pair, str) else pair
        yield first, second


def _splitting(step: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The steps that cut a text: regular expressions, or the names of those that bring their own."""
    if step is None:
        return ()
    if step["type"] == "Sequence":
        return tuple(word for inner in step["pretokenizers"] for word in _splitting(inner))
    if step["type"] == "Split":
        return (str(step["pattern"].get("Regex", step["pattern"].get("String"))),)
    if step["type"] == "ByteLevel" and not step["use_regex"]:
        return ()
    return (str(step["type"]),)
