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
from parley.store.database import (
    DATABASE_VARIABLE,
    close_database,
    database_url,
    open_database,
    writing,
)
from parley.store.schema import Table
from tests.databases import only


def test_migrations_give_exactly_the_tables_that_the_code_declares(url: str) -> None:
    sessions = open_database(url)
    known = {"include_name": lambda name, kind, _: kind != "table" or not name.startswith("search_words")}
    with sessions() as session:
        context = MigrationContext.configure(session.connection(), opts=known)
        assert compare_metadata(context, Table.metadata) == []
    close_database(sessions)


@only("sqlite")
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
        session.execute(text("INSERT INTO api_key VALUES (1, 'h', 'abcd', 'chat', '', 1, NULL, NULL)"))
    close_database(first)
    second = open_database(url)
    with second() as session:
        assert session.scalar(text("SELECT count(*) FROM api_key")) == 1
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


def test_the_environment_names_another_database(tmp_path: Path) -> None:
    named = {DATABASE_VARIABLE: "postgresql://host/parley"}
    assert database_url(tmp_path, named) == "postgresql://host/parley"
    assert database_url(tmp_path, {}) == database_url(tmp_path, {DATABASE_VARIABLE: ""})
    assert database_url(tmp_path, {}).startswith("sqlite:///")


def test_writers_that_read_first_wait_for_each_other(url: str, sessions: sessionmaker[Session]) -> None:
    another = open_database(url)  # as another process has it
    with writing(sessions) as session:
        session.execute(text("INSERT INTO api_key VALUES (1, 'h', '0', 'chat', '', 0, NULL, NULL)"))

    def count_up(mine: sessionmaker[Session]) -> None:
        for _ in range(25):
            with writing(mine) as session:
                locked = "" if session.get_bind().dialect.name == "sqlite" else " FOR UPDATE"
                seen = session.scalar(text(f"SELECT created FROM api_key{locked}"))
                session.execute(text("UPDATE api_key SET created = :next"), {"next": (seen or 0) + 1})

    threads = [threading.Thread(target=count_up, args=(mine,)) for mine in (sessions, another) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    close_database(another)
    with sessions() as session:
        assert session.scalar(text("SELECT created FROM api_key")) == 100


def test_a_transaction_that_fails_leaves_nothing_and_lets_the_next_one_in(
    sessions: sessionmaker[Session],
) -> None:
    def break_off() -> None:
        with writing(sessions) as session:
            session.execute(text("INSERT INTO api_key VALUES (1, 'h', '0', 'chat', '', 0, NULL, NULL)"))
            raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        break_off()
    with writing(sessions) as session:
        assert session.scalar(text("SELECT count(*) FROM api_key")) == 0
