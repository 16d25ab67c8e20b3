"""The queue between what people said of answers and what is learnt from.

A thumb with "what it should have said" waits here as a demonstration, a thumb down without one as a
prompt that deserves a better answer, a vote as a comparison. Somebody who may accepts or rejects it;
only what was accepted is ever told to a run, and only while the person's consent is in force.
A candidate holds no words of its own: it points to rows, and goes when they go. Its hash names the
words that were seen when it was decided; other words put it back into the queue.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Select,
    String,
    UniqueConstraint,
    delete,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from parley.errors import Conflict, NotFound
from parley.store.comparisons import StoredComparison
from parley.store.consents import consented
from parley.store.feedback import Feedback
from parley.store.messages import MessageRow
from parley.store.schema import ID, Table, new_id
from parley.store.upsert import upsert

Kind = Literal["demonstration", "comparison", "prompt"]
State = Literal["waiting", "accepted", "rejected"]
PAGE: Final = 50


class CandidateRow(Table):
    """One row a thing that could be learnt from. `message_id` is the answer that it is about."""

    __tablename__ = "candidate"
    __table_args__ = (
        UniqueConstraint("feedback_id", name="candidate_feedback"),
        UniqueConstraint("comparison_id", name="candidate_comparison"),
        CheckConstraint("kind IN ('demonstration', 'comparison', 'prompt')", name="candidate_kind"),
        CheckConstraint("state IN ('waiting', 'accepted', 'rejected')", name="candidate_state"),
        CheckConstraint("(state = 'waiting') = (decided IS NULL)", name="candidate_decided"),
        CheckConstraint("(feedback_id IS NULL) <> (comparison_id IS NULL)", name="candidate_of_one"),
        Index("candidate_queue", "state", "id"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"))
    feedback_id: Mapped[str | None] = mapped_column(ForeignKey("feedback.id", ondelete="CASCADE"))
    comparison_id: Mapped[str | None] = mapped_column(ForeignKey("comparison.id", ondelete="CASCADE"))
    content_hash: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(10))
    created: Mapped[int] = mapped_column(BigInteger)
    decided: Mapped[int | None] = mapped_column(BigInteger)
    decided_by: Mapped[str | None] = mapped_column(String(100))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that could be learnt from. `source_id` is its feedback or its comparison."""

    id: str
    kind: str
    user_id: str
    message_id: str
    source_id: str
    content_hash: str
    state: str
    created: int
    decided: int | None
    decided_by: str | None


def queue_feedback(session: Session, feedback: Feedback, *, user_id: str, now: int) -> None:
    """Puts feedback into the queue, takes it out again, or leaves it as it stands there.

    What was decided stays decided as long as the words are the same.
    """
    kind: Kind | None = "demonstration" if feedback.ideal else "prompt" if feedback.value == "down" else None
    if kind is None:
        session.execute(delete(CandidateRow).where(CandidateRow.feedback_id == feedback.id))
        return
    seen = content_hash(kind, feedback.message_id, feedback.ideal)
    row = _row(kind, user_id, feedback.message_id, seen, now) | {"feedback_id": feedback.id}
    _put(session, row, CandidateRow.feedback_id)


def queue_vote(session: Session, comparison: StoredComparison, *, user_id: str, now: int) -> None:
    """Puts a vote into the queue."""
    seen = content_hash("comparison", comparison.left_id, comparison.right_id, comparison.outcome or "")
    row = _row("comparison", user_id, comparison.left_id, seen, now) | {"comparison_id": comparison.id}
    _put(session, row, CandidateRow.comparison_id)


def content_hash(*parts: str) -> str:
    """A name for what was seen. Messages never change, so their ids stand for their words."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def list_candidates(
    session: Session, *, state: State, after: str | None = None, limit: int = PAGE
) -> tuple[Candidate, ...]:
    """Those whose person's consent is in force, oldest first, behind candidate `after`."""
    wanted = _consented().where(CandidateRow.state == state).order_by(CandidateRow.id).limit(limit)
    if after is not None:
        wanted = wanted.where(CandidateRow.id > after)
    return tuple(map(_value, session.scalars(wanted.execution_options(populate_existing=True))))


def decide(
    session: Session, candidate_id: str, *, accept: bool, content_hash: str, by: str, now: int
) -> Candidate:
    """Accepts or rejects what was seen, also after another decision.

    `Conflict` where the words changed since; `NotFound` where there is no such candidate or the
    consent is not in force.
    """
    row = session.scalar(_consented().where(CandidateRow.id == candidate_id))
    if row is None:
        raise NotFound("There is no such candidate in the queue, or its person withdrew their consent.")
    changed = session.scalar(
        update(CandidateRow)
        .where(CandidateRow.id == candidate_id, CandidateRow.content_hash == content_hash)
        .values(state="accepted" if accept else "rejected", decided=now, decided_by=by[:100])
        .returning(CandidateRow.id)
    )
    if changed is None:
        raise Conflict("This candidate's words were changed meanwhile; look at it again.")
    session.refresh(row)
    return _value(row)


def _consented() -> Select[CandidateRow]:
    allowed = consented().subquery()
    return (
        select(CandidateRow)
        .join(MessageRow, MessageRow.id == CandidateRow.message_id)
        .join(allowed, allowed.c.conversation_id == MessageRow.conversation_id)
    )


def _row(kind: Kind, user_id: str, message_id: str, seen: str, now: int) -> dict[str, object]:
    return {
        "id": new_id(),
        "kind": kind,
        "user_id": user_id,
        "message_id": message_id,
        "content_hash": seen,
        "state": "waiting",
        "created": now,
        "decided": None,
        "decided_by": None,
    }


def _put(session: Session, row: dict[str, object], key: InstrumentedAttribute[str | None]) -> None:
    found = session.scalar(select(CandidateRow.content_hash).where(key == row[key.key]))
    if found != row["content_hash"]:
        change = {name: row[name] for name in ("kind", "content_hash", "state", "decided", "decided_by")}
        upsert(session, CandidateRow, row, key=(key.key,), change=change)


def _value(row: CandidateRow) -> Candidate:
    source = row.feedback_id or row.comparison_id
    assert source is not None
    return Candidate(
        row.id,
        row.kind,
        row.user_id,
        row.message_id,
        source,
        row.content_hash,
        row.state,
        row.created,
        row.decided,
        row.decided_by,
    )
