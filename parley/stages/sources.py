"""Where a recipe's data comes from: the micro-world, or files of people's words.

A `Source` tells everything once; `data.take_snapshot` seals it. Later the store is a third source.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from parley.config import check_bounds, plain
from parley.dialects import Reject, instruct, records
from parley.dialogue import Conversation
from parley.errors import ConfigError
from parley.labels import Demonstration, Document, Prompt, Ranking
from parley.microworld.dialogues import demonstrations, instruction_rows
from parley.microworld.documents import documents
from parley.microworld.users import scripted_prompt, scripts
from parley.microworld.world import World, WorldConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """What a source told us. Iterables are read once; `rejects` fills while they are read."""

    documents: Iterable[Document]
    documents_held_out: Iterable[Document]
    demonstrations: Iterable[Demonstration]
    demonstrations_held_out: Iterable[Demonstration]
    rankings: Iterable[Ranking]
    rankings_held_out: Iterable[Ranking]
    prompts: Iterable[Prompt]
    prompts_held_out: Iterable[Prompt]


class Source(Protocol):
    """Somebody who tells us something."""

    def fingerprint(self) -> Mapping[str, Any]:
        """What the content of the snapshot is a function of."""
        ...

    def tell(self) -> Told:
        """Everything, as of now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroworldData:
    """How much the micro-world tells."""

    world: WorldConfig = field(default_factory=WorldConfig)
    """Size of the world and how its facts are split."""
    documents: int = 60_000
    """Documents for pretraining."""
    demonstrations: int = 9_000
    """Both-sides dialogues by trainers."""
    instructions: int = 1_000
    """Instruction rows turned into dialogue."""
    prompts: int = 6_000
    """Scripts of simulated users whose last turns PPO answers."""

    def __post_init__(self) -> None:
        check_bounds(
            self, documents=(1, inf), demonstrations=(1, inf), instructions=(0, inf), prompts=(1, inf)
        )


