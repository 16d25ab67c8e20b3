"""Entries of files and the count of what became of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from parley.labels import Demonstration, Document, Ranking
from parley.stages.hygiene.faults import Learnt, messages_of
from parley.stages.hygiene.findings import Example, FileFindings, Left, Lengths, quantiles
from parley.stages.hygiene.sides import drawn

R = TypeVar("R", bound=Learnt, covariant=True)

MOST_PLACES: Final = 8
MOST_EXAMPLES: Final = 3
MOST_TURNS: Final = 8
MOST_CHARACTERS: Final = 400  # of a turn


@dataclass(slots=True)
class Ledger:
    """What became of the rows of one file in one section of the recipe."""

    section: str
    file: str
    format: str
    source: str = ""
    """What the records' source is called in what is learnt from; "" leaves them their own."""
    rows: int = 0
    records: int = 0
    rejected: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    private: dict[str, list[str]] = field(default_factory=dict)
    unsafe: dict[str, list[str]] = field(default_factory=dict)
    """Rows with an unsafe answer, by category of the rules; they may be learnt from all the same."""

    def reject(self, reason: str, line: int) -> None:
        """A row is at fault."""
        self.rejected.setdefault(reason, []).append(f"line {line}")


@dataclass(frozen=True, slots=True)
class Entry(Generic[R]):
    """A record, the line that it stands in, and a digest of what it says."""

    ledger: Ledger
    line: int
    record: R
    digest: bytes

    def drop(self, reason: str, like: Entry[Learnt] | None = None) -> None:
        """Count it as left out, because of another where `like` says so."""
        place = f"line {self.line}"
        if like is not None:
            elsewhere = "" if like.ledger.file == self.ledger.file else f"{like.ledger.file}, "
            place += f", as {elsewhere}line {like.line}"
        self.ledger.dropped.setdefault(reason, []).append(place)


def file_findings(
    ledger: Ledger,
    train: Sequence[Entry[Learnt]],
    held_out: Sequence[Entry[Learnt]],
    *,
    by_people: int,
    seed: int,
) -> FileFindings:
    """The sum of one file. `by_people` of those held out are so because of who wrote them."""
    shown = sorted(train, key=lambda entry: drawn(seed, f"example/{entry.ledger.file}/{entry.line}"))
    records = [entry.record for entry in (*train, *held_out)]
    return FileFindings(
        section=ledger.section,
        file=ledger.file,
        format=ledger.format,
        rows=ledger.rows,
        records=ledger.records,
        rejected=_left(ledger.rejected),
        dropped=_left(ledger.dropped),
        unsafe=_left(ledger.unsafe),
        train=len(train),
        held_out=len(held_out),
        held_out_people=by_people,
        private={kind: len(shapes) for kind, shapes in sorted(ledger.private.items())},
        private_seen={kind: tuple(shapes[:MOST_EXAMPLES]) for kind, shapes in sorted(ledger.private.items())},
        lengths=Lengths(
            turns=quantiles([num_turns(record) for record in records]),
            words=quantiles([num_words(record) for record in records]),
        ),
        examples=tuple(example(entry) for entry in shown[:MOST_EXAMPLES]),
    )


def num_turns(record: Learnt) -> int:
    """Turns of a conversation; of a ranking, those before the replies."""
    if isinstance(record, Document):
        return 1
    return len(messages_of(record)) - (len(record.replies) if isinstance(record, Ranking) else 0)


def num_words(record: Learnt) -> int:
    """Words of everything that is said in it."""
    if isinstance(record, Document):
        return len(record.text.split())
    return sum(len(message.text.split()) for message in messages_of(record))


def example(entry: Entry[Learnt]) -> Example:
    """A record as the report shows it."""
    turns = _turns(entry.record)
    shown = [(role, _short(text)) for role, text in turns[:MOST_TURNS]]
    more = [("", f"… and {len(turns) - MOST_TURNS} more turns")] if len(turns) > MOST_TURNS else []
    return Example(place=f"line {entry.line}", turns=(*shown, *more))


def _turns(record: Learnt) -> list[tuple[str, str]]:
    if isinstance(record, Document):
        return [("", record.text)]
    if isinstance(record, Demonstration):
        return [(message.role, message.text) for message in record.conversation.messages]
    wins = Counter(pair.better for pair in record.comparisons())
    best = sorted(range(len(record.replies)), key=lambda n: -wins[n])
    replies = [(f"reply, wins {wins[n]}", record.replies[n].text) for n in best]
    return [(message.role, message.text) for message in record.prompt.messages[-3:]] + replies


def _short(text: str) -> str:
    text = re.sub(r"\s*\n\s*\n\s*", "\n\n", text.strip())
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS].rstrip() + " …"


def _left(counted: dict[str, list[str]]) -> tuple[Left, ...]:
    found = (
        Left(reason=reason, count=len(places), places=tuple(places[:MOST_PLACES]))
        for reason, places in counted.items()
    )
    return tuple(sorted(found, key=lambda left: -left.count))
