"""From what a format knows about one row (or one record) to a reader (or a writer) of many.

A format's `parse` turns one JSON value into records and raises `Fault` where it cannot; for a part of a
row that is left out it yields the `Fault`. Its `express` is the inverse. Faults get their number here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from parley.dialects.fields import Fault
from parley.dialects.records import Record, Reject, Row

Rows: TypeAlias = Iterable[Row | Reject]
Parse: TypeAlias = Callable[[object], Iterable[Record | Fault]]
Reader: TypeAlias = Callable[[Rows], Iterator[Record | Reject]]

Numbered: TypeAlias = tuple[int, Record]
Json: TypeAlias = Mapping[str, object]
Express: TypeAlias = Callable[[Record], Iterable[Json]]
Writer: TypeAlias = Callable[[Iterable[Numbered]], Iterator[Json | Reject]]


def by_row(parse: Parse) -> Reader:
    """A reader that reads every row on its own; a row at fault gives one reject and nothing else."""

    def read(rows: Rows) -> Iterator[Record | Reject]:
        for row in rows:
            if isinstance(row, Reject):
                yield row
            else:
                yield from _parsed(parse, row)

    return read


def _parsed(parse: Parse, row: Row) -> Iterable[Record | Reject]:
    try:
        found = list(parse(row.value))
    except Fault as fault:
        return (rejected(row.number, fault),)
    return (rejected(row.number, item) if isinstance(item, Fault) else item for item in found)


def by_record(express: Express, parse: Parse) -> Writer:
    """A writer that writes every record on its own."""

    def write(records: Iterable[Numbered]) -> Iterator[Json | Reject]:
        for number, record in records:
            try:
                yield from readable(express(record), parse)
            except Fault as fault:
                yield rejected(number, fault)

    return write


def readable(rows: Iterable[Json], parse: Parse) -> list[Json]:
    """The rows, where the format's own reader takes all of them; else its `Fault`."""
    found = list(rows)
    for row in found:
        _reread(parse, row)
    return found


def _reread(parse: Parse, row: Json) -> None:
    for item in parse(row):
        if isinstance(item, Fault):
            raise item


def rejected(number: int, fault: Fault) -> Reject:
    """The fault, as a reject of this row or record."""
    return Reject(number, fault.field, fault.reason)
