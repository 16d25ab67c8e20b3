"""Which releases learnt from what people told the service, and from what is withdrawn since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parley.artifacts import MANIFEST, read_manifest
from parley.errors import ArtifactError
from parley.stages.data import LINEAGE
from parley.stages.records import read_rows
from parley.stages.release import CARD, find_releases


@dataclass(frozen=True, slots=True)
class Use:
    """How many items of the store a release learnt from, and how many of them it could not be told now."""

    release: str
    snapshot: str
    items: int
    withdrawn: int


def uses_of_the_store(
    runs: Path, *, conversations: frozenset[str], candidates: frozenset[str], person: str = ""
) -> tuple[Use, ...]:
    """Every release that learnt from the store, oldest first; with `person`, from that person's words.

    `conversations` may be learnt from now, `candidates` are accepted now: an item that another one is
    behind was withdrawn, taken back or deleted after its snapshot.
    """
    lineages = {digest: _lineage(path, person) for digest, path in _snapshots(runs)}
    used = ((name, data, lineages.get(data, ())) for name, data in _releases(runs))
    return tuple(
        Use(name, data, len(rows), sum(not _is_covered(row, conversations, candidates) for row in rows))
        for name, data, rows in used
        if rows
    )


def _is_covered(row: Mapping[str, Any], conversations: frozenset[str], candidates: frozenset[str]) -> bool:
    return row["conversation"] in conversations and (
        row["candidate"] is None or row["candidate"] in candidates
    )


def _snapshots(runs: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(runs.glob(f"*/*/{LINEAGE}")):
        if (path.parent / MANIFEST).exists():
            yield str(read_manifest(path.parent)["digest"]), path


def _lineage(path: Path, person: str) -> tuple[dict[str, Any], ...]:
    rows = read_rows(path, dict[str, Any])
    return tuple(row for row in rows if not person or row["person"] == person)


def _releases(runs: Path) -> Iterator[tuple[str, str]]:
    for found in find_releases(runs):
        try:
            card = json.loads((found.path / CARD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ArtifactError(f"{found.path / CARD} cannot be read") from None
        yield found.info.name, str(card["data"])
