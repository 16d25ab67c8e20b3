"""What training would leave out of one file: for `parley data check`, which changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.dialects import Reject, numbered
from parley.labels import Demonstration, Document, Ranking
from parley.stages.hygiene.cleaning import Talk, distinct, identity, of_kind, unlike, without_private
from parley.stages.hygiene.faults import Learnt, fault_of
from parley.stages.hygiene.findings import quantiles
from parley.stages.hygiene.ledger import Entry, Ledger, num_turns, num_words
from parley.stages.hygiene.settings import FilesData
from parley.stages.hygiene.sides import people_of
from parley.stages.hygiene.unsafe import without_unsafe

KEYS: Final = FilesData()
KINDS: Final = (Demonstration, Ranking, Document)


@dataclass(frozen=True, slots=True)
class Checked:
    """Found with the keys of a recipe at their defaults."""

    faults: tuple[Reject, ...]
    """Rows that can be read and are still no good to learn from."""
    duplicates: int
    near_duplicates: int
    private: dict[str, int]
    """Private details by kind."""
    unsafe: dict[str, int]
    """Records with an answer that the moderation rules warn about or block, by category."""
    people: int
    turns: tuple[int, ...]
    """Five quantiles: shortest, 10 %, median, 90 %, longest."""
    words: tuple[int, ...]


def check(format: str, path: Path) -> Checked:
    """Faults, duplicates and private details of the records that can be learnt from."""
    ledger = Ledger("", path.name, format)
    faults: list[Reject] = []
    entries: list[Entry[Learnt]] = []
    for line, item in numbered(format, path):
        if isinstance(item, KINDS):
            if fault := fault_of(item, most_characters=KEYS.row_characters):
                faults.append(Reject(line, "", fault))
            else:
                entries.append(Entry(ledger, line, item, identity(item)))
    each_once = [distinct([entry for entry in entries if isinstance(entry.record, kind)]) for kind in KINDS]
    kept = [entry for of_kind in each_once for entry in unlike(of_kind, KEYS.near_duplicate)]
    talks: list[Entry[Talk]] = [*of_kind(kept, Demonstration), *of_kind(kept, Ranking)]
    without_unsafe(talks, "count")
    without_private(kept, lambda _: "mask")
    records = [entry.record for entry in kept]
    num_different = sum(map(len, each_once))
    return Checked(
        faults=tuple(faults),
        duplicates=len(entries) - num_different,
        near_duplicates=num_different - len(kept),
        private={kind: len(found) for kind, found in sorted(ledger.private.items())},
        unsafe={kind: len(found) for kind, found in sorted(ledger.unsafe.items())},
        people=len({name for record in records if isinstance(record, Talk) for name in people_of(record)}),
        turns=quantiles([num_turns(record) for record in records]),
        words=quantiles([num_words(record) for record in records]),
    )
