"""A file on disk → numbered rows, or one sentence about what is wrong with the file.

Rows are JSON lines, or the elements of one JSON array. Gzip is recognised by its first bytes, not by the
name. A row at fault becomes a `Reject` and reading goes on; a file at fault (missing, binary, UTF-16, gzip
cut off or corrupt) raises `DataError` with the record where it broke, after every row before that place
was handed out. Nothing here knows what a row means.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final, TypeAlias

from parley.dialects.fields import shown
from parley.dialects.records import Reject, Row
from parley.errors import DataError

GZIP: Final = b"\x1f\x8b"
BOM: Final = b"\xef\xbb\xbf"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
HEAD: Final = 4096  # bytes looked at before reading
MOST_NULS: Final = 0.1  # of them, in what is text at all
LONGEST: Final = 256 * 2**20  # bytes of one row, and of one JSON array: beyond it, no row but a mistake
Stream: TypeAlias = BufferedReader | gzip.GzipFile
BREAKS: Final = (OSError, EOFError, zlib.error)


def json_rows(path: Path) -> Iterator[Row | Reject]:
    """The rows of a file of JSON lines, or of one JSON array; blank lines are skipped."""
    if head(path).lstrip().startswith(b"[") and not _one_list_a_line(path):
        yield from _array(path)
        return
    for number, line in lines(path):
        if line.strip():
            yield _row(number, line)


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, from 1, without a byte order mark."""
    number = 0
    with opened(path) as stream:
        while line := _line(stream, path, number + 1):
            number += 1
            yield number, line


def whole_text(path: Path) -> str:
    """Everything the file says, unchanged but for a byte order mark."""
    data = _everything(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        record = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"is not UTF-8 at byte {error.start + 1}", file=str(path), record=record) from None


def head(path: Path) -> bytes:
    """The first bytes of the text, after the checks that concern the file as a whole."""
    with opened(path) as stream:
        return stream.peek(HEAD)[:HEAD]


def opened(path: Path) -> Stream:
    """The (unpacked) bytes, after a byte order mark. Raises `DataError` for what is no text at all."""
    try:
        stream = _unpacked(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {_why(error)}", file=str(path)) from None
    try:
        _check_text(stream, path)
    except BaseException:
        stream.close()
        raise
    return stream


def _unpacked(path: Path) -> Stream:
    with path.open("rb") as stream:
        packed = stream.peek(2).startswith(GZIP)
    return gzip.open(path, "rb") if packed else path.open("rb")


def _check_text(stream: Stream, path: Path) -> None:
    try:
        start = stream.peek(HEAD)[:HEAD]
    except BREAKS as error:
        raise DataError(_broken(error), file=str(path), record=1) from None
    if not start:
        raise DataError("is empty", file=str(path))
    if start.startswith(UTF16):
        raise DataError("is UTF-16 text: save it as UTF-8", file=str(path))
    if start.count(b"\0") > MOST_NULS * len(start):  # a few are the fault of a row
        raise DataError("is no text but binary (or UTF-16 without its mark)", file=str(path))
    if start.startswith(BOM):
        stream.read(len(BOM))
    if path.suffix == ".gz" and not isinstance(stream, gzip.GzipFile):
        raise DataError("is not gzip, though its name ends in .gz", file=str(path))


def _line(stream: Stream, path: Path, number: int) -> bytes:
    try:
        line = stream.readline(LONGEST + 1)
    except BREAKS as error:
        raise DataError(_broken(error), file=str(path), record=number) from None
    if len(line) > LONGEST:
        raise DataError(f"holds a record of more than {LONGEST} bytes", file=str(path), record=number)
    return line


def _everything(path: Path) -> bytes:
    with opened(path) as stream:
        try:
            data = stream.read(LONGEST + 1)
        except BREAKS as error:
            raise DataError(_broken(error), file=str(path)) from None
    if len(data) > LONGEST:
        raise DataError(f"holds more than {LONGEST} bytes: use JSON lines", file=str(path))
    return data


def _broken(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "breaks off here: the gzip file was cut short"
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return "cannot be unpacked from here on: the gzip file is corrupt"
    return f"cannot be read: {_why(error)}"


def _why(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


# --- JSON ------------------------------------------------------------------------------------------------


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} stands twice")
    return found


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON number")


DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)


def _row(number: int, line: bytes) -> Row | Reject:
    try:
        return Row(number, DECODER.decode(line.decode().rstrip("\r\n")))
    except UnicodeDecodeError as error:
        return Reject(number, "", f"is not UTF-8 at byte {error.start + 1}")
    except (ValueError, RecursionError) as error:
        return Reject(number, "", _no_json(error))


def _no_json(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at character {error.pos + 1}"
    return f"is not JSON: {error}"


def _one_list_a_line(path: Path) -> bool:
    """Whether the file is JSON lines whose first row happens to be a list (a fault of that row alone)."""
    written = [line for _, line in _first_lines(path)]
    return len(written) == 2 and isinstance(_row(1, written[0]), Row)


def _first_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    found = 0
    for number, line in lines(path):
        if line.strip():
            found += 1
            yield number, line
        if found == 2:
            return


def _array(path: Path) -> Iterator[Row]:
    """The elements of one JSON array. A fault inside an element breaks the file there."""
    said = _everything(path).decode(
        "utf-8", "surrogateescape"
    )  # a wrong byte is the row's fault: `encodable`
    place, number = _skip(said, said.index("[") + 1), 0
    while not said.startswith("]", place):
        number += 1
        value, place = _element(said, place, path, number)
        yield Row(number, value)
        place = _skip(said, place)
        if said.startswith(",", place):
            place = _skip(said, place + 1)
        elif not said.startswith("]", place):
            raise DataError("breaks off: the JSON array has no end", file=str(path), record=number)
    if said[place + 1 :].strip():
        raise DataError("goes on after the end of its JSON array", file=str(path), record=number)


def _element(said: str, place: int, path: Path, number: int) -> tuple[object, int]:
    try:
        return DECODER.raw_decode(said, place)
    except (ValueError, RecursionError) as error:
        raise DataError(_no_json(error), file=str(path), record=number) from None


def _skip(said: str, place: int) -> int:
    while place < len(said) and said[place] in " \t\r\n":
        place += 1
    return place
