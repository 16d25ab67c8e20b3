"""One-time links and login sessions."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from parley.store.logins import create_login_link, end_session, find_login, redeem, touch_session
from parley.store.users import owner
from tests.databases import only

NOW = 1_700_000_000
DAY = 86_400


def link(sessions: sessionmaker[Session], now: int = NOW) -> str:
    with sessions.begin() as session:
        return create_login_link(session, user_id=owner(session, now=now).id, now=now, lifetime_seconds=300)


def sign_in(sessions: sessionmaker[Session], token: str, now: int = NOW) -> str | None:
    with sessions.begin() as session:
        return redeem(session, token, now=now, lifetime_seconds=30 * DAY)


def is_signed_in(sessions: sessionmaker[Session], cookie: str, now: int = NOW) -> bool:
    with sessions() as session:
        return find_login(session, cookie, now=now, idle_seconds=7 * DAY) is not None


def test_a_link_opens_one_session(sessions: sessionmaker[Session]) -> None:
    token = link(sessions)
    cookie = sign_in(sessions, token)
    assert cookie
    assert cookie != token
    assert is_signed_in(sessions, cookie)
    assert not is_signed_in(sessions, token)
    assert sign_in(sessions, token) is None


def test_a_link_expires(sessions: sessionmaker[Session]) -> None:
    token = link(sessions)
    assert sign_in(sessions, token, NOW + 300) is None
    assert sign_in(sessions, token, NOW + 299)


def test_an_unknown_link_opens_nothing(sessions: sessionmaker[Session]) -> None:
    assert sign_in(sessions, "nonsense") is None
    assert sign_in(sessions, "") is None


def test_of_many_who_redeem_at_once_one_wins(sessions: sessionmaker[Session]) -> None:
    for _ in range(5):
        token = link(sessions)
        cookies: list[str | None] = []
        start = threading.Barrier(6)

        def race(
            token: str = token, start: threading.Barrier = start, cookies: list[str | None] = cookies
        ) -> None:
            start.wait(timeout=10)
            cookies.append(sign_in(sessions, token))

        threads = [threading.Thread(target=race) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert len(cookies) == 6
        assert sum(cookie is not None for cookie in cookies) == 1


def test_a_session_ends_by_age_by_idleness_and_by_signing_out(sessions: sessionmaker[Session]) -> None:
    cookie = sign_in(sessions, link(sessions))
    assert cookie
    assert is_signed_in(sessions, cookie, NOW + 7 * DAY - 1)
    assert not is_signed_in(sessions, cookie, NOW + 7 * DAY)
    with sessions.begin() as session:
        touch_session(session, 1, now=NOW + 29 * DAY)
    assert is_signed_in(sessions, cookie, NOW + 30 * DAY - 1)
    assert not is_signed_in(sessions, cookie, NOW + 30 * DAY)
    with sessions.begin() as session:
        end_session(session, cookie)
    assert not is_signed_in(sessions, cookie)


def test_what_expired_is_swept(sessions: sessionmaker[Session]) -> None:
    sign_in(sessions, link(sessions))
    later = NOW + 31 * DAY
    sign_in(sessions, link(sessions, later), later)
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM login_link")) == 1
        assert session.scalar(text("SELECT count(*) FROM login_session")) == 1


@only("sqlite")
def test_no_token_is_in_a_file(sessions: sessionmaker[Session], tmp_path: Path) -> None:
    token = link(sessions)
    cookie = sign_in(sessions, token)
    assert cookie
    written = b"".join(file.read_bytes() for file in (tmp_path / "home").iterdir())
    assert token.encode() not in written
    assert cookie.encode() not in written
