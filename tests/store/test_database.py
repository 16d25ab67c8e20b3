"""Opening and migrating the database."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import ConfigError
from parley.store.database import close_database, database_url, open_database
from parley.store.schema import Table


@pytest.fixture
def url(tmp_path: Path) -> str:
    return database_url(tmp_path / "home")


def test_migrations_give_exactly_the_tables_that_the_code_declares(url: str) -> None:
    sessions = open_database(url)
    with sessions() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Table.metadata) == []
    close_database(sessions)


def test_the_default_is_a_private_file_with_a_write_ahead_log(url: str, tmp_path: Path) -> None:
    sessions = open_database(url)
    with sessions() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
    for file in (tmp_path / "home").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    close_database(sessions)


def test_opening_again_keeps_what_is_there(url: str) -> None:
    first = open_database(url)
    with first.begin() as session:
        session.execute(text("INSERT INTO login_link (hash, created, expires) VALUES ('h', 1, 2)"))
    close_database(first)
    second = open_database(url)
    with second() as session:
        assert session.scalar(text("SELECT count(*) FROM login_link")) == 1
    close_database(second)


def test_many_may_open_a_fresh_database_at_once(url: str) -> None:
    opened: list[sessionmaker[Session]] = []
    threads = [threading.Thread(target=lambda: opened.append(open_database(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(opened) == 4
    for sessions in opened:
        close_database(sessions)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("no url", "URL"),
        ("nosuch://host/db", "nosuch"),
        ("sqlite://", "in memory"),
        ("sqlite:////proc/none/parley.db", "cannot be opened"),
    ],
)
def test_what_cannot_be_opened_is_named(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_database(url)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "parley.db").write_bytes(b"something else entirely, long enough to be read as a header" * 20)
    with pytest.raises(ConfigError, match="not a database"):
        open_database(database_url(tmp_path))


def test_a_database_of_a_newer_parley_is_refused(url: str) -> None:
    sessions = open_database(url)
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    close_database(sessions)
    with pytest.raises(ConfigError, match="9999"):
        open_database(url)


def test_a_password_in_the_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        open_database("nosuch://me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)
