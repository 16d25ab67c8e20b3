"""What the readers hand back: records, rejects, and the sum of a file.

The records themselves are those of `parley.labels`; a thumb on one reply (`Rated`) is here because only
`taskmaster_rewards` yields it. Nothing in this file knows a format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from parley.dialogue import Conversation, Message
from parley.errors import DataError
from parley.labels import Demonstration, Document, Prompt, Ranking


@dataclass(frozen=True, slots=True)
class Rated:
    """One reply to `prompt`, judged good or not on its own: a thumb."""

    prompt: Conversation
    reply: Message
    good: bool
    source: str


Record: TypeAlias = Demonstration | Ranking | Prompt | Rated | Document


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its file holds it: `number` is its 1-based line, or its place in a JSON array."""

    number: int
    value: object


@dataclass(frozen=True, slots=True)
class Reject:
    """A row (or a part of one) that was left out. `field` is "" when the whole row is at fault.

    When reading, `record` is the 1-based line of the file; when writing, the 1-based record.
    """

    record: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole file, read. `read` counts its rows; a row may yield several records, or rejects."""

    demonstrations: tuple[Demonstration, ...]
    rankings: tuple[Ranking, ...]
    documents: tuple[Document, ...]
    rejects: tuple[Reject, ...]
    read: int
    prompts: tuple[Prompt, ...] = ()
    rated: tuple[Rated, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What became of an export: rows in the file, and the records the format cannot express."""

    written: int
    rejects: tuple[Reject, ...]


class BrokenFile(DataError):
    """A file at fault as a whole; `reading` is what could be read before it broke."""

    def __init__(self, fault: DataError, reading: Reading) -> None:
        super().__init__(fault.reason, file=fault.file, record=fault.record, field=fault.field)
        self.reading = reading
