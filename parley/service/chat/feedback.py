"""What people say of answers: `/api/messages/{id}/feedback`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response

from parley.errors import Conflict, Unacceptable
from parley.service.chat.wire_feedback import Feedback, FeedbackAsk, FeedbackEntry, FeedbackHistory
from parley.service.common.deps import Caller, WithSeams
from parley.service.common.wire import ErrorAnswer, Id
from parley.store import feedback as store
from parley.store.candidates import queue_feedback
from parley.store.database import writing
from parley.store.messages import SAID, StoredMessage, get_message

router = APIRouter(
    prefix="/api/messages/{message_id}/feedback",
    tags=["feedback"],
    responses={"default": {"model": ErrorAnswer}},
)


def feedback_answer(said: store.Feedback) -> Feedback:
    """What a person said of a message."""
    return Feedback.model_validate(said, from_attributes=True)


@router.put("")
def give(message_id: Id, ask: FeedbackAsk, caller: Caller, seams: WithSeams) -> Feedback:
    """Says this of the answer from now on; what was said before is in the history."""
    now = int(time.time())
    with writing(seams.sessions) as session:
        _refuse_what_is_no_answer(get_message(session, message_id, owner_id=caller.id))
        said = store.give_feedback(
            session,
            user_id=caller.id,
            message_id=message_id,
            value=ask.value,
            reasons=ask.reasons,
            note=ask.note,
            ideal=ask.ideal,
            now=now,
        )
        queue_feedback(session, said, user_id=caller.id, now=now)
    return feedback_answer(said)


@router.delete("", status_code=204)
def take_back(message_id: Id, caller: Caller, seams: WithSeams) -> Response:
    """Takes it back. Where nothing was said, nothing changes."""
    with writing(seams.sessions) as session:
        get_message(session, message_id, owner_id=caller.id)
        store.take_feedback_back(session, user_id=caller.id, message_id=message_id, now=int(time.time()))
    return Response(status_code=204)


@router.get("/history")
def history(message_id: Id, caller: Caller, seams: WithSeams) -> FeedbackHistory:
    """Everything that this person said of the answer, oldest first."""
    with seams.sessions() as session:
        get_message(session, message_id, owner_id=caller.id)
        steps = store.feedback_history(session, user_id=caller.id, message_id=message_id)
    return FeedbackHistory(
        entries=tuple(
            FeedbackEntry(at=step.at, feedback=feedback_answer(step.feedback) if step.feedback else None)
            for step in steps
        )
    )


def _refuse_what_is_no_answer(message: StoredMessage) -> None:
    if message.role != "assistant":
        raise Unacceptable("Feedback is about an answer; this is a message of yours.")
    if message.state not in SAID:
        raise Conflict("There is no finished answer yet to say something about.")
