"""Bearer keys for `/v1`: created (shown once), found, listed, revoked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, String, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import ConfigError, NotFound
from parley.store.schema import Table, digest, new_secret

Scope = Literal["chat", "moderate"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PREFIX: Final = "parley_"  # lets people and scanners recognise a leaked key


class ApiKeyRow(Table):
    """One row a key, revoked ones too."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint("scope IN ('chat', 'moderate')", name="api_key_scope"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    last_four: Mapped[str] = mapped_column(String(4))
    scope: Mapped[str] = mapped_column(String(20))
    label: Mapped[str] = mapped_column(String(200))
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int | None] = mapped_column(BigInteger)
    revoked: Mapped[int | None] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown. Times are in seconds since 1970."""

    id: int
    last_four: str
    scope: str
    label: str
    created: int
    expires: int | None
    revoked: int | None

    def is_live(self, now: int) -> bool:
        """Neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its secret, which nobody can show a second time."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key!r}, secret=…)"


def create_key(
    session: Session, *, scope: Scope, label: str, now: int, lifetime_seconds: int | None = None
) -> NewKey:
    """A new key and, this once, its secret."""
    if scope not in SCOPES:
        raise ConfigError(f"a key's scope is one of {', '.join(SCOPES)}, not '{scope}'")
    secret = new_secret(PREFIX)
    row = ApiKeyRow(
        hash=digest(secret),
        last_four=secret[-4:],
        scope=scope,
        label=label[:200],
        created=now,
        expires=None if lifetime_seconds is None else now + lifetime_seconds,
        revoked=None,
    )
    session.add(row)
    session.flush()
    return NewKey(_value(row), secret)


def find_key(session: Session, secret: str, *, now: int) -> ApiKey | None:
    """The live key with this secret; None for an unknown, expired or revoked one."""
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.hash == digest(secret)))
    key = _value(row) if row else None
    return key if key and key.is_live(now) else None


def list_keys(session: Session) -> tuple[ApiKey, ...]:
    """All keys, oldest first."""
    return tuple(map(_value, session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.id))))


def revoke_key(session: Session, key_id: int, *, now: int) -> None:
    """Ends a key at once. Revoking it again changes nothing; `NotFound` where there is none."""
    changed = session.scalar(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked.is_(None))
        .values(revoked=now)
        .returning(ApiKeyRow.id)
    )
    if changed is None and session.get(ApiKeyRow, key_id) is None:
        raise NotFound(f"there is no key {key_id}; list the keys to see which there are")


def _value(row: ApiKeyRow) -> ApiKey:
    return ApiKey(row.id, row.last_four, row.scope, row.label, row.created, row.expires, row.revoked)
