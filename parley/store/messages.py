"""Messages: one row each, a tree by `parent_id`, immutable once final.

An edit or a regeneration makes a sibling; nothing is ever overwritten. What is walked is walked by
the database, never row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Row,
    String,
    TableClause,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import NotFound
from parley.labels import Verdict
from parley.store.conversations import CONVERSATION, ConversationRow, get_conversation
from parley.store.schema import ID, Table
from parley.store.verdicts import verdict_from_json, verdict_to_json

AuthorKind = Literal["user", "model", "trainer"]
MessageState = Literal["pending", "complete", "stopped", "length", "blocked", "failed"]
SAID: Final = ("complete", "stopped", "length")
"""The states of a message whose words anybody may read who may read the conversation."""
STATES: Final = ", ".join(f"'{state}'" for state in get_args(MessageState))
"""All of them, as SQL lists them."""


class MessageRow(Table):
    """One row a message. `depth` counts from 1 at a root."""

    __tablename__ = "message"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant')", name="message_role"),
        CheckConstraint("author_kind IN ('user', 'model', 'trainer')", name="message_author_kind"),
        CheckConstraint(f"state IN ({STATES})", name="message_state"),
        Index("message_children", "parent_id", "id"),
        Index("message_roots", "conversation_id", "parent_id", "id"),
        Index("message_client", "conversation_id", "client_id", unique=True),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("message.id"))
    depth: Mapped[int]
    role: Mapped[str] = mapped_column(String(20))
    content: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10))
    error: Mapped[str | None] = mapped_column(Text)
    """A sentence for the person, where the state needs one."""
    author_kind: Mapped[str] = mapped_column(String(10))
    release: Mapped[str | None] = mapped_column(String(200))
    """Which release wrote it."""
    generation_id: Mapped[str | None] = mapped_column(ID)
    """How it is being, or was, written; no foreign key, since the generation's points here."""
    created: Mapped[int] = mapped_column(BigInteger)
    client_id: Mapped[str | None] = mapped_column(String(100))
    """What the page called the request that made this message, so that asking twice makes one."""
    verdict: Mapped[str | None] = mapped_column(Text)
    """JSON of a `labels.Verdict` that was not `allow`."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message. `created` is in seconds since 1970."""

    id: str
    conversation_id: str
    parent_id: str | None
    depth: int
    role: str
    content: str
    state: str
    error: str | None
    author_kind: str
    release: str | None
    generation_id: str | None
    created: int
    client_id: str | None
    verdict: Verdict | None


MESSAGE: Final = cast(TableClause, MessageRow.__table__)
"""The table itself: read as plain rows, which is quicker than as objects and always what is there now."""
OWNED: Final = (
    select(MESSAGE)
    .join(CONVERSATION, CONVERSATION.c.id == MESSAGE.c.conversation_id)
    .where(
        MESSAGE.c.id == bindparam("message_id"),
        CONVERSATION.c.owner_id == bindparam("owner"),
        CONVERSATION.c.deleted.is_(None),
    )
)
NAMED: Final = select(MESSAGE).where(
    MESSAGE.c.conversation_id == bindparam("conversation"), MESSAGE.c.client_id == bindparam("client")
)
BESIDE: Final = select(MESSAGE.c.parent_id, MESSAGE.c.conversation_id, MESSAGE.c.id).order_by(MESSAGE.c.id)
CHILDREN: Final = BESIDE.where(MESSAGE.c.parent_id.in_(bindparam("parents", expanding=True)))
ROOTS: Final = BESIDE.where(
    MESSAGE.c.conversation_id.in_(bindparam("grown", expanding=True)), MESSAGE.c.parent_id.is_(None)
)
COUNT_CHILDREN: Final = (
    select(func.count()).select_from(MESSAGE).where(MESSAGE.c.parent_id == bindparam("parent"))
)
COUNT_ROOTS: Final = (
    select(func.count())
    .select_from(MESSAGE)
    .where(MESSAGE.c.conversation_id == bindparam("conversation"), MESSAGE.c.parent_id.is_(None))
)
ADD: Final = insert(MESSAGE)
COLUMNS: Final = tuple(column.name for column in MESSAGE.c)


def add_message(session: Session, message: StoredMessage) -> StoredMessage:
    """Writes a new message down."""
    row = {name: getattr(message, name) for name in COLUMNS}
    row["verdict"] = verdict_to_json(message.verdict) if message.verdict else None
    session.execute(ADD, row)
    return message


