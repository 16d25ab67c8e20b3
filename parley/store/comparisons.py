"""Two answers to one message, side by side, and which of them the person took.

`drafts` are two of one release, `versus` is one each of two releases, whose names stay hidden until
the vote. Which stands left is drawn when they are made and stored here; a vote is given once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import Conflict, NotFound
from parley.store.schema import ID, Table, new_id

Kind = Literal["drafts", "versus"]
Outcome = Literal["left", "right", "tie", "both_bad"]


class ComparisonRow(Table):
    """One row a pair. `swapped`: the answer that was asked for second stands left."""

    __tablename__ = "comparison"
    __table_args__ = (
        CheckConstraint("kind IN ('drafts', 'versus')", name="comparison_kind"),
        CheckConstraint("outcome IN ('left', 'right', 'tie', 'both_bad')", name="comparison_outcome"),
        CheckConstraint("(outcome IS NULL) = (voted IS NULL)", name="comparison_voted"),
        CheckConstraint("left_id <> right_id", name="comparison_of_two"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))
    left_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), unique=True)
    right_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), unique=True)
    swapped: Mapped[bool]
    created: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(10))
    voted: Mapped[int | None] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """Two answers by their messages' ids, as they are shown, and the vote."""

    id: str
    kind: str
    left_id: str
    right_id: str
    swapped: bool
    outcome: str | None


def add_comparison(
    session: Session, *, user_id: str, kind: Kind, first: str, second: str, swapped: bool, now: int
) -> StoredComparison:
    """The answers `first` and `second` side by side; `swapped` shows the second one left."""
    left, right = (second, first) if swapped else (first, second)
    row = ComparisonRow(
        id=new_id(),
        user_id=user_id,
        kind=kind,
        left_id=left,
        right_id=right,
        swapped=swapped,
        created=now,
        outcome=None,
        voted=None,
    )
    session.add(row)
    session.flush()
    return _value(row)


def get_comparison(session: Session, comparison_id: str, *, user_id: str) -> StoredComparison:
    """This person's comparison. `NotFound` for an unknown and a foreign one."""
    row = session.scalar(
        select(ComparisonRow)
        .where(ComparisonRow.id == comparison_id, ComparisonRow.user_id == user_id)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("There is no such comparison.")
    return _value(row)


def comparisons_of(session: Session, message_ids: Sequence[str]) -> dict[str, StoredComparison]:
    """The comparisons that these messages stand in, by message."""
    either = or_(ComparisonRow.left_id.in_(message_ids), ComparisonRow.right_id.in_(message_ids))
    found = [_value(row) for row in session.scalars(select(ComparisonRow).where(either))]
    return {message_id: one for one in found for message_id in (one.left_id, one.right_id)}


def vote(
    session: Session, comparison_id: str, outcome: Outcome, *, user_id: str, now: int
) -> StoredComparison:
    """The comparison with its outcome. The same vote again changes nothing; another is a `Conflict`."""
    session.execute(
        update(ComparisonRow)
        .where(
            ComparisonRow.id == comparison_id,
            ComparisonRow.user_id == user_id,
            ComparisonRow.outcome.is_(None),
        )
        .values(outcome=outcome, voted=now)
    )
    voted = get_comparison(session, comparison_id, user_id=user_id)
    if voted.outcome != outcome:
        raise Conflict("There is a vote already, and a vote stays as it was given.")
    return voted


def _value(row: ComparisonRow) -> StoredComparison:
    return StoredComparison(row.id, row.kind, row.left_id, row.right_id, row.swapped, row.outcome)
