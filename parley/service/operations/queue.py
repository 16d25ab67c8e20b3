"""The queue between what people said of answers and what is learnt from: `/api/queue`."""

from __future__ import annotations

import time
from typing import Final

from fastapi import APIRouter, Response

from parley.service.common.deps import Admin, WithSeams
from parley.service.common.wire import ErrorAnswer, Id
from parley.service.operations.wire_queue import Decision, Queue, QueuedMessage, QueueItem, State
from parley.store.candidates import decide
from parley.store.database import writing
from parley.store.messages import StoredMessage
from parley.store.training import Material, materials

PAGE: Final = 20

router = APIRouter(prefix="/api/queue", tags=["queue"], responses={"default": {"model": ErrorAnswer}})


@router.get("")
def show(
    caller: Admin,
    seams: WithSeams,
    state: State = "waiting",
    after: Id | None = None,
) -> Queue:
    """What waits, or was decided, oldest first: only of people whose consent is in force."""
    del caller
    with seams.sessions() as session:
        page = materials(session, state=state, after=after, limit=PAGE)
    return Queue(items=tuple(map(_item, page.materials)), after=page.after)


@router.post("/{candidate_id}", status_code=204)
def decide_one(candidate_id: Id, ask: Decision, caller: Admin, seams: WithSeams) -> Response:
    """Accepts or rejects one. 409 where its words were changed since they were read."""
    with writing(seams.sessions) as session:
        decide(
            session,
            candidate_id,
            accept=ask.accept,
            content_hash=ask.content_hash,
            by=caller.id,
            now=int(time.time()),
        )
    return Response(status_code=204)


def _item(material: Material) -> QueueItem:
    candidate, said = material.candidate, material.feedback
    return QueueItem.model_validate(
        {
            "id": candidate.id,
            "kind": candidate.kind,
            "state": candidate.state,
            "created": candidate.created,
            "person": candidate.user_id,
            "history": tuple(map(_message, material.history)),
            "answers": tuple(map(_message, material.answers)),
            "reasons": said.reasons if said else (),
            "note": said.note if said else "",
            "ideal": said.ideal if said else "",
            "outcome": material.outcome,
            "content_hash": candidate.content_hash,
            "decided": candidate.decided,
            "decided_by": candidate.decided_by,
        }
    )


def _message(message: StoredMessage) -> QueuedMessage:
    return QueuedMessage.model_validate(message, from_attributes=True)
