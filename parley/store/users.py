"""People and what they may do.

The owner is the first user: the one whom the one-time link signs in. Every account that may use the
service has the role `user`; taking it away suspends the account at its next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import NotFound
from parley.store.schema import ID, Table

Role = Literal["user", "trainer", "reviewer", "moderator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
OWNER_ID: Final = "00000000-0000-7000-8000-000000000000"
"""The owner's id is known, so that two processes that meet an empty database make one owner."""


class UserRow(Table):
    """One row a person."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    language: Mapped[str | None] = mapped_column(String(10))
    preview_seen: Mapped[bool]
    created: Mapped[int] = mapped_column(BigInteger)


class RoleGrantRow(Table):
    """One row a person and role; the row goes when the role is taken away."""

    __tablename__ = "role_grant"
    __table_args__ = (
        CheckConstraint(
            "role IN ('user', 'trainer', 'reviewer', 'moderator', 'admin')", name="role_grant_role"
        ),
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(20), primary_key=True)
    granted: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class User:
    """A person. `created` is in seconds since 1970."""

    id: str
    name: str
    language: str | None
    preview_seen: bool
    created: int
    roles: frozenset[str]


def create_user(session: Session, *, user_id: str, name: str, roles: tuple[Role, ...], now: int) -> User:
    """A new person with these roles."""
    session.add(UserRow(id=user_id, name=name[:200], language=None, preview_seen=False, created=now))
    session.flush()
    session.add_all(RoleGrantRow(user_id=user_id, role=role, granted=now) for role in roles)
    session.flush()
    return find_user(session, user_id)


def owner(session: Session, *, now: int) -> User:
    """The owner, made where there is none yet."""
    if session.get(UserRow, OWNER_ID) is None:
        try:
            with session.begin_nested():
                create_user(session, user_id=OWNER_ID, name="", roles=("user", "admin"), now=now)
        except IntegrityError:
            pass  # another process was first
    return find_user(session, OWNER_ID)


def find_user(session: Session, user_id: str) -> User:
    """The person with this id. `NotFound` where there is none."""
    row = session.get(UserRow, user_id, populate_existing=True)
    if row is None:
        raise NotFound("There is no such account.")
    granted = session.scalars(select(RoleGrantRow.role).where(RoleGrantRow.user_id == user_id))
    return User(row.id, row.name, row.language, row.preview_seen, row.created, frozenset(granted))


def change_user(
    session: Session,
    user_id: str,
    *,
    name: str | None = None,
    language: str | None = None,
    preview_seen: bool | None = None,
) -> User:
    """The person with what is not None changed."""
    changes = {"name": name, "language": language, "preview_seen": preview_seen}
    given = {field: value for field, value in changes.items() if value is not None}
    if given:
        session.execute(update(UserRow).where(UserRow.id == user_id).values(given))
    return find_user(session, user_id)


def grant_role(session: Session, user_id: str, role: Role, *, now: int) -> None:
    """Gives a role. Giving it again changes nothing."""
    if session.get(RoleGrantRow, (user_id, role)) is None:
        session.add(RoleGrantRow(user_id=user_id, role=role, granted=now))
        session.flush()


def revoke_role(session: Session, user_id: str, role: Role) -> None:
    """Takes a role away, at the person's next request and within half a minute from open streams."""
    session.execute(delete(RoleGrantRow).where(RoleGrantRow.user_id == user_id, RoleGrantRow.role == role))
