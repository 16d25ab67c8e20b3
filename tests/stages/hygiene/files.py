"""Files of made-up people's words, varied enough that no two rows are nearly the same by chance."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from parley.stages.files import FilesSource
from parley.stages.hygiene.findings import FileFindings, Findings
from parley.stages.hygiene.settings import FileData, FilesData
from parley.stages.sources import Told

SYLLABLES = ["ba", "ne", "ro", "ti", "mu", "ka", "le", "so", "vi", "du", "pa", "ge"]
Row = dict[str, Any]


def words(draw: random.Random, count: int) -> str:
    return " ".join("".join(draw.choices(SYLLABLES, k=3)) for _ in range(count))


def message(role: str, text: str) -> Row:
    return {"role": role, "content": text}


def talk(draw: random.Random, *, asked: str = "", trainer: str = "") -> Row:
    turns = [message("user", asked or words(draw, 12) + "?"), message("assistant", words(draw, 20) + ".")]
    return {"messages": turns, "trainer": trainer}


def ranking(draw: random.Random, *, asked: str = "", trainer: str = "") -> Row:
    replies = [{"content": words(draw, 15), "rank": rank} for rank in (1, 2, 3)]
    return {"messages": [message("user", asked or words(draw, 12))], "replies": replies, "trainer": trainer}


def document(draw: random.Random) -> Row:
    return {"text": words(draw, 60)}


def lines(rows: Iterable[Row]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def write(path: Path, rows: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(row + b"\n" for row in rows))


def data(root: Path, **keys: Any) -> FilesData:
    """The recipe's section for the files `texts`, `talks` and `rankings` that are there."""
    sections = {"texts": "text", "dialogues": "demonstrations", "rankings": "rankings"}
    files = {
        section: (FileData(file=f"{section}.jsonl", format=format),)
        for section, format in sections.items()
        if (root / f"{section}.jsonl").exists()
    }
    return FilesData(root=str(root), **{"held_out_share": 0.2, **files, **keys})


def told(root: Path, seed: int = 1, **keys: Any) -> tuple[Told, Findings]:
    found = FilesSource(data(root, **keys), seed).tell()
    assert found.hygiene is not None
    return found, found.hygiene


def counted(file: FileFindings) -> dict[str, int]:
    """How many were left out, by reason."""
    return {left.reason: left.count for left in (*file.rejected, *file.dropped)}
