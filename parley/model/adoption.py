"""Somebody else's model made ready for our chat format: its tokenizer, and rows for what it lacks.

The format is always ours (`model.render`), whatever template a model brings: one format is tested, and
text can never forge its tokens. What the model knows is kept where it means the same: its end-of-text
token closes turns and documents, its begin-of-text token opens documents. Role tokens are added
(a model that has tokens of those names keeps them), and a padding token where it has none of its own
that differs from the others (rule P15). Added rows start from the embeddings of words like them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from parley.errors import ArtifactError
from parley.model.language_model import LanguageModel
from parley.model.tokenizer import (
    ASSISTANT,
    END,
    PAD,
    SETTINGS_FILE,
    SYSTEM,
    TOKENIZER_FILE,
    USER,
    Marks,
    Tokenizer,
)
from parley.model.weights import read_json

START_WORDS: Final[Mapping[str, str]] = {SYSTEM: "System:", USER: "Question:", ASSISTANT: "Answer:"}
GPT2_END: Final = "<|endoftext|>"
TOKEN_NAMES: Final = {"end": "eos", "document": "bos", "pad": "pad", "unknown": "unk"}


def adopted_tokenizer(directory: Path) -> tuple[Tokenizer, int]:
    """The tokenizer of any model's directory with the tokens of the chat format, and how many ids it
    had before; `ArtifactError` names a file at fault."""
    inner = _read(directory)
    before = max(inner.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    own = _own_tokens(directory, inner)
    end = own.get("end", END)
    document = own.get("document", end)
    taken = {end, document, own.get("unknown")}
    pad = own.get("pad")
    marks = Marks(pad=pad if pad and pad not in taken else PAD, end=end, document=document)
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in marks.all])
    try:
        return Tokenizer(_opening_every_text(inner), marks), before
    except ArtifactError as error:
        raise ArtifactError(f"{directory}: {error}") from error


@torch.no_grad()
def make_room(model: LanguageModel, tokenizer: Tokenizer, before: int, words: Mapping[str, str]) -> None:
    """One row of the model for each id of the tokenizer; rows from `before` on start from the mean
    embedding of their words, or of all tokens where none are said. Rows that pad a matrix go."""
    if tokenizer.vocab_size != model.config.vocab_size:
        model.resize(tokenizer.vocab_size)
    starts = {tokenizer.system: SYSTEM, tokenizer.user: USER, tokenizer.assistant: ASSISTANT}
    for matrix in {id(m): m for m in (model.input_weight, model.head_weight)}.values():
        for token in range(before, tokenizer.vocab_size):
            ids = tokenizer.encode(words.get(starts.get(token, ""), ""))
            matrix[token] = (matrix[ids] if ids else matrix[:before]).mean(0)


# --- reading -------------------------------------------------------------------------------------


def _read(directory: Path) -> tokenizers.Tokenizer:
    path = directory / TOKENIZER_FILE
    if not path.exists():
        return _read_gpt2(directory)
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise ArtifactError(f"{path}: is no tokenizer: {error}") from error


def _read_gpt2(directory: Path) -> tokenizers.Tokenizer:
    """The older form of a byte-level BPE: `vocab.json` and `merges.txt`."""
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    if not (vocabulary.exists() and merges.exists()):
        raise ArtifactError(
            f"{directory} has no {TOKENIZER_FILE}, nor vocab.json with merges.txt; where transformers "
            "knows the tokenizer, AutoTokenizer.from_pretrained(…).save_pretrained(…) writes one"
        )
    try:
        inner = tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # as above
        raise ArtifactError(f"{vocabulary}, {merges.name}: are no vocabulary: {error}") from error
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return inner


def _own_tokens(directory: Path, inner: tokenizers.Tokenizer) -> dict[str, str]:
    """The model's own end, begin, padding and unknown tokens, as far as its files name them; GPT-2's
    where there are only its two files."""
    said: dict[str, object] = {} if (directory / TOKENIZER_FILE).exists() else {"eos_token": GPT2_END}
    said |= {
        name: value
        for file in ("config.json", "generation_config.json", "special_tokens_map.json", SETTINGS_FILE)
        if (directory / file).exists()
        for name, value in read_json(directory / file).items()
        if value is not None
    }
    found = {
        ours: _text(said.get(f"{theirs}_token")) or _text_of_id(inner, said.get(f"{theirs}_token_id"))
        for ours, theirs in TOKEN_NAMES.items()
    }
    return {name: text for name, text in found.items() if text and inner.token_to_id(text) is not None}


def _text(value: object) -> str:
    """A token as `tokenizer_config.json` writes it: a text, or an object with its content."""
    content = value.get("content") if isinstance(value, Mapping) else value
    return content if isinstance(content, str) else ""


def _text_of_id(inner: tokenizers.Tokenizer, value: object) -> str:
    number = value[0] if isinstance(value, list) and value else value
    return (inner.id_to_token(number) or "") if isinstance(number, int) and number >= 0 else ""


def _opening_every_text(inner: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A tokenizer that opens the first text with a space opens every turn with one: turns are encoded
    one by one, and transformers' chat template must come to the same ids."""
    said: dict[str, Any] = json.loads(inner.to_str())
    places = [
        said["pre_tokenizer"],
        said["decoder"],
        *((said["pre_tokenizer"] or {}).get("pretokenizers", [])),
    ]
    places += (said["decoder"] or {}).get("decoders", [])
    first = [place for place in places if place and place.get("prepend_scheme") == "first"]
    for place in first:
        place["prepend_scheme"] = "always"
    return tokenizers.Tokenizer.from_str(json.dumps(said)) if first else inner
