"""Two answers side by side and the person's vote: `/api/comparisons`."""

from __future__ import annotations

import time

from fastapi import APIRouter
from sqlalchemy.orm import Session

from parley.errors import Conflict
from parley.service.chat.wire_feedback import ComparisonRow, VoteAsk
from parley.service.common.deps import Caller, WithSeams
from parley.service.common.wire import ErrorAnswer, Id
from parley.store import comparisons as store
from parley.store.candidates import queue_vote
from parley.store.database import writing
from parley.store.messages import SAID, StoredMessage, get_message
from parley.store.turns import select_branch

router = APIRouter(
    prefix="/api/comparisons", tags=["feedback"], responses={"default": {"model": ErrorAnswer}}
)


def comparison_answer(
    session: Session, comparison: store.StoredComparison, *, owner_id: str
) -> ComparisonRow:
    """The two answers; who wrote them is told once there is a vote."""
    left, right = _sides(session, comparison, owner_id)
    revealed = (left.release or "", right.release or "") if comparison.outcome else None
    return ComparisonRow.model_validate(
        {
            "id": comparison.id,
            "kind": comparison.kind,
            "left": left.id,
            "right": right.id,
            "outcome": comparison.outcome,
            "revealed": revealed,
        }
    )


@router.get("/{comparison_id}")
def show(comparison_id: Id, caller: Caller, seams: WithSeams) -> ComparisonRow:
    """Two answers of this person's, and the vote where there is one."""
    with seams.sessions() as session:
        found = store.get_comparison(session, comparison_id, user_id=caller.id)
        return comparison_answer(session, found, owner_id=caller.id)


@router.put("/{comparison_id}/vote")
def vote(comparison_id: Id, ask: VoteAsk, caller: Caller, seams: WithSeams) -> ComparisonRow:
    """The vote, once. The conversation goes on from the side that was chosen."""
    now = int(time.time())
    with writing(seams.sessions) as session:
        found = store.get_comparison(session, comparison_id, user_id=caller.id)
        sides = dict(zip(("left", "right"), _sides(session, found, caller.id), strict=True))
        _refuse_what_cannot_be_compared(*sides.values())
        voted = store.vote(session, comparison_id, ask.outcome, user_id=caller.id, now=now)
        queue_vote(session, voted, user_id=caller.id, now=now)
        chosen = sides.get(ask.outcome)
        if chosen is not None and found.outcome is None:
            select_branch(session, chosen.conversation_id, chosen.id, owner_id=caller.id)
        return comparison_answer(session, voted, owner_id=caller.id)


def _sides(
    session: Session, comparison: store.StoredComparison, owner_id: str
) -> tuple[StoredMessage, StoredMessage]:
    left = get_message(session, comparison.left_id, owner_id=owner_id)
    return left, get_message(session, comparison.right_id, owner_id=owner_id)


def _refuse_what_cannot_be_compared(left: StoredMessage, right: StoredMessage) -> None:
    if "pending" in (left.state, right.state):
        raise Conflict("One of the two answers is still being written; wait for it, or stop it.")
    if left.state not in SAID or right.state not in SAID:
        raise Conflict("One of the two answers could not be given, so there is nothing to choose between.")
