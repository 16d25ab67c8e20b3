"""Opening the database: SQLite with a write-ahead log by default, PostgreSQL by URL.

Opening migrates forward. Several processes may open the same database at once; one of them
migrates and the others wait.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from parley.errors import ConfigError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK_SECONDS: Final = 10.0  # how long a writer waits for another one
CANNOT_OPEN: Final = (ArgumentError, NoSuchModuleError, ImportError, OSError, DatabaseError, CommandError)
DATABASE_VARIABLE: Final = "PARLEY_DATABASE_URL"
IMMEDIATE: Final = (
    "parley_immediate"  # the option of a connection whose transactions take the write lock at once
)
MIGRATION_LOCK: Final = 7_272_539  # PostgreSQL's advisory lock has a number, not a name

_turns: Final[WeakKeyDictionary[Engine, threading.Lock]] = WeakKeyDictionary()
_turns_lock: Final = threading.Lock()


def database_url(home: Path, environment: Mapping[str, str] = os.environ) -> str:
    """The URL of `PARLEY_DATABASE_URL`, or else of the default database under `PARLEY_HOME`."""
    return environment.get(DATABASE_VARIABLE) or f"sqlite:///{home / 'parley.db'}"


def open_database(url: str) -> sessionmaker[Session]:
    """Sessions on the migrated database at `url`. `ConfigError` where it cannot be opened."""
    try:
        engine = _engine(url)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    except CANNOT_OPEN as error:
        raise ConfigError(f"the database {_shown(url)} cannot be opened: {_reason(error)}") from None
    return sessionmaker(engine)


@contextmanager
def writing(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A transaction that may read before it writes; it is committed at the end.

    SQLite has one writer at a time: the transaction takes its turn at once, among the threads of
    this process in an orderly queue, instead of failing half-way because somebody else wrote.
    """
    with _turn(sessions), sessions.begin() as session:
        session.connection(execution_options={IMMEDIATE: True})
        yield session


def close_database(sessions: sessionmaker[Session]) -> None:
    """Gives back every connection."""
    bind = sessions.kw["bind"]
    if isinstance(bind, Engine):
        bind.dispose()


def is_readable(sessions: sessionmaker[Session]) -> bool:
    """Whether the database answers."""
    try:
        with sessions() as session:
            session.execute(text("SELECT 1"))
    except DatabaseError:
        return False
    return True


def _turn(sessions: sessionmaker[Session]) -> AbstractContextManager[object]:
    """The writers' queue of a SQLite database; PostgreSQL has writers side by side."""
    engine = sessions.kw["bind"]
    if engine.dialect.name != "sqlite":
        return nullcontext()
    with _turns_lock:
        return _turns.setdefault(engine, threading.Lock())


def _engine(url: str) -> Engine:
    parsed = _with_driver(make_url(url))
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True)
    if parsed.database in (None, "", ":memory:"):
        raise ConfigError("the database must be a file: what is in memory is not shared between threads")
    _create_private(Path(str(parsed.database)))
    engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": LOCK_SECONDS})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _with_driver(url: URL) -> URL:
    """`postgresql://` and `postgres://` mean psycopg 3, the driver that we test with."""
    is_plain = url.drivername in ("postgresql", "postgres")
    return url.set(drivername="postgresql+psycopg") if is_plain else url


def _create_private(path: Path) -> None:
    """The file, readable by its owner alone; its log and index files inherit that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _configure_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins no transactions of its own
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that writes before it reads waits for its turn and never sees a stale row."""
    at_once = connection.get_execution_options().get(IMMEDIATE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if at_once else "BEGIN")


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        _lock_migrations(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _lock_migrations(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "URL"


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DatabaseError) else error
    return str(cause).splitlines()[0]
