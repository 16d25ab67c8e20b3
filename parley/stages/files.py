"""Files of people's words as a source: read, cleaned, split, mixed, counted.

The recipe's keys are `hygiene.settings`; what is left out of the files, `hygiene.cleaning`; how a format is
read, `parley.dialects`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from parley.config import plain
from parley.dialects import Reject, numbered
from parley.dialogue import Conversation
from parley.errors import ConfigError
from parley.labels import Demonstration, Document, Prompt, Ranking
from parley.stages.hygiene.cleaning import (
    Policy,
    Shares,
    Talk,
    at_most,
    at_most_a_person,
    distinct,
    divided,
    identity,
    in_drawn_order,
    is_by_people_out,
    of_kind,
    unlike,
    without_long_prefixes,
    without_private,
)
from parley.stages.hygiene.faults import Learnt, fault_of, texts_of
from parley.stages.hygiene.findings import FileFindings, Findings, Part, People, Recall
from parley.stages.hygiene.ledger import Entry, Ledger, file_findings
from parley.stages.hygiene.mix import (
    Stock,
    parts,
    serve_dialogues,
    serve_texts,
    shuffled,
    supervised_characters,
)
from parley.stages.hygiene.planted import recall
from parley.stages.hygiene.settings import FileData, FilesData
from parley.stages.hygiene.sides import drawn, people_of
from parley.stages.hygiene.unsafe import without_unsafe
from parley.stages.sources import Told

R = TypeVar("R", bound=Learnt)

PLANTED: Final = 200  # private details of each kind


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Files in any of the formats of `dialects`."""

    data: FilesData
    seed: int

    def fingerprint(self) -> Mapping[str, Any]:
        """Settings and file contents, wherever the files lie."""
        files = (*self.data.texts, *self.data.dialogues, *self.data.rankings)
        digests = {entry.file: self._digest(entry) for entry in files}
        return {"files": {**plain(self.data), "root": ""}, "digests": digests, "seed": self.seed}

    def tell(self) -> Told:
        """Everything in the files that may be learnt from or measured on, train and held-out apart."""
        return _Telling(self.data, self.seed, self._path).told()

    def _digest(self, entry: FileData) -> str:
        with self._path(entry).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _path(self, entry: FileData) -> Path:
        path = Path(self.data.root) / entry.file
        if not path.is_file():
            raise ConfigError(
                f"data.files: there is no file {path}; give the right directory by --data.files.root"
            )
        return path


