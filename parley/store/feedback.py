"""What people say of an answer: a thumb, reasons, a note, what it should have said.

One row a person and message, and every step of it in a history. It goes when the message goes.
Nothing here is learnt from: what could be waits in the queue of `store.candidates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, Text, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.store.schema import ID, Table, new_id
from parley.store.upsert import upsert

Value = Literal["up", "down"]
Reason = Literal["harmful", "false", "unhelpful", "too_long", "other"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class FeedbackRow(Table):
    """One row a person and message. `reasons` are names with commas between them."""

    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("user_id", "message_id", name="feedback_once"),
        CheckConstraint("value IN ('up', 'down')", name="feedback_value"),
        CheckConstraint("value = 'down' OR reasons = ''", name="feedback_reasons"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), index=True)
    value: Mapped[str] = mapped_column(String(4))
    reasons: Mapped[str] = mapped_column(String(100))
    note: Mapped[str] = mapped_column(Text)
    ideal: Mapped[str] = mapped_column(Text)
    changed: Mapped[int] = mapped_column(BigInteger)


class FeedbackChangeRow(Table):
    """One row a step; `value` is null where the feedback was taken back."""

    __tablename__ = "feedback_change"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), index=True)
    value: Mapped[str | None] = mapped_column(String(4))
    reasons: Mapped[str] = mapped_column(String(100))
    note: Mapped[str] = mapped_column(Text)
    ideal: Mapped[str] = mapped_column(Text)
    at: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person said of a message."""

    id: str
    message_id: str
    value: str
    reasons: tuple[str, ...]
    note: str
    ideal: str
    changed: int


@dataclass(frozen=True, slots=True)
class FeedbackStep:
    """What it was changed to; None where it was taken back."""

    at: int
    feedback: Feedback | None


def give_feedback(
    session: Session,
    *,
    user_id: str,
    message_id: str,
    value: Value,
    reasons: Sequence[Reason],
    note: str,
    ideal: str,
    now: int,
) -> Feedback:
    """What this person says of the message from now on, whatever they said before."""
    said = {
        "value": value,
        "reasons": ",".join(reason for reason in REASONS if reason in reasons),
        "note": note,
        "ideal": ideal,
        "changed": now,
    }
    row = {"id": new_id(), "user_id": user_id, "message_id": message_id, **said}
    upsert(session, FeedbackRow, row, key=("user_id", "message_id"), change=said)
    del said["changed"]
    session.add(FeedbackChangeRow(id=new_id(), user_id=user_id, message_id=message_id, at=now, **said))
    session.flush()
    return feedback_of(session, user_id, [message_id])[message_id]


def take_feedback_back(session: Session, *, user_id: str, message_id: str, now: int) -> bool:
    """Whether there was something to take back."""
    mine = (FeedbackRow.user_id == user_id, FeedbackRow.message_id == message_id)
    if session.scalar(delete(FeedbackRow).where(*mine).returning(FeedbackRow.id)) is None:
        return False
    session.add(
        FeedbackChangeRow(
            id=new_id(),
            user_id=user_id,
            message_id=message_id,
            value=None,
            reasons="",
            note="",
            ideal="",
            at=now,
        )
    )
    session.flush()
    return True


def feedback_of(session: Session, user_id: str, message_ids: Sequence[str]) -> dict[str, Feedback]:
    """What this person said of these messages, by message."""
    wanted = select(FeedbackRow).where(
        FeedbackRow.user_id == user_id, FeedbackRow.message_id.in_(message_ids)
    )
    found = session.scalars(wanted.execution_options(populate_existing=True))
    return {row.message_id: _value(row) for row in found}


def feedback_history(session: Session, *, user_id: str, message_id: str) -> tuple[FeedbackStep, ...]:
    """Every step, oldest first."""
    steps = session.scalars(
        select(FeedbackChangeRow)
        .where(FeedbackChangeRow.user_id == user_id, FeedbackChangeRow.message_id == message_id)
        .order_by(FeedbackChangeRow.id)
    )
    return tuple(FeedbackStep(row.at, _step(row)) for row in steps)


def _value(row: FeedbackRow) -> Feedback:
    reasons = tuple(filter(None, row.reasons.split(",")))
    return Feedback(row.id, row.message_id, row.value, reasons, row.note, row.ideal, row.changed)


def _step(row: FeedbackChangeRow) -> Feedback | None:
    if row.value is None:
        return None
    reasons = tuple(filter(None, row.reasons.split(",")))
    return Feedback(row.id, row.message_id, row.value, reasons, row.note, row.ideal, row.at)
