"""The formats by name, and the three things one does with them: `read`, `records`, `write`.

Formats for moderation labels are not here: they belong to `parley.moderation`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from parley.dialects import (
    autoj,
    demonstrations,
    gsm8k,
    hh,
    instruct,
    lines,
    oasst,
    openai_chat,
    plain_text,
    qa_feedback,
    rankings,
    self_dialogue,
    sharegpt,
    taskmaster,
    taskmaster_rewards,
)
from parley.dialects.readers import Json, Reader, Rows, Writer, by_record, by_row
from parley.dialects.records import BrokenFile, Rated, Reading, Record, Reject, Row, Written
from parley.dialects.saving import save_rows
from parley.errors import ConfigError, DataError
from parley.labels import Demonstration, Document, Prompt, Ranking

Kind = TypeVar("Kind", Demonstration, Ranking, Document, Prompt, Rated, Reject)


@dataclass(frozen=True, slots=True)
class Format:
    """One format: which records its rows yield, who reads them, and who writes them (None: nobody)."""

    yields: tuple[type[Record], ...]
    reader: Reader
    writer: Writer | None = None


FORMATS: Final[dict[str, Format]] = {
    "demonstrations": Format(
        (Demonstration,),
        by_row(demonstrations.parse),
        by_record(demonstrations.express, demonstrations.parse),
    ),
    "rankings": Format((Ranking,), by_row(rankings.parse), by_record(rankings.express, rankings.parse)),
    "openai-chat": Format(
        (Demonstration,), by_row(openai_chat.parse), by_record(openai_chat.express, openai_chat.parse)
    ),
    "sharegpt": Format((Demonstration,), by_row(sharegpt.parse), by_record(sharegpt.express, sharegpt.parse)),
    "instruct": Format((Demonstration,), by_row(instruct.parse), instruct.write_rows),
    "gsm8k": Format((Demonstration,), by_row(gsm8k.parse)),
    "hh": Format((Ranking,), by_row(hh.parse), by_record(hh.express, hh.parse)),
    "oasst": Format((Demonstration, Ranking, Prompt), by_row(oasst.parse)),
    "qa-feedback": Format((Ranking,), by_row(qa_feedback.parse)),
    "autoj": Format((Ranking,), by_row(autoj.parse)),
    "self-dialogue": Format((Demonstration,), by_row(self_dialogue.parse)),
    "taskmaster": Format((Demonstration,), by_row(taskmaster.parse)),
    "taskmaster-rewards": Format((Rated, Ranking), taskmaster_rewards.read_rows),
    "text": Format((Document,), by_row(plain_text.parse)),
}


def find(name: str) -> Format:
    """The format of that name. Raises `ConfigError` with the nearest known one."""
    if name in FORMATS:
        return FORMATS[name]
    near = difflib.get_close_matches(name.lower(), FORMATS, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(FORMATS)}"
    raise ConfigError(f"there is no format '{name}': {hint}")


def records(format: str, path: Path) -> Iterator[Record | Reject]:
    """What the file holds, one at a time. Raises `DataError` where the file itself is at fault.

    What was readable before the fault has been yielded by then. A file whose every row is rejected
    counts as one of another format, and is such a fault, at its end.
    """
    return _stream(format, find(format), _Counted(_rows(format, path)), path)


def numbered(format: str, path: Path) -> Iterator[tuple[int, Record | Reject]]:
    """What `records` gives, each with the line (or the place in the array) that it was read from."""
    rows = _Counted(_rows(format, path))
    for item in _stream(format, find(format), rows, path):
        yield rows.number, item


def read(format: str, path: Path) -> Reading:
    """The whole file. Raises `BrokenFile`, which holds what could be read, where `records` raises."""
    chosen, rows = find(format), _Counted(_rows(format, path))
    found: list[Record | Reject] = []
    try:
        found.extend(_stream(format, chosen, rows, path))
    except DataError as fault:
        raise BrokenFile(fault, _reading(found, rows.seen)) from fault
    return _reading(found, rows.seen)


def write(format: str, records: Iterable[Demonstration | Ranking], path: Path) -> Written:
    """Writes what the format can express, one row a line, gzipped where the name ends in `.gz`.

    `written` counts rows: `hh` writes a row for each pair, `instruct` one for K few-shot examples.
    The file is there whole or not at all: any failure is a `DataError` that leaves an older file alone.
    """
    writer = find(format).writer
    if writer is None:
        able = ", ".join(name for name, known in FORMATS.items() if known.writer)
        raise ConfigError(f"'{format}' can be read but not written: choose one of {able}")
    rejects: list[Reject] = []
    rows = _kept(writer(enumerate(records, start=1)), rejects)
    return Written(save_rows(rows, path), tuple(rejects))


def _rows(format: str, path: Path) -> Rows:
    return plain_text.rows(path) if format == plain_text.SOURCE else lines.json_rows(path)


class _Counted(Iterator[Row | Reject]):
    """Rows that know how many of them were handed out, and which was the last."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.seen, self.number = iter(rows), 0, 0

    def __next__(self) -> Row | Reject:
        row = next(self._rows)
        self.seen += 1
        self.number = row.number if isinstance(row, Row) else row.record
        return row


def _stream(name: str, chosen: Format, rows: _Counted, path: Path) -> Iterator[Record | Reject]:
    first: Reject | None = None
    readable = False
    for item in chosen.reader(rows):
        if isinstance(item, Reject):
            first = first or item
        else:
            readable = True
        yield item
    if not readable:
        raise _nothing(name, first, path)


def _nothing(name: str, first: Reject | None, path: Path) -> DataError:
    if first is None:
        return DataError("holds no rows", file=str(path))
    reason = f"{first.reason} (and no other row can be read as {name} either)"
    return DataError(reason, file=str(path), record=first.record, field=first.field)


def _reading(found: list[Record | Reject], seen: int) -> Reading:
    return Reading(
        demonstrations=_only(Demonstration, found),
        rankings=_only(Ranking, found),
        documents=_only(Document, found),
        rejects=_only(Reject, found),
        read=seen,
        prompts=_only(Prompt, found),
        rated=_only(Rated, found),
    )


def _only(kind: type[Kind], found: list[Record | Reject]) -> tuple[Kind, ...]:
    return tuple(item for item in found if isinstance(item, kind))


def _kept(rows: Iterable[Json | Reject], rejects: list[Reject]) -> Iterator[Json]:
    for row in rows:
        if isinstance(row, Reject):
            rejects.append(row)
        else:
            yield row
