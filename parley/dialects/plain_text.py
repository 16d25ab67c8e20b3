"""`text`: plain text for pretraining and for measuring perplexity.

JSON lines with `text` give a document a row; any other file (`.txt`, `.md`, or whatever does not begin
like JSON) is one document, to the letter. Not kept: other keys of a row. Rejected: rows without text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from parley.dialects import lines
from parley.dialects.fields import mapping, text
from parley.dialects.records import Reject, Row
from parley.labels import Document

SOURCE: Final = "text"
JSON: Final = (".jsonl", ".json", ".ndjson")
PLAIN: Final = (".txt", ".text", ".md")


def rows(path: Path) -> Iterator[Row | Reject]:
    """The rows of the file; a plain one is a single row."""
    if _is_json(path):
        yield from lines.json_rows(path)
    else:
        yield Row(1, {"text": lines.whole_text(path)})


def parse(value: object) -> Iterator[Document]:
    """The document of one row."""
    yield Document(text(mapping(value), "text"), SOURCE)


def _is_json(path: Path) -> bool:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix in JSON or suffix in PLAIN:
        return suffix in JSON
    return lines.head(path).lstrip().startswith(b"{")
