"""What people say against moderation: `/api/messages/{id}/objection`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response

from parley.errors import Conflict
from parley.service.chat.wire_feedback import Objection, ObjectionAsk
from parley.service.common.deps import Caller, WithSeams
from parley.service.common.wire import ErrorAnswer, Id
from parley.store import objections as store
from parley.store.database import writing
from parley.store.messages import get_message

router = APIRouter(
    prefix="/api/messages/{message_id}/objection",
    tags=["feedback"],
    responses={"default": {"model": ErrorAnswer}},
)


def objection_answer(said: store.Objection) -> Objection:
    """What a person said against a verdict."""
    return Objection.model_validate(said, from_attributes=True)


@router.put("")
def object_to(message_id: Id, ask: ObjectionAsk, caller: Caller, seams: WithSeams) -> Objection:
    """Says that the warning about this message, or its block, is wrong."""
    with writing(seams.sessions) as session:
        if get_message(session, message_id, owner_id=caller.id).verdict is None:
            raise Conflict(
                "There was no warning about this message and no block; there is nothing to object to."
            )
        said = store.object_to(
            session, user_id=caller.id, message_id=message_id, note=ask.note, now=int(time.time())
        )
    return objection_answer(said)


@router.delete("", status_code=204)
def take_back(message_id: Id, caller: Caller, seams: WithSeams) -> Response:
    """Takes it back. Where nothing was said, nothing changes."""
    with writing(seams.sessions) as session:
        get_message(session, message_id, owner_id=caller.id)
        store.take_objection_back(session, user_id=caller.id, message_id=message_id)
    return Response(status_code=204)
