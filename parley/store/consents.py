"""Who lets their words be learnt from: off by default, for an account and for a single conversation.

A row is a grant of one version of the text; withdrawing ends it and keeps it, so the rows are their
own history and their ids can stand in what was learnt from. A conversation says `inherit` (as the
account), `no`, or `yes` (alone, and only with a grant of its own).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    String,
    case,
    func,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.store.conversations import ConversationRow
from parley.store.schema import ID, Table, new_id


class ConsentRow(Table):
    """One row a grant; without a conversation it is the account's."""

    __tablename__ = "consent"
    __table_args__ = (Index("consent_of", "user_id", "conversation_id", "withdrawn"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    conversation_id: Mapped[str | None] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    text_version: Mapped[str] = mapped_column(String(20))
    granted: Mapped[int] = mapped_column(BigInteger)
    withdrawn: Mapped[int | None] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class Grant:
    """A consent that was given, and perhaps withdrawn. Times are in seconds since 1970."""

    id: str
    text_version: str
    granted: int
    withdrawn: int | None


def grant(
    session: Session, *, user_id: str, text_version: str, now: int, conversation_id: str | None = None
) -> Grant:
    """Consent to this text. A grant of the same text stays; one of another text is followed by this."""
    found = live_grant(session, user_id=user_id, conversation_id=conversation_id)
    if found is not None and found.text_version == text_version:
        return found
    withdraw(session, user_id=user_id, now=now, conversation_id=conversation_id)
    row = ConsentRow(
        id=new_id(),
        user_id=user_id,
        conversation_id=conversation_id,
        text_version=text_version,
        granted=now,
        withdrawn=None,
    )
    session.add(row)
    session.flush()
    return _value(row)


def withdraw(session: Session, *, user_id: str, now: int, conversation_id: str | None = None) -> None:
    """Ends the consent. Where there is none, nothing changes."""
    session.execute(
        update(ConsentRow)
        .where(*_of(user_id, conversation_id), ConsentRow.withdrawn.is_(None))
        .values(withdrawn=now)
    )


def set_for_conversation(
    session: Session, *, user_id: str, conversation_id: str, training_use: str, text_version: str, now: int
) -> None:
    """Keeps a conversation's own grant in step with its `training_use`: `yes` has one, the others none."""
    if training_use == "yes":
        grant(session, user_id=user_id, text_version=text_version, now=now, conversation_id=conversation_id)
    else:
        withdraw(session, user_id=user_id, now=now, conversation_id=conversation_id)


def live_grant(session: Session, *, user_id: str, conversation_id: str | None = None) -> Grant | None:
    """The consent in force, None where there is none."""
    wanted = select(ConsentRow).where(*_of(user_id, conversation_id), ConsentRow.withdrawn.is_(None))
    row = session.scalar(wanted.order_by(ConsentRow.id.desc()).limit(1))
    return _value(row) if row else None


def grants(session: Session, *, user_id: str, conversation_id: str | None = None) -> tuple[Grant, ...]:
    """Every grant there was, oldest first."""
    wanted = select(ConsentRow).where(*_of(user_id, conversation_id)).order_by(ConsentRow.id)
    return tuple(map(_value, session.scalars(wanted.execution_options(populate_existing=True))))


def last_change(session: Session, *, user_id: str) -> int | None:
    """When the account's consent was given or withdrawn last."""
    moment = func.max(func.coalesce(ConsentRow.withdrawn, ConsentRow.granted))
    return session.scalar(select(moment).where(*_of(user_id, None)))


def consented() -> Select[str, str, str]:
    """Every conversation that may be learnt from now: its id, its owner's, and the grant's."""
    live = ConsentRow.withdrawn.is_(None)
    account = (
        select(func.max(ConsentRow.id))
        .where(ConsentRow.user_id == ConversationRow.owner_id, ConsentRow.conversation_id.is_(None), live)
        .correlate(ConversationRow)
        .scalar_subquery()
    )
    alone = (
        select(func.max(ConsentRow.id))
        .where(ConsentRow.user_id == ConversationRow.owner_id, live)
        .where(ConsentRow.conversation_id == ConversationRow.id)
        .correlate(ConversationRow)
        .scalar_subquery()
    )
    granted = case(
        (ConversationRow.training_use == "inherit", account),
        (ConversationRow.training_use == "yes", func.coalesce(alone, account)),
    )
    return select(
        ConversationRow.id.label("conversation_id"),
        ConversationRow.owner_id.label("owner_id"),
        granted.label("consent_id"),
    ).where(ConversationRow.deleted.is_(None), granted.is_not(None))


def _of(user_id: str, conversation_id: str | None) -> tuple[ColumnElement[bool], ...]:
    return (ConsentRow.user_id == user_id, ConsentRow.conversation_id.is_not_distinct_from(conversation_id))


def _value(row: ConsentRow) -> Grant:
    return Grant(row.id, row.text_version, row.granted, row.withdrawn)
