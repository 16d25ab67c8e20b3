"""Tiny files for the tests of the readers, written here and copied from nowhere."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from parley.labels import Choices, Ranking, Ranks

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


def jsonl(path: Path, rows: Sequence[object]) -> Path:
    """JSON lines; a row that is bytes is written as it is."""
    path.write_bytes(b"".join(_line(row) for row in rows))
    return path


def _line(row: object) -> bytes:
    return (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n"


def gzipped(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, mtime=0))
    return path


def talk(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def ranks(ranking: Ranking) -> tuple[int, ...]:
    assert isinstance(ranking.judgement, Ranks)
    return ranking.judgement.values


def signs(ranking: Ranking) -> list[tuple[int, int, str]]:
    assert isinstance(ranking.judgement, Choices)
    return [(pair.left, pair.right, pair.sign) for pair in ranking.judgement.pairs]


def texts(ranking: Ranking) -> list[str]:
    return [reply.text for reply in ranking.replies]
