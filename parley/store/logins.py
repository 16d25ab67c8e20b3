"""One-time login links, and the sessions that they open.

A link can be redeemed once: the row is claimed by one conditional UPDATE, so that of two people
who open it at the same moment exactly one gets in.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, String, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.store.schema import Table, digest, new_secret


class LoginLinkRow(Table):
    """One row a link; rows that expired are swept when the next one is made."""

    __tablename__ = "login_link"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int | None] = mapped_column(BigInteger)


class LoginSessionRow(Table):
    """One row a signed-in browser; the row goes when the session ends."""

    __tablename__ = "login_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)
    last_seen: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A signed-in browser. Times are in seconds since 1970."""

    id: int
    created: int
    expires: int
    last_seen: int


def create_login_link(session: Session, *, now: int, lifetime_seconds: int) -> str:
    """The token of a fresh link."""
    session.execute(delete(LoginLinkRow).where(LoginLinkRow.expires <= now))
    token = new_secret()
    expires = now + lifetime_seconds
    session.add(LoginLinkRow(hash=digest(token), created=now, expires=expires, used=None))
    session.flush()
    return token


def redeem(session: Session, token: str, *, now: int, lifetime_seconds: int) -> str | None:
    """The cookie token of a new session, or None where the link is unknown, used or expired."""
    claimed = session.scalar(
        update(LoginLinkRow)
        .where(LoginLinkRow.hash == digest(token), LoginLinkRow.used.is_(None), LoginLinkRow.expires > now)
        .values(used=now)
        .returning(LoginLinkRow.id)
    )
    if claimed is None:
        return None
    session.execute(delete(LoginSessionRow).where(LoginSessionRow.expires <= now))
    cookie = new_secret()
    expires = now + lifetime_seconds
    session.add(LoginSessionRow(hash=digest(cookie), created=now, expires=expires, last_seen=now))
    session.flush()
    return cookie


def find_session(session: Session, cookie: str, *, now: int, idle_seconds: int) -> LoginSession | None:
    """The live session of this cookie; None for an unknown, expired or long idle one."""
    row = session.scalar(
        select(LoginSessionRow).where(
            LoginSessionRow.hash == digest(cookie),
            LoginSessionRow.expires > now,
            LoginSessionRow.last_seen > now - idle_seconds,
        )
    )
    return LoginSession(row.id, row.created, row.expires, row.last_seen) if row else None


def touch_session(session: Session, session_id: int, *, now: int) -> None:
    """Notes that the session was in use."""
    session.execute(update(LoginSessionRow).where(LoginSessionRow.id == session_id).values(last_seen=now))


def end_session(session: Session, cookie: str) -> None:
    """Signs this browser out. An unknown cookie changes nothing."""
    session.execute(delete(LoginSessionRow).where(LoginSessionRow.hash == digest(cookie)))
