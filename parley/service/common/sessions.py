"""Signing in: a one-time link becomes a session, which lives in the store; the browser holds its cookie."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session, sessionmaker
from starlette.requests import Request
from starlette.responses import Response

from parley.service.common.settings import Settings
from parley.store.database import writing
from parley.store.logins import create_login_link, end_session, find_login, redeem, touch_session
from parley.store.users import User, owner

TOUCH_SECONDS: Final = 60  # `last_seen` is written at most this often


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody signed in, by the session with this number."""

    user: User
    session_id: int

    @property
    def id(self) -> str:
        """The account's id, by which everything that is theirs is found."""
        return self.user.id


def login_url(sessions: sessionmaker[Session], settings: Settings, *, user_id: str | None = None) -> str:
    """A fresh link that signs its first opener in, as the owner where nobody is named.

    It is a secret: print it, never log it.
    """
    now = _now()
    with writing(sessions) as session:
        token = create_login_link(
            session,
            user_id=user_id or owner(session, now=now).id,
            now=now,
            lifetime_seconds=settings.link_seconds,
        )
    return f"{settings.base_url.rstrip('/')}/login?token={token}"


def is_signed_in(request: Request, sessions: sessionmaker[Session], settings: Settings) -> bool:
    """Whether the request carries the cookie of a live session."""
    return signed_in(request, sessions, settings) is not None


def signed_in(request: Request, sessions: sessionmaker[Session], settings: Settings) -> Person | None:
    """Who sent the request: whose live session's cookie it carries, None where it carries none.

    A suspended account, one without the role `user`, is signed in nowhere.
    """
    cookie = request.cookies.get(settings.session_cookie)
    if not cookie:
        return None
    now = _now()
    with sessions() as session:
        login = find_login(session, cookie, now=now, idle_seconds=settings.session_idle_seconds)
    if login is None or "user" not in login[1].roles:
        return None
    found, user = login
    if now - found.last_seen >= TOUCH_SECONDS:
        with writing(sessions) as session:
            touch_session(session, found.id, now=now)
    return Person(user, found.id)


def sign_in(
    request: Request, response: Response, token: str, sessions: sessionmaker[Session], settings: Settings
) -> bool:
    """Puts a new session's cookie on `response`, if the link is good. The browser's old session ends."""
    with writing(sessions) as session:
        cookie = redeem(session, token, now=_now(), lifetime_seconds=settings.session_seconds)
        if cookie is None:
            return False
        end_session(session, request.cookies.get(settings.session_cookie, ""))
    response.set_cookie(
        settings.session_cookie,
        cookie,
        max_age=settings.session_seconds,
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="lax",
    )
    return True


def sign_out(
    request: Request, response: Response, sessions: sessionmaker[Session], settings: Settings
) -> None:
    """Ends the browser's session and takes its cookie back."""
    with writing(sessions) as session:
        end_session(session, request.cookies.get(settings.session_cookie, ""))
    response.delete_cookie(
        settings.session_cookie, path="/", secure=settings.secure, httponly=True, samesite="lax"
    )


def _now() -> int:
    return int(time.time())
