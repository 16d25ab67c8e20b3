"""Finding what was said: titles and messages, the owner's alone, newest first.

`search_entry` gives every title and message a number; `search_words` holds their words under it: a
full-text table of SQLite (FTS5) or a `tsvector` of PostgreSQL. Triggers of migration 0003 keep both
in step with what is written and deleted; nothing here writes. The owner is a word of each entry, so
that a search never walks what others said.

Case and accents do not matter, and neither do the dots of i and ı. Every word must be there; the
last one may be cut short, and words in quotes stand together. A text without spaces between its
words is found by how it begins.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Index, Integer, String, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.store.schema import ID, Table

MAX_TERMS: Final = 12
MAX_WORD: Final = 64
MARKS: Final = "\u0300-\u036f"
WORD: Final = re.compile(rf"[^\W_](?:[^\W_]|[{MARKS}])*")
QUOTED: Final = re.compile(r'"([^"]*)"')
WINDOW: Final = 24  # words of a message that are shown around what was found
LEAD: Final = 6  # of them before it


class SearchEntryRow(Table):
    """One row a title (without a message) or message that can be found. Triggers write it."""

    __tablename__ = "search_entry"
    __table_args__ = (
        Index("search_entry_message", "message_id", unique=True),
        Index("search_entry_conversation", "conversation_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ID)
    conversation_id: Mapped[str] = mapped_column(String(36))
    message_id: Mapped[str | None] = mapped_column(ID)


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand together, folded and as they were typed; with `prefix` the last may go on."""

    words: tuple[str, ...]
    prefix: bool
    typed: tuple[str, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a text; `hit` where it is what was searched for."""

    text: str
    hit: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A message, or without `message_id` a title. `entry` is its place for the next page."""

    entry: int
    conversation_id: str
    title: str
    message_id: str | None
    role: str | None
    created: int
    snippet: tuple[Part, ...]


def terms_of(query: str) -> tuple[Term, ...]:
    """What a person's search asks for; nothing where there is no letter and no digit in it."""
    quoted = [_term(part, prefix=False) for part in QUOTED.findall(query)]
    loose = [part for part in QUOTED.sub(" ", query).replace('"', " ").split() if WORD.search(part)]
    free = [_term(part, prefix=number == len(loose) - 1) for number, part in enumerate(loose)]
    return tuple(term for term in (*quoted, *free) if term.words)[:MAX_TERMS]


def _term(part: str, *, prefix: bool) -> Term:
    typed = tuple(word.group()[:MAX_WORD] for word in WORD.finditer(part))
    return Term(tuple(map(fold, typed)), prefix, typed)


def fold(word: str) -> str:
    """Small letters without accents; ı is i."""
    plain = re.sub(f"[{MARKS}]", "", unicodedata.normalize("NFD", word))
    return plain.lower().translate({ord("ı"): "i", ord("ς"): "σ"})


def search(
    session: Session, query: str, *, owner_id: str, limit: int, before: int | None = None
) -> tuple[Hit, ...]:
    """The owner's titles and messages that hold the query, newest first, those after entry `before`."""
    terms = terms_of(query)
    if not terms:
        return ()
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    asked = (_fts5 if is_sqlite else _tsquery)(terms, owner_id.replace("-", ""))
    values = {"asked": asked, "owner": owner_id, "before": before or 2**62, "limit": limit}
    rows = session.execute(text(_statement(is_sqlite)), values).mappings()
    return tuple(_hit(dict(row), terms) for row in rows)


def snippet(content: str, terms: Sequence[Term]) -> tuple[Part, ...]:
    """The words around the first thing that was found, with all that was found among them marked."""
    spans = [match.span() for match in WORD.finditer(content)]
    folded = [fold(content[start:end])[:MAX_WORD] for start, end in spans]
    hits = {place for term in terms for place in _places(folded, term)}
    first = max(0, min(hits, default=0) - LEAD)
    shown = range(first, min(len(spans), first + WINDOW))
    if not shown:
        return (Part(content[:80], False),)
    start = spans[shown[0]][0] if first else 0
    end = spans[shown[-1]][1] if shown[-1] + 1 < len(spans) else len(content)
    parts = _marked(content, start, end, [spans[place] for place in shown if place in hits])
    opening = (Part("…", False),) if start else ()
    closing = (Part("…", False),) if end < len(content) else ()
    return (*opening, *parts, *closing)


def _places(folded: Sequence[str], term: Term) -> Iterator[int]:
    """Where a term stands, word by word."""
    size = len(term.words)
    for start in range(len(folded) - size + 1):
        found = folded[start : start + size]
        is_last_cut = term.prefix and found[-1].startswith(term.words[-1])
        if tuple(found[:-1]) == term.words[:-1] and (is_last_cut or found[-1] == term.words[-1]):
            yield from range(start, start + size)


def _marked(content: str, start: int, end: int, hits: Sequence[tuple[int, int]]) -> Iterator[Part]:
    at = start
    for hit_start, hit_end in hits:
        if at < hit_start:
            yield Part(content[at:hit_start], False)
        yield Part(content[hit_start:hit_end], True)
        at = hit_end
    if at < end:
        yield Part(content[at:end], False)


def _fts5(terms: Sequence[Term], owner: str) -> str:
    """The words are letters, digits and accents alone, so quotes around them are enough. FTS5 folds them."""
    phrases = [
        " + ".join(f'"{word.replace("ı", "i")}"' for word in term.typed) + (" *" if term.prefix else "")
        for term in terms
    ]
    return f'owner : "{owner}" AND words : (' + " AND ".join(f"({phrase})" for phrase in phrases) + ")"


def _tsquery(terms: Sequence[Term], owner: str) -> str:
    phrases = [
        " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.prefix else "") for term in terms
    ]
    return " & ".join((f"'@{owner}'", *(f"({phrase})" for phrase in phrases)))


def _statement(is_sqlite: bool) -> str:
    found = (
        "search_words WHERE search_words MATCH :asked AND rowid < :before ORDER BY rowid DESC"
        if is_sqlite
        else "search_words WHERE words @@ CAST(:asked AS tsquery) AND id < :before ORDER BY id DESC"
    )
    number = "rowid" if is_sqlite else "id"
    return f"""
        SELECT e.id AS entry, e.conversation_id, c.title, e.message_id, m.role, m.content,
               COALESCE(m.created, c.created) AS created
        FROM (SELECT {number} AS id FROM {found} LIMIT :limit) AS w
        JOIN search_entry AS e ON e.id = w.id AND e.owner_id = :owner
        JOIN conversation AS c ON c.id = e.conversation_id AND c.owner_id = :owner AND c.deleted IS NULL
        LEFT JOIN message AS m ON m.id = e.message_id
        ORDER BY e.id DESC
    """


def _hit(row: dict[str, Any], terms: Sequence[Term]) -> Hit:
    content = row.pop("content")
    shown = row["title"] if row["message_id"] is None else content
    return Hit(**row, snippet=snippet(shown, terms))
