"""Links that show a conversation as it was when they were made, to whoever has them.

The turns are copied: what is said later, on this branch or another, cannot be seen. The token is 128
random bits; it is kept as it is, so that its owner can copy the link again. A link goes with the
message that it ends in.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import BigInteger, ForeignKey, String, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import Gone, NotFound
from parley.store.schema import ID, Table, new_id

TOKEN_BYTES: Final = 16


class ShareRow(Table):
    """One row a link, revoked ones too. `turns` is JSON."""

    __tablename__ = "share"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    leaf_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), index=True)
    token: Mapped[str] = mapped_column(String(40), unique=True)
    title: Mapped[str] = mapped_column(String(200))
    turns: Mapped[str] = mapped_column(Text)
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int | None] = mapped_column(BigInteger)
    revoked: Mapped[int | None] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class SharedTurn:
    """One turn as it is shown; `release` wrote it, None where a person did."""

    role: str
    content: str
    release: str | None


@dataclass(frozen=True, slots=True)
class Share:
    """A link. Times are in seconds since 1970."""

    id: str
    conversation_id: str
    token: str
    title: str
    created: int
    expires: int | None
    revoked: int | None

    def __repr__(self) -> str:
        return f"Share({self.id!r}, token=…)"


@dataclass(frozen=True, slots=True)
class SharedConversation:
    """What the link shows."""

    title: str
    created: int
    turns: tuple[SharedTurn, ...]


def create_share(
    session: Session,
    *,
    user_id: str,
    conversation_id: str,
    leaf_id: str,
    title: str,
    turns: Sequence[SharedTurn],
    now: int,
    lifetime_seconds: int | None = None,
) -> Share:
    """A new link to these turns."""
    row = ShareRow(
        id=new_id(),
        user_id=user_id,
        conversation_id=conversation_id,
        leaf_id=leaf_id,
        token=secrets.token_urlsafe(TOKEN_BYTES),
        title=title,
        turns=json.dumps([asdict(turn) for turn in turns], ensure_ascii=False),
        created=now,
        expires=None if lifetime_seconds is None else now + lifetime_seconds,
        revoked=None,
    )
    session.add(row)
    session.flush()
    return _value(row)


def list_shares(session: Session, *, user_id: str) -> tuple[Share, ...]:
    """This person's links, newest first, revoked and expired ones too."""
    wanted = select(ShareRow).where(ShareRow.user_id == user_id).order_by(ShareRow.id.desc())
    return tuple(map(_value, session.scalars(wanted.execution_options(populate_existing=True))))


def revoke_share(session: Session, share_id: str, *, user_id: str, now: int) -> None:
    """Ends a link at once; what it showed is forgotten. Again changes nothing. `NotFound` for a foreign one."""
    mine = (ShareRow.id == share_id, ShareRow.user_id == user_id)
    session.execute(update(ShareRow).where(*mine, ShareRow.revoked.is_(None)).values(revoked=now, turns="[]"))
    if session.scalar(select(ShareRow.id).where(*mine)) is None:
        raise NotFound("There is no such link.")


def open_share(session: Session, token: str, *, now: int) -> SharedConversation:
    """What the link shows. `NotFound` for an unknown token, `Gone` for a revoked or expired one."""
    row = session.scalar(select(ShareRow).where(ShareRow.token == token))
    if row is None:
        raise NotFound("There is nothing under this link.")
    if row.revoked is not None:
        raise Gone("This link was taken back by the person who made it.")
    if row.expires is not None and row.expires <= now:
        raise Gone("This link has expired.")
    turns = tuple(SharedTurn(**turn) for turn in json.loads(row.turns))
    return SharedConversation(row.title, row.created, turns)


def _value(row: ShareRow) -> Share:
    return Share(row.id, row.conversation_id, row.token, row.title, row.created, row.expires, row.revoked)
