"""Rows → a file of JSON lines that is there whole or not at all.

The rows go to a temporary file beside the target, which is renamed into place when everything is on disk.
On any failure (a full disk, a fault in the rows) the temporary file is removed and an older target stays.
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from parley.errors import DataError


def save_rows(rows: Iterable[Mapping[str, object]], path: Path) -> int:
    """Writes JSON lines, gzipped where the name ends in `.gz`; answers how many."""
    written = 0
    with replacing(path) as stream:
        for row in rows:
            stream.write(line(row))
            written += 1
    return written


def line(row: Mapping[str, object]) -> bytes:
    """The row as one line of UTF-8, also for readers that end a line at U+2028 and its like."""
    said = json.dumps(row, ensure_ascii=False)
    for character in "\x85\u2028\u2029":
        said = said.replace(character, f"\\u{ord(character):04x}")
    return said.encode() + b"\n"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose contents become the file `path` when the block ends well."""
    target = _target(path)
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as stream:
            yield from _packed(stream, gzipped=path.suffix == ".gz")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, target)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", file=str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file to replace: behind a link, and never a device or a directory."""
    try:
        target = path.resolve()
        ordinary = target.is_file() or not target.exists()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be written: {error}", file=str(path)) from error
    if not ordinary:
        raise DataError("cannot be written: it is no regular file", file=str(path))
    return target


def _packed(stream: BinaryIO, *, gzipped: bool) -> Iterator[BinaryIO]:
    if not gzipped:
        yield stream
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:  # the same bytes twice
        yield packed  # type: ignore[misc]
