"""Signing in: a one-time link becomes a session, which lives in the store; the browser holds its cookie."""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy.orm import Session, sessionmaker
from starlette.requests import Request
from starlette.responses import Response

from parley.service.common.settings import Settings
from parley.store.logins import create_login_link, end_session, find_session, redeem, touch_session

TOUCH_SECONDS: Final = 60  # `last_seen` is written at most this often


def login_url(sessions: sessionmaker[Session], settings: Settings) -> str:
    """A fresh link that signs its first opener in. It is a secret: print it, never log it."""
    with sessions.begin() as session:
        token = create_login_link(session, now=_now(), lifetime_seconds=settings.link_seconds)
    return f"{settings.base_url.rstrip('/')}/login?token={token}"


def is_signed_in(request: Request, sessions: sessionmaker[Session], settings: Settings) -> bool:
    """Whether the request carries the cookie of a live session."""
    cookie = request.cookies.get(settings.session_cookie)
    if not cookie:
        return False
    now = _now()
    with sessions() as session:
        found = find_session(session, cookie, now=now, idle_seconds=settings.session_idle_seconds)
    if found and now - found.last_seen >= TOUCH_SECONDS:
        with sessions.begin() as session:
            touch_session(session, found.id, now=now)
    return found is not None


def sign_in(
    request: Request, response: Response, token: str, sessions: sessionmaker[Session], settings: Settings
) -> bool:
    """Puts a new session's cookie on `response`, if the link is good. The browser's old session ends."""
    with sessions.begin() as session:
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
    with sessions.begin() as session:
        end_session(session, request.cookies.get(settings.session_cookie, ""))
    response.delete_cookie(
        settings.session_cookie, path="/", secure=settings.secure, httponly=True, samesite="lax"
    )


def _now() -> int:
    return int(time.time())
