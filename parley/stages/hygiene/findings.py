"""What hygiene found: the values of a snapshot's `hygiene.json`, which the report's data page shows.

Lines are those of the file, from 1. Texts are shortened, and masked as the training part is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.config import build, plain

HYGIENE: Final = "hygiene.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Rows that were left out for one reason."""

    reason: str
    count: int
    places: tuple[str, ...]
    """The first of them: `line 7`, or `line 7, as line 3` for one that says what another says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Five quantiles: shortest, 10 %, median, 90 %, longest."""

    turns: tuple[int, ...]
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row as it is learnt from; a document is one turn without a role."""

    place: str
    turns: tuple[tuple[str, ...], ...]
    """Role and words of each turn; a reply's role is `reply`, with its rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFindings:
    """One file of one section of the recipe."""

    section: str
    """`texts`, `dialogues` or `rankings`."""
    file: str
    format: str
    rows: int
    """Rows of the file, the blank lines not counted."""
    records: int
    """What could be read: a row may hold several records, or records for another section."""
    rejected: tuple[Left, ...]
    """Rows at fault."""
    dropped: tuple[Left, ...]
    """Records left out although nothing is wrong with them."""
    unsafe: tuple[Left, ...]
    """Records with an answer that the moderation rules warn about or block, by category; left out or not."""
    train: int
    """Different records that are learnt from."""
    held_out: int
    held_out_people: int
    """Of those held out: by people who are held out."""
    private: dict[str, int]
    """Details found in the training part, by kind."""
    private_seen: dict[str, tuple[str, ...]]
    """Some of them between the words around them; their letters show as `x`, their digits as `0`."""
    lengths: Lengths
    """Of what is learnt from and what is held out."""
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file's part of the mix. Sizes are characters: of imitated turns, or of texts."""

    section: str
    file: str
    available: int
    used: int
    wanted: float | None
    """Share of its section by weight; None where the files have no weights."""
    achieved: float
    """Share of its section as it came."""
    repeats: float
    """How often the file is used, a part of a pass included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Planted details of one kind, and how many of them were found."""

    kind: str
    found: int
    planted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who is named in the files."""

    named: int
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was found, file by file in the recipe's order."""

    files: tuple[FileFindings, ...]
    mix: tuple[Part, ...]
    recall: tuple[Recall, ...]
    people: People

    @property
    def rejected(self) -> int:
        """Rows at fault in all files."""
        return _total(left for item in self.files for left in item.rejected)

    @property
    def dropped(self) -> int:
        """Records left out in all files."""
        return _total(left for item in self.files for left in item.dropped)

    @property
    def private(self) -> int:
        """Private details found in the training part of all files."""
        return sum(sum(item.private.values()) for item in self.files)


def save_findings(findings: Findings, path: Path) -> None:
    """Write them as JSON."""
    path.write_text(json.dumps(plain(findings), indent=1), encoding="utf-8")


def read_findings(path: Path) -> Findings:
    """The inverse of `save_findings`."""
    return build(Findings, json.loads(path.read_text(encoding="utf-8")), str(path))


def quantiles(values: Sequence[int]) -> tuple[int, ...]:
    """Five quantiles; nothing of nothing."""
    ordered = sorted(values)
    return tuple(ordered[round(share * (len(ordered) - 1))] for share in (0, 0.1, 0.5, 0.9, 1) if ordered)


def _total(left: Iterable[Left]) -> int:
    return sum(item.count for item in left)
