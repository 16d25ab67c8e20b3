"""Conversations: who owns them, what they are called, which branch of their tree is selected.

Every function is scoped by owner: somebody else's conversation is as unknown as one that never was.
A deleted conversation leaves its row, emptied, so that what learned from it can still be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Row,
    String,
    TableClause,
    bindparam,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import NotFound
from parley.store.schema import ID, Table, new_id

Kind = Literal["chat", "compare"]
TrainingUse = Literal["inherit", "no", "yes"]


class ConversationRow(Table):
    """One row a conversation, deleted ones too."""

    __tablename__ = "conversation"
    __table_args__ = (
        CheckConstraint("kind IN ('chat', 'compare')", name="conversation_kind"),
        CheckConstraint("training_use IN ('inherit', 'no', 'yes')", name="conversation_training_use"),
        Index("conversation_list", "owner_id", "deleted", "kind", "updated", "id"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(200))
    created: Mapped[int] = mapped_column(BigInteger)
    updated: Mapped[int] = mapped_column(BigInteger)
    training_use: Mapped[str] = mapped_column(String(10))
    closed: Mapped[int | None] = mapped_column(BigInteger)
    deleted: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(10))
    group_id: Mapped[str | None] = mapped_column(ID)
    """What the columns of one comparison page share."""
    release: Mapped[str | None] = mapped_column(String(200))
    """The release that answers here where a turn names none."""
    head_id: Mapped[str | None] = mapped_column(ID)
    """The leaf of the selected branch; no foreign key, since the message's points here."""


CONVERSATION: Final = cast(TableClause, ConversationRow.__table__)
"""The table itself: read as plain rows, which is quicker than as objects and always what is there now."""
OWNED: Final = select(CONVERSATION).where(
    CONVERSATION.c.id == bindparam("conversation"),
    CONVERSATION.c.owner_id == bindparam("owner"),
    CONVERSATION.c.deleted.is_(None),
)


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation without its messages. Times are in seconds since 1970."""

    id: str
    owner_id: str
    title: str
    created: int
    updated: int
    training_use: str
    closed: bool
    kind: str
    group: str | None
    release: str | None
    head_id: str | None


def create_conversation(
    session: Session, *, owner_id: str, kind: Kind, group: str | None, release: str | None, now: int
) -> StoredConversation:
    """A new conversation without messages."""
    row = ConversationRow(
        id=new_id(),
        owner_id=owner_id,
        title="",
        created=now,
        updated=now,
        training_use="inherit",
        kind=kind,
        group_id=group,
        release=release,
    )
    session.add(row)
    session.flush()
    return value(row)


def get_conversation(session: Session, conversation_id: str, *, owner_id: str) -> StoredConversation:
    """The owner's conversation. `NotFound` for an unknown, a deleted and a foreign one."""
    row = session.execute(OWNED, {"conversation": conversation_id, "owner": owner_id}).first()
    if row is None:
        raise NotFound("There is no such conversation.")
    return value(row)


def list_conversations(
    session: Session,
    *,
    owner_id: str,
    kind: Kind,
    before: tuple[int, str] | None,
    limit: int,
    group: str | None = None,
) -> tuple[StoredConversation, ...]:
    """Latest first; those after the one whose (`updated`, `id`) is `before`; of one group, if it is named."""
    wanted = select(ConversationRow).where(
        ConversationRow.owner_id == owner_id,
        ConversationRow.deleted.is_(None),
        ConversationRow.kind == kind,
    )
    if group is not None:
        wanted = wanted.where(ConversationRow.group_id == group)
    if before is not None:
        wanted = wanted.where(tuple_(ConversationRow.updated, ConversationRow.id) < tuple_(*before))
    ordered = wanted.order_by(ConversationRow.updated.desc(), ConversationRow.id.desc()).limit(limit)
    return tuple(map(value, session.scalars(ordered)))


def change_conversation(
    session: Session,
    conversation_id: str,
    *,
    owner_id: str,
    now: int,
    title: str | None = None,
    training_use: TrainingUse | None = None,
    closed: bool | None = None,
) -> StoredConversation:
    """The conversation with what is not None changed; its place in the list stays."""
    get_conversation(session, conversation_id, owner_id=owner_id)
    changes: dict[str, object] = {}
    if title is not None:
        changes["title"] = title
    if training_use is not None:
        changes["training_use"] = training_use
    if closed is not None:
        changes["closed"] = now if closed else None
    if changes:
        session.execute(
            update(ConversationRow).where(ConversationRow.id == conversation_id).values(**changes)
        )
    return get_conversation(session, conversation_id, owner_id=owner_id)


def select_head(session: Session, conversation_id: str, message_id: str) -> None:
    """Selects the branch that ends in this message."""
    session.execute(
        update(ConversationRow).where(ConversationRow.id == conversation_id).values(head_id=message_id)
    )


def value(row: ConversationRow | Row[Any]) -> StoredConversation:
    """The row as a value."""
    return StoredConversation(
        id=row.id,
        owner_id=row.owner_id,
        title=row.title,
        created=row.created,
        updated=row.updated,
        training_use=row.training_use,
        closed=row.closed is not None,
        kind=row.kind,
        group=row.group_id,
        release=row.release,
        head_id=row.head_id,
    )
