"""Bearer keys."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import ConfigError, NotFound
from parley.store.keys import ApiKeyRow, Scope, create_key, find_key, list_keys, revoke_key
from tests.databases import only

NOW = 1_700_000_000


def test_a_key_is_found_by_its_secret_alone(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        new = create_key(session, scope="chat", label="laptop", now=NOW)
    with sessions() as session:
        assert find_key(session, new.secret, now=NOW) == new.key
        assert find_key(session, new.secret[:-1], now=NOW) is None
        assert find_key(session, "", now=NOW) is None
        assert find_key(session, "\ud800", now=NOW) is None
    assert (new.key.label, new.key.scope, new.key.last_four) == ("laptop", "chat", new.secret[-4:])


def test_secrets_are_long_different_and_not_shown_by_accident(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        made = [create_key(session, scope="chat", label="", now=NOW) for _ in range(20)]
    assert len({new.secret for new in made}) == 20
    assert all(len(new.secret) >= 43 for new in made)
    assert made[0].secret not in repr(made[0])


def test_an_expired_key_is_not_found(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        new = create_key(session, scope="chat", label="", now=NOW, lifetime_seconds=60)
    with sessions() as session:
        assert find_key(session, new.secret, now=NOW + 59)
        assert find_key(session, new.secret, now=NOW + 60) is None


def test_a_revoked_key_is_not_found_and_keeps_its_first_date(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        new = create_key(session, scope="chat", label="", now=NOW)
    for later in (5, 9):
        with sessions.begin() as session:
            revoke_key(session, new.key.id, now=NOW + later)
    with sessions() as session:
        assert find_key(session, new.secret, now=NOW + 5) is None
        assert [key.revoked for key in list_keys(session)] == [NOW + 5]


def test_revoking_a_key_that_is_not_there_is_an_error(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, pytest.raises(NotFound, match="no key 7"):
        revoke_key(session, 7, now=NOW)


def test_an_unknown_scope_is_refused_by_the_code_and_by_the_table(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, pytest.raises(ConfigError, match="chat, moderate"):
        create_key(session, scope=cast(Scope, "root"), label="", now=NOW)
    with sessions() as session:
        session.add(ApiKeyRow(hash="h", last_four="abcd", scope="root", label="", created=NOW))
        with pytest.raises(IntegrityError):
            session.flush()


@only("sqlite")
def test_the_secret_is_in_no_file(sessions: sessionmaker[Session], tmp_path: Path) -> None:
    with sessions.begin() as session:
        secret = create_key(session, scope="chat", label="laptop", now=NOW).secret
    written = b"".join(file.read_bytes() for file in (tmp_path / "home").iterdir())
    assert b"laptop" in written
    assert secret.encode() not in written
    assert secret.removeprefix("parley_").encode() not in written
