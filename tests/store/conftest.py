"""A fresh database for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from parley.store.database import close_database, open_database
from tests.databases import Backend, MakeUrl


@pytest.fixture
def url(backend: Backend, make_url: MakeUrl, tmp_path: Path) -> Iterator[str]:
    with make_url(backend, tmp_path / "home") as made:
        yield made


@pytest.fixture
def sessions(url: str) -> Iterator[sessionmaker[Session]]:
    opened = open_database(url)
    yield opened
    close_database(opened)
