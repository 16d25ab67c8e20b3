"""Readers and writers of other people's data, one file a format; each lossless, or rejects with a reason.

    reading = read("hh", Path("comparisons.jsonl.gz"))     reading.rankings, reading.rejects, reading.read
    for item in records("self-dialogue", path): …          a record or a Reject at a time, for big files
    write("rankings", reading.rankings, path)              whole or not at all

`catalog.FORMATS` is the table. A row at fault is a `Reject` (line, field, reason) and reading goes on; a
file at fault is a `DataError`. `instruct` is also the converter of instruction rows into dialogue and
back. What a record is stands in `parley.labels`; how it becomes tokens in `parley.model.render`.
Moderation labels are read elsewhere.
"""

from parley.dialects.catalog import FORMATS, Format, numbered, read, records, write
from parley.dialects.records import BrokenFile, Rated, Reading, Record, Reject, Written

__all__ = [
    "FORMATS",
    "BrokenFile",
    "Format",
    "Rated",
    "Reading",
    "Record",
    "Reject",
    "Written",
    "numbered",
    "read",
    "records",
    "write",
]
