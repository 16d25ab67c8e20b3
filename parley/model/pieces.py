"""What each token id stands for, in bytes: read from the tokenizer's own decoder.

Byte-level BPE (GPT-2, Llama 3, Qwen), and SentencePiece's BPE and unigram as `tokenizers` holds them
(Llama 2, Mistral, Gemma), where spaces are written `▁` and a text may open with a space of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import tokenizers

from parley.errors import ArtifactError

BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-F]{2})>")
BYTE_LEVEL: Final = frozenset({"ByteLevel", "Fuse"})
SENTENCE_PIECE: Final = frozenset({"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"})


@dataclass(frozen=True, slots=True)
class Pieces:
    """The bytes of every id (none for a special token), and how the vocabulary writes a text.

    `opening_space`: a space at the very beginning of a text is the tokenizer's, not the text's.
    """

    table: tuple[bytes, ...]
    written: Callable[[str], str]
    opening_space: bool


def pieces_of(inner: tokenizers.Tokenizer) -> Pieces:
    """`ArtifactError` for a kind of tokenizer whose tokens are not bytes (WordPiece, word-level)."""
    steps = _steps(inner)
    kinds = frozenset(step["type"] for step in steps)
    if "ByteLevel" in kinds and kinds <= BYTE_LEVEL:
        return Pieces(tuple(_table(inner, _of_byte_level, str.encode)), _as_byte_level, opening_space=False)
    if kinds & {"Replace", "Metaspace"} and kinds <= SENTENCE_PIECE:
        mark = next(_space_mark(step) for step in steps if step["type"] in ("Replace", "Metaspace"))

        def spelt(token: str) -> bytes:
            byte = BYTE_TOKEN.fullmatch(token) if "ByteFallback" in kinds else None
            return bytes([int(byte[1], 16)]) if byte else token.replace(mark, " ").encode()

        written = lambda text: text.replace(" ", mark)  # noqa: E731 - one expression
        return Pieces(tuple(_table(inner, spelt, spelt)), written, opening_space=any(map(_strips, steps)))
    raise ArtifactError(
        "this tokenizer is neither byte-level BPE nor SentencePiece (BPE or unigram), the kinds that are "
        f"supported; its decoder is {', '.join(sorted(kinds)) or 'none'}"
    )


def _steps(inner: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    if inner.decoder is None:
        return []
    said = json.loads(inner.decoder.__getstate__())
    steps: list[dict[str, Any]] = said["decoders"] if said["type"] == "Sequence" else [said]
    return steps


def _space_mark(step: dict[str, Any]) -> str:
    mark = step["replacement"] if step["type"] == "Metaspace" else step["pattern"].get("String", "")
    return str(mark)


def _strips(step: dict[str, Any]) -> bool:
    """Whether this step of the decoder takes a leading space away."""
    if step["type"] == "Metaspace":
        return bool(step["prepend_scheme"] != "never")
    return bool(step["type"] == "Strip" and step["content"] == " " and step["start"])


def _table(
    inner: tokenizers.Tokenizer, spelt: Callable[[str], bytes], added: Callable[[str], bytes]
) -> Iterator[bytes]:
    """What each id stands for, in the order of the ids; an id without a token stands for nothing."""
    extra = inner.get_added_tokens_decoder()
    for token in range(max(inner.get_vocab(with_added_tokens=True).values(), default=-1) + 1):
        if token in extra:
            yield b"" if extra[token].special else added(extra[token].content)
        else:
            yield spelt(inner.id_to_token(token) or "")


def _of_byte_level(token: str) -> bytes:
    table = _byte_of_character()
    return b"".join(bytes([table[c]]) if c in table else c.encode() for c in token)


def _as_byte_level(text: str) -> str:
    characters = {byte: character for character, byte in _byte_of_character().items()}
    return "".join(characters[byte] for byte in text.encode())


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte, turned round."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
