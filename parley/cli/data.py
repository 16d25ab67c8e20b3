"""`parley data import`, `export` and `check`: people's own files, with exact counts and named rejects."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from parley.cli import GATE_SAYS_NO, show_json, show_rejects
from parley.cli.paths import imported
from parley.dialects import BrokenFile, Reading, Reject, read, write
from parley.dialects.catalog import find
from parley.errors import ConfigError, DataError
from parley.labels import Demonstration, Ranking
from parley.stages.hygiene.check import Checked, check
from parley.stages.records import (
    demonstration_of,
    demonstration_row,
    document_row,
    prompt_row,
    ranking_of,
    ranking_row,
    rated_row,
    read_rows,
    write_rows,
)


def import_data(arguments: argparse.Namespace) -> int:
    """Read a file into the home. A file that breaks in the middle leaves what came before it."""
    try:
        reading = read(arguments.format, arguments.file)
    except BrokenFile as fault:
        kept = _keep(fault.reading, arguments.format, arguments.file) if _records(fault.reading) else 0
        fault.args = (f"{fault}; the {kept} records before it are kept",)
        raise DataError(str(fault.args[0])) from None
    written = _keep(reading, arguments.format, arguments.file)
    return _report(reading.read, written, reading.rejects, arguments)


def check_data(arguments: argparse.Namespace) -> int:
    """Read a file and count, changing nothing; then say what training would leave out of it."""
    reading = read(arguments.format, arguments.file)
    checked = check(arguments.format, arguments.file)
    kinds = {
        "demonstrations": len(reading.demonstrations),
        "rankings": len(reading.rankings),
        "comparisons": sum(len(ranking.comparisons()) for ranking in reading.rankings),
        "documents": len(reading.documents),
        "prompts": len(reading.prompts),
        "rated": len(reading.rated),
    }
    found = {name: count for name, count in kinds.items() if count}
    return _report(reading.read, 0, reading.rejects, arguments, found, checked)


def export_data(arguments: argparse.Namespace) -> int:
    """Write everything that was imported and that the format can express."""
    format = find(arguments.format)
    records = [record for record in _imported() if isinstance(record, format.yields)]
    if not records and format.writer is not None:
        raise ConfigError(f"nothing that '{arguments.format}' can hold was imported yet")
    result = write(arguments.format, records, arguments.file)
    return _report(len(records), result.written, result.rejects, arguments)


def _keep(reading: Reading, format: str, file: Path) -> int:
    """Store the records under the file's name and content; importing the same file again changes nothing."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stem = file.name.split(".")[0]
    target = imported() / f"{format}-{stem}-{digest[:12]}"
    fresh = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    written = write_rows(fresh / "demonstrations.jsonl", map(demonstration_row, reading.demonstrations))
    written += write_rows(fresh / "rankings.jsonl", map(ranking_row, reading.rankings))
    written += write_rows(fresh / "documents.jsonl", map(document_row, reading.documents))
    written += write_rows(fresh / "prompts.jsonl", map(prompt_row, reading.prompts))
    written += write_rows(fresh / "rated.jsonl", map(rated_row, reading.rated))
    (fresh / "rejects.json").write_text(json.dumps([_reject_row(item) for item in reading.rejects]))
    if target.exists():  # the same file was imported before: its name holds the content's digest
        shutil.rmtree(fresh)
    else:
        fresh.rename(target)
    return written


def _records(reading: Reading) -> int:
    return sum(
        map(
            len, (reading.demonstrations, reading.rankings, reading.documents, reading.prompts, reading.rated)
        )
    )


def _imported() -> Iterator[Demonstration | Ranking]:
    for directory in sorted(imported().glob("[!.]*")):
        yield from read_rows(directory / "demonstrations.jsonl", demonstration_of)
        yield from read_rows(directory / "rankings.jsonl", ranking_of)


def _report(
    read_count: int,
    written: int,
    rejects: Sequence[Reject],
    arguments: argparse.Namespace,
    kinds: dict[str, int] | None = None,
    checked: Checked | None = None,
) -> int:
    if arguments.json:
        rows = [_reject_row(item) for item in rejects]
        show_json(
            {
                "read": read_count,
                "written": written,
                "rejected": len(rejects),
                **(kinds or {}),
                "rejects": rows,
                **({"hygiene": _hygiene(checked)} if checked else {}),
            }
        )
    else:
        show_rejects(rejects, arguments.file)
        found = "".join(f"  {name} {count}" for name, count in (kinds or {}).items())
        print(f"read {read_count}  written {written}  rejected {len(rejects)}{found}")
        if checked:
            show_rejects(checked.faults, arguments.file)
            print(f"training would leave out: {_left_out(checked)}")
    return GATE_SAYS_NO if arguments.strict and rejects else 0


def _left_out(checked: Checked) -> str:
    """What is left out, in words; private details are masked, which leaves their rows."""
    counts = {
        "at fault": len(checked.faults),
        "duplicates": checked.duplicates,
        "near-duplicates": checked.near_duplicates,
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
    if checked.private:
        said += f"; and mask private details: {_counted(checked.private)}"
    return said + (f"; unsafe answers by the rules: {_counted(checked.unsafe)}" if checked.unsafe else "")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items())


def _hygiene(checked: Checked) -> dict[str, object]:
    return {
        "faults": [_reject_row(item) for item in checked.faults],
        "duplicates": checked.duplicates,
        "near_duplicates": checked.near_duplicates,
        "private": checked.private,
        "unsafe": checked.unsafe,
        "people": checked.people,
        "turns": list(checked.turns),
        "words": list(checked.words),
    }


def _reject_row(item: Reject) -> dict[str, object]:
    return {"record": item.record, "field": item.field, "reason": item.reason}
