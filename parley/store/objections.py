"""What people say against moderation: that a warning or a block was wrong.

One row a person and message; it goes when the message goes. It changes no verdict: it is there for
whoever looks after the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, ForeignKey, Text, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.store.schema import ID, Table, new_id
from parley.store.upsert import upsert


class ObjectionRow(Table):
    """One row a person and message."""

    __tablename__ = "objection"
    __table_args__ = (UniqueConstraint("user_id", "message_id", name="objection_once"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), index=True)
    note: Mapped[str] = mapped_column(Text)
    changed: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class Objection:
    """That a verdict is wrong, and why. `changed` is in seconds since 1970."""

    message_id: str
    note: str
    changed: int


def object_to(session: Session, *, user_id: str, message_id: str, note: str, now: int) -> Objection:
    """Says so from now on, whatever was said before."""
    said = {"note": note, "changed": now}
    row = {"id": new_id(), "user_id": user_id, "message_id": message_id, **said}
    upsert(session, ObjectionRow, row, key=("user_id", "message_id"), change=said)
    return Objection(message_id, note, now)


def take_objection_back(session: Session, *, user_id: str, message_id: str) -> None:
    """Where nothing was said, nothing changes."""
    session.execute(
        delete(ObjectionRow).where(ObjectionRow.user_id == user_id, ObjectionRow.message_id == message_id)
    )


def objections_of(session: Session, user_id: str, message_ids: Sequence[str]) -> dict[str, Objection]:
    """What this person said against the verdicts on these messages, by message."""
    wanted = select(ObjectionRow).where(
        ObjectionRow.user_id == user_id, ObjectionRow.message_id.in_(message_ids)
    )
    found = session.scalars(wanted.execution_options(populate_existing=True))
    return {row.message_id: Objection(row.message_id, row.note, row.changed) for row in found}
