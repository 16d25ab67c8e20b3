"""A checkpoint directory in the Hugging Face layout: whole, and safetensors only (never pickle).

    config.json  generation_config.json  model.safetensors
    tokenizer.json  tokenizer_config.json (with the chat template)  chat_format.json

`transformers` opens it as a model of its family. Any causal model's directory that another program
wrote is opened too: its tokenizer and its embeddings get the tokens of the chat format on the way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from parley.config import build
from parley.errors import ArtifactError, ConfigError
from parley.model.adoption import START_WORDS, adopted_tokenizer, make_room
from parley.model.architecture import not_built
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.language_model import LanguageModel
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.model.weights import read_json
from parley.numerics import NumericPlan

CONFIG_FILE: Final = "config.json"
GENERATION_FILE: Final = "generation_config.json"
FORMAT_FILE: Final = "chat_format.json"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A whole checkpoint, ready to run."""

    decoder: LanguageModel
    tokenizer: Tokenizer
    chat_format: ChatFormat


def save_checkpoint(
    directory: Path, decoder: LanguageModel, tokenizer: Tokenizer, chat_format: ChatFormat
) -> None:
    """Write the whole directory; weights in fp32. The caller seals or renames it into place."""
    directory.mkdir(parents=True, exist_ok=True)
    decoder.save(directory)
    ids = {"bos_token_id": tokenizer.document, "eos_token_id": tokenizer.end, "pad_token_id": tokenizer.pad}
    _write_json(directory / CONFIG_FILE, decoder.config.to_hf() | ids)
    _write_json(directory / GENERATION_FILE, ids | {"do_sample": True, "temperature": 1.0, "top_k": 0})
    _write_json(directory / FORMAT_FILE, asdict(chat_format))
    tokenizer.save(
        directory,
        chat_template=chat_format.jinja_template(tokenizer.marks.end),
        max_tokens=decoder.config.max_positions,
    )


def load_checkpoint(directory: Path, plan: NumericPlan) -> LoadedModel:
    """The checkpoint on the plan's device; `ArtifactError` names the file at fault.

    A directory without `chat_format.json` was written by another program: it has the default format,
    and what its tokenizer lacks of it is added (`load_pretrained`).
    """
    read_json(directory / CONFIG_FILE)  # without it, it is no checkpoint at all: that is said first
    if not (directory / FORMAT_FILE).exists():
        return load_pretrained(directory, plan)
    tokenizer = Tokenizer.load(directory)
    _check_vocabulary(directory, tokenizer.vocab_size)
    decoder = load_model(directory)
    chat = chat_format_of(read_json(directory / FORMAT_FILE), directory / FORMAT_FILE)
    return LoadedModel(decoder.use(plan), tokenizer, chat)


def load_pretrained(
    directory: Path,
    plan: NumericPlan,
    *,
    chat_format: ChatFormat = ChatFormat(),  # noqa: B008 - a frozen value
    words: Mapping[str, str] = START_WORDS,
) -> LoadedModel:
    """Anybody's causal model, ready for our chat format.

    `words` says from which text's embeddings each added role token starts.
    """
    tokenizer, before = adopted_tokenizer(directory)
    _check_vocabulary(directory, before)
    decoder = load_model(directory)
    make_room(decoder, tokenizer, before, words)
    return LoadedModel(decoder.use(plan), tokenizer, chat_format)


def load_model(directory: Path) -> LanguageModel:
    """The weights of a directory, in our decoder where it covers them, else in transformers' modules."""
    found = read_json(directory / CONFIG_FILE)
    if not_built(found):
        from parley.model.transformers_decoder import load_transformers_model  # takes seconds to import

        return load_transformers_model(directory)
    return Decoder(DecoderConfig.of_hf(found)).load(directory)


def empty_model(found: Mapping[str, object]) -> LanguageModel:
    """The model that a `config.json` describes, its weights still to be loaded."""
    if not_built(found):
        from parley.model.transformers_decoder import empty_transformers_model  # takes seconds to import

        return empty_transformers_model(found)
    return Decoder(DecoderConfig.of_hf(found))


def _check_vocabulary(directory: Path, num_tokens: int) -> None:
    rows = read_json(directory / CONFIG_FILE).get("vocab_size")
    if isinstance(rows, int) and num_tokens > rows:
        raise ArtifactError(
            f"{directory / CONFIG_FILE}: vocab_size {rows} is smaller than the tokenizer's {num_tokens}"
        )


def chat_format_of(found: Mapping[str, object], path: Path) -> ChatFormat:
    """The chat format that a JSON object describes; `ArtifactError` names the file."""
    try:
        return build(ChatFormat, found, str(path))
    except ConfigError as error:
        raise ArtifactError(str(error)) from None


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