@dataclass(frozen=True, slots=True)
class MicroworldSource:
    """The embedded world with exact truth; a function of its numbers and a seed."""

    data: MicroworldData
    seed: int

    def fingerprint(self) -> Mapping[str, Any]:
        """The numbers and the seed."""
        return {"microworld": plain(self.data), "seed": self.seed}

    @property
    def world(self) -> World:
        """The world itself."""
        return World.build(self.data.world, self.seed)

    def tell(self) -> Told:
        """Documents, demonstrations with instruction rows among them, prompts; nobody ranked yet."""
        world, data, seed = self.world, self.data, self.seed
        train = scripts(world, data.prompts, seed, split="train")
        unseen = scripts(world, 330, seed, split="validation")
        return Told(
            documents(world, data.documents, seed),
            documents(world, max(20, data.documents // 50), seed + 1),
            [*demonstrations(world, data.demonstrations, seed), *self._instructions(world)],
            demonstrations(world, max(20, data.demonstrations // 20), seed + 1),
            (),
            (),
            [scripted_prompt(world, script) for script in train],
            [scripted_prompt(world, script) for script in unseen],
        )

    def _instructions(self, world: World) -> Iterator[Demonstration]:
        for row in instruction_rows(world, self.data.instructions, self.seed):
            yield from instruct.to_dialogue(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileData:
    """One file of people's words."""

    file: str
    """Path below the data root."""
    format: str
    """One of the formats of `parley data import`."""
    limit: int = 0
    """Records to take at most, drawn by seed; 0 takes all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesData:
    """Files of people's words, and what is kept apart."""

    root: str = "."
    """Directory of the files, relative to where the command runs."""
    texts: tuple[FileData, ...] = ()
    """Plain documents for pretraining."""
    text_characters: int = 0
    """Characters of pretraining text to take at most from each file; 0 takes all."""
    dialogues: tuple[FileData, ...] = ()
    """Demonstrations: both-sides dialogues, trees, instruction rows."""
    rankings: tuple[FileData, ...] = ()
    """Human rankings and comparisons."""
    held_out_share: float = 0.1
    """Share of documents, dialogues and ranked prompts kept apart for measuring."""
    held_out_texts: int = 200
    """Documents kept apart at most."""
    prompt_turn: Literal["first", "any"] = "any"
    """Which user turns of the dialogues become prompts of PPO."""

    def __post_init__(self) -> None:
        check_bounds(self, text_characters=(0, inf), held_out_share=(0, 0.9), held_out_texts=(0, inf))


@dataclass(slots=True)
class FilesSource:
    """Files in any of the formats of `dialects`; split by first user turn, so that no prompt is on
    both sides. `rejects` counts, per file, the rows that were left out, by reason."""

    data: FilesData
    seed: int
    rejects: dict[str, dict[str, int]] = field(default_factory=dict)

    def fingerprint(self) -> Mapping[str, Any]:
        """Settings and file contents, wherever the files lie."""
        files = (*self.data.texts, *self.data.dialogues, *self.data.rankings)
        digests = {entry.file: self._digest(entry) for entry in files}
        return {"files": {**plain(self.data), "root": ""}, "digests": digests, "seed": self.seed}

    def tell(self) -> Told:
        """Everything in the files, train and held-out apart."""
        texts = [text for entry in self.data.texts for text in self._texts(entry)]
        dialogues = [d for entry in self.data.dialogues for d in self._drawn(entry, Demonstration)]
        rankings = [r for entry in self.data.rankings for r in self._drawn(entry, Ranking)]
        kept, apart = self._split(dialogues, [d.conversation for d in dialogues])
        ranked, ranked_apart = self._split(rankings, [r.prompt for r in rankings])
        count = min(self.data.held_out_texts, int(len(texts) * self.data.held_out_share))
        order = random.Random(f"{self.seed}/texts").sample(range(len(texts)), len(texts))
        return Told(
            [texts[i] for i in sorted(order[count:])],
            [texts[i] for i in sorted(order[:count])],
            kept,
            apart,
            ranked,
            ranked_apart,
            list(self._prompts(kept, ranked)),
            list(self._prompts(apart, ranked_apart)),
        )

    def _path(self, entry: FileData) -> Path:
        path = Path(self.data.root) / entry.file
        if not path.is_file():
            raise ConfigError(
                f"data.files: there is no file {path}; give the right directory by --data.files.root"
            )
        return path

    def _digest(self, entry: FileData) -> str:
        with self._path(entry).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _read(self, entry: FileData, kind: type[T]) -> Iterator[T]:
        for record in records(entry.format, self._path(entry)):
            if isinstance(record, kind):
                yield record
            elif isinstance(record, Reject):
                reasons = self.rejects.setdefault(entry.file, {})
                reasons[record.reason] = reasons.get(record.reason, 0) + 1

    def _drawn(self, entry: FileData, kind: type[T]) -> list[T]:
        found = list(self._read(entry, kind))
        if entry.limit and entry.limit < len(found):
            chosen = random.Random(f"{self.seed}/{entry.file}").sample(range(len(found)), entry.limit)
            return [found[i] for i in sorted(chosen)]
        return found

    def _texts(self, entry: FileData) -> list[Document]:
        """Documents in an order drawn by seed, up to the number of characters asked for."""
        found = self._drawn(entry, Document)
        if not self.data.text_characters:
            return found
        random.Random(f"{self.seed}/{entry.file}/order").shuffle(found)
        taken: list[Document] = []
        size = 0
        for document in found:
            if size >= self.data.text_characters:
                break
            text = document.text[: self.data.text_characters - size]
            taken.append(Document(text, document.source))
            size += len(text)
        return taken

    def _split(self, items: Sequence[T], conversations: Sequence[Conversation]) -> tuple[list[T], list[T]]:
        kept: list[T] = []
        apart: list[T] = []
        for item, conversation in zip(items, conversations, strict=True):
            (apart if self._is_held_out(conversation) else kept).append(item)
        return kept, apart

    def _is_held_out(self, conversation: Conversation) -> bool:
        """By a hash of the first user turn, letters and digits only: the same question wherever it
        stands is on one side."""
        first = next((m.text for m in conversation.messages if m.role == "user"), "")
        words = "".join(letter for letter in first.lower() if letter.isalnum())
        number = int.from_bytes(hashlib.sha256(f"{self.seed}/{words}".encode()).digest()[:4], "big")
        return number < self.data.held_out_share * 2**32

    def _prompts(self, dialogues: Sequence[Demonstration], rankings: Sequence[Ranking]) -> Iterator[Prompt]:
        """Histories of imitated turns and of ranked replies, each once, in an order drawn by seed."""
        found: dict[Conversation, Prompt] = {}
        for dialogue in dialogues:
            turns = dialogue.imitate[:1] if self.data.prompt_turn == "first" else dialogue.imitate
            for index in turns:
                history = dialogue.conversation.before(index)
                if history.messages and history.messages[-1].role == "user":
                    found.setdefault(history, Prompt(history, dialogue.source))
        for ranking in rankings:
            if ranking.prompt.messages and ranking.prompt.messages[-1].role == "user":
                found.setdefault(ranking.prompt, Prompt(ranking.prompt, ranking.source))
        prompts = list(found.values())
        random.Random(f"{self.seed}/prompts").shuffle(prompts)
        yield from prompts
