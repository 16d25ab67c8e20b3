"""Tokenizers of every supported kind, as other programs write them, in directories of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS: Final = (
    "Mira lives in Oakby. What animal does Tom have? Tom has a goat.",
    "I cannot help with that. Which Sally do you mean? I am sure.",
    "Question: Answer: System: one two three, the cat sat on the mat; it was 12 o'clock.",
) * 4
BYTES: Final = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIALS: Final = ["<unk>", "<s>", "</s>"]


def gpt2() -> tokenizers.Tokenizer:
    """Byte-level BPE; one token ends texts, begins them and pads."""
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])


def llama3() -> tokenizers.Tokenizer:
    """Byte-level BPE behind a regular expression, whole words looked up first, a text-like added token."""
    pattern = tokenizers.Regex(r"\p{N}{1,3}|\s?\p{L}+|\s+|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(pattern, behavior="isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner = _byte_level(pre_tokenizers.Sequence([split, whole]), ["<|begin_of_text|>", "<|end_of_text|>"])
    said = json.loads(inner.to_str())
    said["model"]["ignore_merges"] = True
    inner = tokenizers.Tokenizer.from_str(json.dumps(said))
    inner.add_tokens([AddedToken("<tool_call>", normalized=False)])
    inner.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        special_tokens=[("<|begin_of_text|>", inner.token_to_id("<|begin_of_text|>"))],
    )
    return inner


def llama2() -> tokenizers.Tokenizer:
    """SentencePiece BPE with byte fallback, each text opened by a space in the normaliser."""
    inner = tokenizers.Tokenizer(_piece_bpe())
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = _piece_decoder(decoders.Strip(content=" ", left=1, right=0))
    inner.add_special_tokens(SPECIALS)
    return inner


def mistral() -> tokenizers.Tokenizer:
    """The same by pre-tokenisation, in which only the very first text is opened by a space."""
    inner = tokenizers.Tokenizer(_piece_bpe())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    inner.decoder = _piece_decoder(decoders.Strip(content=" ", left=1, right=0))
    inner.add_special_tokens(SPECIALS)
    return inner


def gemma() -> tokenizers.Tokenizer:
    """SentencePiece BPE whose texts are opened by nothing."""
    inner = tokenizers.Tokenizer(_piece_bpe())
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = _piece_decoder()
    inner.add_special_tokens(SPECIALS)
    return inner


def unigram() -> tokenizers.Tokenizer:
    """SentencePiece unigram with byte fallback, whose vocabulary holds its own control tokens."""
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator(TEXTS, trainer)
    learnt = [pair for pair in json.loads(inner.to_str())["model"]["vocab"] if pair[0] not in SPECIALS]
    vocabulary = [(token, 0.0) for token in SPECIALS] + [(token, -20.0) for token in BYTES]
    vocabulary += [(token, score) for token, score in learnt]
    inner.model = models.Unigram(vocabulary, unk_id=0, byte_fallback=True)
    inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    inner.add_special_tokens(SPECIALS)
    return inner


KINDS: Final[Mapping[str, Callable[[], tokenizers.Tokenizer]]] = {
    "gpt2": gpt2,
    "llama3": llama3,
    "llama2": llama2,
    "mistral": mistral,
    "gemma": gemma,
    "unigram": unigram,
}
OWN: Final[Mapping[str, Mapping[str, str]]] = {
    "gpt2": dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>"),
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    **{
        kind: {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
        for kind in ("llama2", "mistral", "gemma", "unigram")
    },
}


def save_kind(directory: Path, kind: str) -> None:
    """`tokenizer.json` and `tokenizer_config.json` of a kind."""
    directory.mkdir(parents=True, exist_ok=True)
    KINDS[kind]().save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **OWN[kind]}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _byte_level(splitter: pre_tokenizers.PreTokenizer, specials: list[str]) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = splitter
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(TEXTS, trainer)
    return inner


def _piece_bpe() -> models.BPE:
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*SPECIALS, *BYTES], show_progress=False)
    learner.train_from_iterator(TEXTS, trainer)
    said = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in said["merges"]]
    return models.BPE(said["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def _piece_decoder(*last: decoders.Decoder) -> decoders.Sequence:
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last])
