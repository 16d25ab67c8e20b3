"""Byte-level BPE: text to token ids and back, lossless, over the `tokenizers` library.

Text never becomes a special token, whatever somebody types: special ids are put between turns by
`model.render` alone. A directory saved here opens in transformers' AutoTokenizer.

Not here: the order of role tokens, turns and stop tokens (`model.render`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from parley.errors import ArtifactError, DataError

TOKENIZER_FILE: Final = "tokenizer.json"
SETTINGS_FILE: Final = "tokenizer_config.json"

PAD: Final = "<|pad|>"
END: Final = "<|end|>"  # closes every turn and every document: the stop token
SYSTEM: Final = "<|system|>"
USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
DOCUMENT: Final = "<|document|>"  # opens a text that is no conversation
SPECIALS: Final = (PAD, END, SYSTEM, USER, ASSISTANT, DOCUMENT)


class Tokenizer:
    """A trained byte-level BPE with the ids of its special tokens."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        if not isinstance(inner.decoder, decoders.ByteLevel):
            raise ArtifactError("this tokenizer is not byte-level BPE, the only kind that is supported")
        inner.encode_special_tokens = True  # special tokens typed in a text stay text
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner
        self._bytes = tuple(_token_bytes(inner))
        self.pad, self.end, self.system, self.user, self.assistant, self.document = self._special_ids()
        self.special_ids = frozenset(self._special_ids())

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """A vocabulary of exactly the size asked for, or smaller where the texts have no more pairs.

        The same texts give the same vocabulary. The six special tokens have the first ids.
        """
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIALS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        inner.train_from_iterator((checked(text) for text in texts), trainer)
        return cls(inner)

    @classmethod
    def load(cls, directory: Path) -> Tokenizer:
        """The tokenizer of a checkpoint directory; `ArtifactError` names a file at fault."""
        path = directory / TOKENIZER_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error
        except Exception as error:  # the library raises bare Exception for whatever it cannot read
            raise ArtifactError(f"{path}: is no tokenizer: {error}") from error

    def save(self, directory: Path, *, chat_template: str = "", max_tokens: int = 0) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`; 0 tokens: no limit is stated."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / TOKENIZER_FILE).write_text(self._inner.to_str(pretty=True), encoding="utf-8")
        settings: dict[str, object] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "eos_token": END,
            "bos_token": DOCUMENT,
            "additional_special_tokens": [SYSTEM, USER, ASSISTANT],
            "clean_up_tokenization_spaces": False,
        }
        settings |= {"chat_template": chat_template} if chat_template else {}
        settings |= {"model_max_length": max_tokens} if max_tokens else {}
        (directory / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    @property
    def digest(self) -> str:
        """Equal for tokenizers that give the same ids."""
        return hashlib.sha256(self._inner.to_str().encode()).hexdigest()

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special ones included."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Ids of the text, never a special one; `DataError` for a lone surrogate."""
        return list(self._inner.encode(checked(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, on all cores."""
        found = self._inner.encode_batch_fast([checked(text) for text in texts], add_special_tokens=False)
        return [list(encoding.ids) for encoding in found]

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes that the ids stand for; special tokens stand for none."""
        return b"".join(self._bytes[token] for token in ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; bytes that are no UTF-8 show as U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def _special_ids(self) -> tuple[int, ...]:
        ids = [self._inner.token_to_id(token) for token in SPECIALS]
        missing = [token for token, number in zip(SPECIALS, ids, strict=True) if number is None]
        if missing:
            raise ArtifactError(f"the tokenizer lacks the special tokens {', '.join(missing)}")
        return tuple(number for number in ids if number is not None)


def checked(text: str) -> str:
    """The text itself; `DataError` where it holds half of a surrogate pair, which no file can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start} is half of a surrogate pair (U+{ord(text[error.start]):04X}); "
            "replace it before it becomes tokens"
        ) from error
    return text


def _token_bytes(inner: tokenizers.Tokenizer) -> Iterator[bytes]:
    """What each id stands for, in the order of the ids."""
    added = inner.get_added_tokens_decoder()
    table = _byte_of_character()
    for token in range(inner.get_vocab_size(with_added_tokens=True)):
        if token in added:
            yield b"" if added[token].special else added[token].content.encode("utf-8")
            continue
        text = inner.id_to_token(token)
        if text is None:
            raise ArtifactError(f"the tokenizer has no token {token}: its ids have a gap")
        yield bytes(table[character] for character in text)


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte, turned round."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
