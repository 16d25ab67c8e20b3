"""Text to token ids and back, over the `tokenizers` library: our own byte-level BPE, or a model's own.

Text never becomes a special token, whatever somebody types: special ids are put between turns by
`model.render` alone. A directory saved here opens in transformers' AutoTokenizer. Ours is lossless;
so is any that is byte-level, or SentencePiece with byte fallback and no normalisation.

Not here: the order of role tokens, turns and stop tokens (`model.render`); what ids stand for
(`model.pieces`); how somebody else's tokenizer gets the tokens of our format (`model.adoption`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from parley.errors import ArtifactError, DataError
from parley.model.pieces import pieces_of

TOKENIZER_FILE: Final = "tokenizer.json"
SETTINGS_FILE: Final = "tokenizer_config.json"

PAD: Final = "<|pad|>"
END: Final = "<|end|>"  # closes every turn and every document: the stop token
SYSTEM: Final = "<|system|>"
USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
DOCUMENT: Final = "<|document|>"  # opens a text that is no conversation
SPECIALS: Final = (PAD, END, SYSTEM, USER, ASSISTANT, DOCUMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The special tokens whose texts a model's own vocabulary may choose; those of roles are ours."""

    pad: str = PAD
    end: str = END
    document: str = DOCUMENT

    @property
    def all(self) -> tuple[str, ...]:
        """Every special token of the chat format, in the order of `SPECIALS`."""
        return (self.pad, self.end, SYSTEM, USER, ASSISTANT, self.document)


class Tokenizer:
    """A tokenizer with the ids of the chat format's special tokens."""

    def __init__(self, inner: tokenizers.Tokenizer, marks: Marks = Marks()) -> None:
        self._pieces = pieces_of(inner)
        inner.encode_special_tokens = True  # special tokens typed in a text stay text
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner
        self.marks = marks
        self.pad, self.end, self.system, self.user, self.assistant, self.document = self._special_ids()
        added = inner.get_added_tokens_decoder()
        self.special_ids = frozenset(n for n, token in added.items() if token.special)

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
            return cls(tokenizers.Tokenizer.from_str(text), _saved_marks(directory / SETTINGS_FILE))
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
            "pad_token": self.marks.pad,
            "eos_token": self.marks.end,
            "bos_token": self.marks.document,
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
    def definition(self) -> dict[str, Any]:
        """The whole of it, as `tokenizer.json` writes it."""
        found: dict[str, Any] = json.loads(self._inner.to_str())
        return found

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special ones included."""
        return len(self._pieces.table)

    def encode(self, text: str) -> list[int]:
        """Ids of the text, never a special one; `DataError` for a lone surrogate."""
        return self._unforged(self._inner.encode(checked(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, on all cores."""
        found = self._inner.encode_batch_fast([checked(text) for text in texts], add_special_tokens=False)
        return [self._unforged(encoding.ids) for encoding in found]

    def decode_bytes(self, ids: Sequence[int], *, opens: bool = True) -> bytes:
        """The bytes that the ids stand for; special tokens stand for none.

        `opens`: the ids begin a text, so that the space with which some tokenizers open one goes.
        """
        found = b"".join(self._pieces.table[token] for token in ids)
        return found.removeprefix(b" ") if opens and self._pieces.opening_space else found

    def bytes_of(self, token: int) -> bytes:
        """The bytes that one id stands for within a text; of a special token, its name."""
        if token in self.special_ids:
            return (self._inner.id_to_token(token) or "").encode()
        return self._pieces.table[token]

    def decode(self, ids: Sequence[int], *, opens: bool = True) -> str:
        """The text of the ids; bytes that are no UTF-8 show as U+FFFD."""
        return self.decode_bytes(ids, opens=opens).decode("utf-8", errors="replace")

    def _unforged(self, ids: Sequence[int]) -> list[int]:
        """Special tokens that the vocabulary itself made of a text, spelt out."""
        if self.special_ids.isdisjoint(ids):
            return list(ids)
        return [n for token in ids for n in (self._spelt(token) if token in self.special_ids else (token,))]

    def _spelt(self, token: int) -> list[int]:
        text = self._pieces.written(self._inner.id_to_token(token) or "")
        return [piece.id for character in text for piece in self._inner.model.tokenize(character)]

    def _special_ids(self) -> tuple[int, ...]:
        ids = [self._inner.token_to_id(token) for token in self.marks.all]
        missing = [token for token, number in zip(self.marks.all, ids, strict=True) if number is None]
        if missing:
            raise ArtifactError(f"the tokenizer lacks the special tokens {', '.join(missing)}")
        if self.marks.pad == self.marks.end:
            raise ArtifactError(
                f"{self.marks.end} is both the padding and the end of a turn, so that no model could learn to stop: "
                "name another pad_token"
            )
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


def _saved_marks(path: Path) -> Marks:
    """The special tokens that `Tokenizer.save` wrote; ours where there is no such file."""
    try:
        said: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Marks()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    names = {"pad": "pad_token", "end": "eos_token", "document": "bos_token"}
    return Marks(**{mark: str(said[key]) for mark, key in names.items() if isinstance(said.get(key), str)})
