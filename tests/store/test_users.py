"""People and their roles."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import NotFound
from parley.store.database import writing
from parley.store.schema import new_id
from parley.store.users import (
    OWNER_ID,
    UserRow,
    change_user,
    create_user,
    find_user,
    grant_role,
    owner,
    revoke_role,
)

NOW = 1_700_000_000


def test_there_is_one_owner_however_many_ask_first(sessions: sessionmaker[Session]) -> None:
    found: list[str] = []
    barrier = threading.Barrier(6)

    def ask() -> None:
        barrier.wait(timeout=20)
        with writing(sessions) as session:
            found.append(owner(session, now=NOW).id)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == [OWNER_ID] * 6
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(UserRow)) == 1
        assert find_user(session, OWNER_ID).roles == {"user", "admin"}


def test_roles_are_given_and_taken_away(sessions: sessionmaker[Session]) -> None:
    with writing(sessions) as session:
        made = create_user(session, user_id=new_id(), name="Ana", roles=("user",), now=NOW)
        grant_role(session, made.id, "trainer", now=NOW)
        grant_role(session, made.id, "trainer", now=NOW + 1)
        assert find_user(session, made.id).roles == {"user", "trainer"}
        revoke_role(session, made.id, "user")
        revoke_role(session, made.id, "moderator")
        assert find_user(session, made.id).roles == {"trainer"}


def test_what_is_not_named_stays(sessions: sessionmaker[Session]) -> None:
    with writing(sessions) as session:
        made = create_user(session, user_id=new_id(), name="Ana", roles=(), now=NOW)
        assert change_user(session, made.id) == made
        changed = change_user(session, made.id, language="tr", preview_seen=True)
        assert (changed.name, changed.language, changed.preview_seen) == ("Ana", "tr", True)
        assert not change_user(session, made.id, preview_seen=False).preview_seen


def test_who_is_not_there_is_not_found(sessions: sessionmaker[Session]) -> None:
    with sessions() as session, pytest.raises(NotFound):
        find_user(session, "nobody")