class _Telling:
    """One reading of all the files. The ledgers fill while it goes on."""

    def __init__(self, data: FilesData, seed: int, path: Callable[[FileData], Path]) -> None:
        self._data, self._seed, self._path = data, seed, path
        self._ledgers: list[tuple[FileData, Ledger]] = []
        self._mix: list[Part] = []

    def told(self) -> Told:
        data = self._data
        texts, texts_out = self._text_sides(self._clean("texts", data.texts, Document))
        talks: list[Entry[Talk]] = [*self._clean("dialogues", data.dialogues, Demonstration)]
        talks += self._clean("rankings", data.rankings, Ranking)
        talks = without_unsafe(talks, data.unsafe)
        train, apart = divided(talks, self._shares)
        train = at_most_a_person(
            without_long_prefixes(train, data.common_prefix), data.prompts_a_person, self._seed
        )
        found_again = self._recall([*train, *texts])
        train = without_private(train, self._policy)
        learnt, ranked = self._dialogues(of_kind(train, Demonstration)), of_kind(train, Ranking)
        documents = self._documents(texts)
        learnt_out, ranked_out = of_kind(apart, Demonstration), of_kind(apart, Ranking)
        return Told(
            documents=_records(documents),
            documents_held_out=_records(texts_out),
            demonstrations=_records(learnt),
            demonstrations_held_out=_records(learnt_out),
            rankings=_records(ranked),
            rankings_held_out=_records(ranked_out),
            prompts=self._prompts(_records(learnt), _records(ranked)),
            prompts_held_out=self._prompts(_records(learnt_out), _records(ranked_out)),
            hygiene=Findings(
                files=self._found([*learnt, *ranked, *documents], [*apart, *texts_out]),
                mix=tuple(self._mix),
                recall=found_again,
                people=self._people(talks),
            ),
        )

    def _clean(self, section: str, files: Sequence[FileData], kind: type[R]) -> list[Entry[R]]:
        """The records of a section's files: whole, each once, and no more than a file's limit."""
        read = [entry for file in files for entry in self._read(section, file, kind)]
        different = unlike(distinct(read), self._data.near_duplicate)
        return at_most(different, [(file.file, file.limit) for file in files], self._seed)

    def _read(self, section: str, file: FileData, kind: type[R]) -> Iterator[Entry[R]]:
        counted = any(ledger.file == file.file for _, ledger in self._ledgers)  # in another section
        ledger = Ledger(section, file.file, file.format, file.source if section == "texts" else file.name)
        self._ledgers.append((file, ledger))
        for line, item in numbered(file.format, self._path(file)):
            ledger.rows = max(ledger.rows, line)
            if isinstance(item, Reject) and not counted:
                ledger.reject(f"{item.field} {item.reason}".strip(), line)
            if isinstance(item, kind):
                ledger.records += 1
                if fault := fault_of(item, most_characters=self._data.row_characters):
                    ledger.reject(fault, line)
                else:
                    yield Entry(ledger, line, item, identity(item))

    @property
    def _shares(self) -> Shares:
        data = self._data
        return Shares(data.held_out_share, data.held_out_people, data.held_out_names, data.leak, self._seed)

    def _text_sides(
        self, entries: Sequence[Entry[Document]]
    ) -> tuple[list[Entry[Document]], list[Entry[Document]]]:
        """To learn from, and held out: of each file the first that are drawn."""
        out: dict[int, Entry[Document]] = {}
        for own in _by_ledger(entries).values():
            numbers = [
                (drawn(self._seed, f"held out/{entry.digest.hex()}"), n) for n, entry in enumerate(own)
            ]
            low = sorted(number for number in numbers if number[0] < self._data.held_out_share)
            out |= {id(own[n]): own[n] for _, n in low[: self._data.held_out_texts]}
        most = self._data.held_out_text_characters
        cut = [replace(e, record=replace(e.record, text=e.record.text[:most])) for e in out.values()]
        return [entry for entry in entries if id(entry) not in out], cut

    def _recall(self, entries: Sequence[Entry[Any]]) -> tuple[Recall, ...]:
        """Measured on rows of the training part as they came, where private details are looked for at all."""
        looked = [entry for entry in entries if self._policy(entry) != "keep"]
        sample = in_drawn_order(looked, self._seed)[:PLANTED]
        return recall(["\n".join(texts_of(e.record)) for e in sample], each=PLANTED, seed=self._seed)

    def _policy(self, entry: Entry[Any]) -> Policy:
        file = next(file for file, ledger in self._ledgers if ledger is entry.ledger)
        return file.pii or self._data.pii

    def _dialogues(self, entries: Sequence[Entry[Demonstration]]) -> list[Entry[Demonstration]]:
        stocks = self._stocks(entries, supervised_characters)
        servings = serve_dialogues(stocks, most_repeats=self._data.most_repeats)
        self._mix += parts("dialogues", stocks, servings)
        return shuffled(servings, self._seed)

    def _documents(self, entries: Sequence[Entry[Document]]) -> list[Entry[Document]]:
        data, stocks = self._data, self._stocks(entries, lambda document: len(document.text))
        servings = serve_texts(
            stocks, characters=data.text_characters, most_repeats=data.most_repeats, ready=self._ready
        )
        self._mix += parts("texts", stocks, servings)
        return shuffled(servings, self._seed)

    def _ready(self, entry: Entry[Document]) -> Entry[Document] | None:
        return next(iter(without_private([entry], self._policy)), None)

    def _stocks(self, entries: Sequence[Entry[R]], size: Callable[[R], int]) -> list[Stock[R]]:
        own = _by_ledger(entries)
        files = {id(ledger): file for file, ledger in self._ledgers}
        return [
            Stock(
                files[key].file,
                files[key].weight,
                in_drawn_order(of_file, self._seed),
                sum(size(entry.record) for entry in of_file),
            )
            for key, of_file in own.items()
        ]

    def _prompts(self, dialogues: Sequence[Demonstration], rankings: Sequence[Ranking]) -> list[Prompt]:
        """Histories of imitated turns and of ranked replies, each once, in an order drawn by seed."""
        found: dict[Conversation, Prompt] = {}
        for dialogue in dialogues:
            turns = dialogue.imitate[:1] if self._data.prompt_turn == "first" else dialogue.imitate
            for index in turns:
                history = dialogue.conversation.before(index)
                if history.messages and history.messages[-1].role == "user":
                    found.setdefault(history, Prompt(history, dialogue.source))
        for ranking in rankings:
            if ranking.prompt.messages and ranking.prompt.messages[-1].role == "user":
                found.setdefault(ranking.prompt, Prompt(ranking.prompt, ranking.source))
        prompts = list(found.values())
        random.Random(f"{self._seed}/prompts").shuffle(prompts)
        return prompts

    def _people(self, talks: Sequence[Entry[Talk]]) -> People:
        named = sorted({name for entry in talks for name in people_of(entry.record)})
        return People(named=len(named), held_out=tuple(filter(self._shares.is_out, named)))

    def _found(
        self, kept: Sequence[Entry[Learnt]], apart: Sequence[Entry[Learnt]]
    ) -> tuple[FileFindings, ...]:
        kept_of, apart_of = _by_ledger(kept), _by_ledger(apart)
        return tuple(
            file_findings(
                ledger,
                list({entry.digest: entry for entry in kept_of.get(id(ledger), [])}.values()),
                apart_of.get(id(ledger), []),
                by_people=sum(self._is_by_people_out(entry) for entry in apart_of.get(id(ledger), [])),
                seed=self._seed,
            )
            for _, ledger in self._ledgers
        )

    def _is_by_people_out(self, entry: Entry[Learnt]) -> bool:
        return not isinstance(entry.record, Document) and is_by_people_out(entry.record, self._shares)


def _records(entries: Sequence[Entry[R]]) -> list[R]:
    """The records, each from the source that the recipe names."""
    return [
        replace(entry.record, source=entry.ledger.source) if entry.ledger.source else entry.record
        for entry in entries
    ]


def _by_ledger(entries: Sequence[Entry[R]]) -> dict[int, list[Entry[R]]]:
    found: dict[int, list[Entry[R]]] = {}
    for entry in entries:
        found.setdefault(id(entry.ledger), []).append(entry)
    return found
