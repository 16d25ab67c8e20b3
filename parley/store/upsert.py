"""Writing a row that may be there already, in one statement, on both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from parley.store.schema import Table


def upsert(
    session: Session,
    table: type[Table],
    row: Mapping[str, Any],
    *,
    key: Sequence[str],
    change: Mapping[str, Any],
) -> None:
    """Inserts `row`; where a row with the same `key` is there, that one is changed instead."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = (sqlite.insert if is_sqlite else postgresql.insert)(table).values(dict(row))
    session.execute(insert.on_conflict_do_update(index_elements=list(key), set_=dict(change)))