def get_message(session: Session, message_id: str, *, owner_id: str) -> StoredMessage:
    """The owner's message. `NotFound` for an unknown and for a foreign one."""
    row = session.execute(OWNED, {"message_id": message_id, "owner": owner_id}).first()
    if row is None:
        raise NotFound("There is no such message.")
    return value(row)


def branch(session: Session, leaf_id: str, *, limit: int) -> tuple[StoredMessage, ...]:
    """The newest `limit` messages from the leaf towards its root, oldest first."""
    up = (
        select(MessageRow.id, MessageRow.parent_id, literal(1).label("step"))
        .where(MessageRow.id == leaf_id)
        .cte("up", recursive=True)
    )
    up = up.union_all(
        select(MessageRow.id, MessageRow.parent_id, up.c.step + 1)
        .join(up, MessageRow.id == up.c.parent_id)
        .where(up.c.step < limit)
    )
    rows = session.execute(select(MESSAGE).join(up, MESSAGE.c.id == up.c.id).order_by(up.c.step.desc()))
    return tuple(map(value, rows))


def latest_leaf(session: Session, message: StoredMessage) -> str:
    """The newest leaf below this message; itself where nothing follows it.

    One look at all that is deeper: PostgreSQL walks down a tree badly, a query for each level.
    """
    deeper = select(MESSAGE.c.id, MESSAGE.c.parent_id).where(
        MESSAGE.c.conversation_id == message.conversation_id, MESSAGE.c.depth > message.depth
    )
    below, parents = {message.id}, set()
    for child, parent in session.execute(deeper.order_by(MESSAGE.c.depth)):
        if parent in below:
            below.add(child)
            parents.add(parent)
    return max(below - parents)


def siblings(session: Session, messages: Sequence[StoredMessage]) -> Mapping[str, tuple[str, ...]]:
    """For each message the ids of all that share its parent, itself included, in order."""
    families: dict[str, list[str]] = {}
    parents = {message.parent_id for message in messages if message.parent_id is not None}
    for parent, _, child in session.execute(CHILDREN, {"parents": sorted(parents)}) if parents else ():
        families.setdefault(parent, []).append(child)
    grown = {message.conversation_id for message in messages if message.parent_id is None}
    for _, conversation, child in session.execute(ROOTS, {"grown": sorted(grown)}) if grown else ():
        families.setdefault(conversation, []).append(child)
    return {one.id: tuple(families[one.parent_id or one.conversation_id]) for one in messages}


def count_siblings(session: Session, conversation_id: str, parent_id: str | None) -> int:
    """How many messages have this parent; with None, how many roots the conversation has."""
    if parent_id is not None:
        return session.scalar(COUNT_CHILDREN, {"parent": parent_id}) or 0
    return session.scalar(COUNT_ROOTS, {"conversation": conversation_id}) or 0


def find_by_client(session: Session, conversation_id: str, client_id: str) -> StoredMessage | None:
    """What an earlier request of this name made here."""
    row = session.execute(NAMED, {"conversation": conversation_id, "client": client_id}).first()
    return value(row) if row else None


def first_replies(session: Session, user_message_id: str) -> tuple[StoredMessage, ...]:
    """The replies that the turn itself made; a regeneration's carry a client id of their own."""
    rows = session.execute(
        select(MESSAGE)
        .where(MESSAGE.c.parent_id == user_message_id, MESSAGE.c.client_id.is_(None))
        .order_by(MESSAGE.c.id)
    )
    return tuple(map(value, rows))


def forget_conversation(session: Session, conversation_id: str, *, owner_id: str, now: int) -> None:
    """Deletes a conversation: what was said is gone at once, the emptied row stays."""
    get_conversation(session, conversation_id, owner_id=owner_id)
    session.execute(delete(MessageRow).where(MessageRow.conversation_id == conversation_id))
    session.execute(
        update(ConversationRow)
        .where(ConversationRow.id == conversation_id)
        .values(deleted=now, title="", head_id=None)
    )


def value(row: MessageRow | Row[Any]) -> StoredMessage:
    """The row as a value."""
    return StoredMessage(
        id=row.id,
        conversation_id=row.conversation_id,
        parent_id=row.parent_id,
        depth=row.depth,
        role=row.role,
        content=row.content,
        state=row.state,
        error=row.error,
        author_kind=row.author_kind,
        release=row.release,
        generation_id=row.generation_id,
        created=row.created,
        client_id=row.client_id,
        verdict=verdict_from_json(row.verdict) if row.verdict else None,
    )
