"""One-time login links, and the sessions that they open.

A link can be redeemed once: the row is claimed by one conditional UPDATE, so that of two people
who open it at the same moment exactly one gets in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import BigInteger, ForeignKey, String, TableClause, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.store.schema import Table, digest, new_secret
from parley.store.users import RoleGrantRow, User, UserRow


class LoginLinkRow(Table):
    """One row a link; rows that expired are swept when the next one is made."""

    __tablename__ = "login_link"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int | None] = mapped_column(BigInteger)


class LoginSessionRow(Table):
    """One row a signed-in browser; the row goes when the session ends."""

    __tablename__ = "login_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)
    last_seen: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A signed-in browser. Times are in seconds since 1970."""

    id: int
    user_id: str
    created: int
    expires: int
    last_seen: int


SESSION: Final = cast(TableClause, LoginSessionRow.__table__)
USER: Final = cast(TableClause, UserRow.__table__)
GRANT: Final = cast(TableClause, RoleGrantRow.__table__)
LOGIN: Final = (
    select(
        SESSION,
        USER.c.name,
        USER.c.language,
        USER.c.preview_seen,
        USER.c.created.label("user_created"),
        GRANT.c.role,
    )
    .join(USER, USER.c.id == SESSION.c.user_id)
    .outerjoin(GRANT, GRANT.c.user_id == USER.c.id)
    .where(
        SESSION.c.hash == bindparam("hash"),
        SESSION.c.expires > bindparam("now"),
        SESSION.c.last_seen > bindparam("idle"),
    )
)


def create_login_link(session: Session, *, user_id: str, now: int, lifetime_seconds: int) -> str:
    """The token of a fresh link that signs this person in."""
    session.execute(delete(LoginLinkRow).where(LoginLinkRow.expires <= now))
    token = new_secret()
    expires = now + lifetime_seconds
    session.add(LoginLinkRow(hash=digest(token), user_id=user_id, created=now, expires=expires, used=None))
    session.flush()
    return token


def redeem(session: Session, token: str, *, now: int, lifetime_seconds: int) -> str | None:
    """The cookie token of a new session, or None where the link is unknown, used or expired."""
    user_id = session.scalar(
        update(LoginLinkRow)
        .where(LoginLinkRow.hash == digest(token), LoginLinkRow.used.is_(None), LoginLinkRow.expires > now)
        .values(used=now)
        .returning(LoginLinkRow.user_id)
    )
    if user_id is None:
        return None
    session.execute(delete(LoginSessionRow).where(LoginSessionRow.expires <= now))
    cookie = new_secret()
    expires = now + lifetime_seconds
    session.add(
        LoginSessionRow(hash=digest(cookie), user_id=user_id, created=now, expires=expires, last_seen=now)
    )
    session.flush()
    return cookie


def find_login(
    session: Session, cookie: str, *, now: int, idle_seconds: int
) -> tuple[LoginSession, User] | None:
    """The live session of this cookie and whose it is, in one question to the database."""
    given = {"hash": digest(cookie), "now": now, "idle": now - idle_seconds}
    rows = session.execute(LOGIN, given).all()
    if not rows:
        return None
    row = rows[0]
    roles = frozenset(one.role for one in rows if one.role is not None)
    user = User(row.user_id, row.name, row.language, row.preview_seen, row.user_created, roles)
    return LoginSession(row.id, row.user_id, row.created, row.expires, row.last_seen), user


def touch_session(session: Session, session_id: int, *, now: int) -> None:
    """Notes that the session was in use."""
    session.execute(update(LoginSessionRow).where(LoginSessionRow.id == session_id).values(last_seen=now))


def end_session(session: Session, cookie: str) -> None:
    """Signs this browser out. An unknown cookie changes nothing."""
    session.execute(delete(LoginSessionRow).where(LoginSessionRow.hash == digest(cookie)))
