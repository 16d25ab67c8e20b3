"""Links that show a conversation to others: `/api/shares` for who made them, `/api/shared` for all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from parley.errors import NotFound, Unacceptable
from parley.service.chat.wire_sharing import Share, ShareAsk, SharedConversation, SharedMessage, Shares
from parley.service.common.deps import Caller, Seams, WithSeams
from parley.service.common.settings import DAY_SECONDS
from parley.service.common.wire import ErrorAnswer, Id
from parley.store import shares as store
from parley.store.comparisons import comparisons_of
from parley.store.conversations import get_conversation
from parley.store.database import writing
from parley.store.messages import SAID, StoredMessage, branch, get_message

MAX_TURNS: Final = 10_000

router = APIRouter(prefix="/api", tags=["sharing"], responses={"default": {"model": ErrorAnswer}})


@router.post("/conversations/{conversation_id}/shares", status_code=201)
def create(conversation_id: Id, ask: ShareAsk, caller: Caller, seams: WithSeams) -> Share:
    """A link to the selected branch as it is now, or to the branch that ends in one message."""
    with writing(seams.sessions) as session:
        conversation = get_conversation(session, conversation_id, owner_id=caller.id)
        turns = _turns(session, conversation_id, ask.message_id or conversation.head_id, caller.id)
        made = store.create_share(
            session,
            user_id=caller.id,
            conversation_id=conversation_id,
            leaf_id=turns[-1].id,
            title=conversation.title,
            turns=tuple(_shown(session, turns)),
            now=int(time.time()),
            lifetime_seconds=ask.days * DAY_SECONDS if ask.days else None,
        )
    return _answer(made, seams)


@router.get("/shares")
def list_shares(caller: Caller, seams: WithSeams) -> Shares:
    """The links that this person made, newest first, ended ones too."""
    with seams.sessions() as session:
        found = store.list_shares(session, user_id=caller.id)
    return Shares(shares=tuple(_answer(one, seams) for one in found))


@router.delete("/shares/{share_id}", status_code=204)
def revoke(share_id: Id, caller: Caller, seams: WithSeams) -> Response:
    """Takes a link back, at once."""
    with writing(seams.sessions) as session:
        store.revoke_share(session, share_id, user_id=caller.id, now=int(time.time()))
    return Response(status_code=204)


@router.get("/shared/{token}")
def shared(token: Id, seams: WithSeams, response: Response) -> SharedConversation:
    """What a link shows, to whoever has it. 410 where it was taken back or has expired."""
    response.headers["x-robots-tag"] = "noindex, nofollow"
    with seams.sessions() as session:
        found = store.open_share(session, token, now=int(time.time()))
    messages = tuple(SharedMessage.model_validate(turn, from_attributes=True) for turn in found.turns)
    return SharedConversation(title=found.title, created=found.created, messages=messages)


def _turns(
    session: Session, conversation_id: str, leaf_id: str | None, owner_id: str
) -> Sequence[StoredMessage]:
    """What may be read on this branch: nothing that is unfinished, failed or blocked."""
    if leaf_id is None:
        raise Unacceptable("There is nothing to share yet.")
    if get_message(session, leaf_id, owner_id=owner_id).conversation_id != conversation_id:
        raise NotFound("There is no such message in this conversation.")
    turns = [message for message in branch(session, leaf_id, limit=MAX_TURNS) if message.state in SAID]
    if not turns:
        raise Unacceptable("There is nothing to share yet.")
    return turns


def _shown(session: Session, turns: Sequence[StoredMessage]) -> Iterator[store.SharedTurn]:
    """Who wrote an answer is left out while a blind vote is open."""
    compared = comparisons_of(session, [turn.id for turn in turns])
    for turn in turns:
        beside = compared.get(turn.id)
        is_hidden = beside is not None and beside.kind == "versus" and beside.outcome is None
        yield store.SharedTurn(turn.role, turn.content, None if is_hidden else turn.release)


def _answer(share: store.Share, seams: Seams) -> Share:
    return Share(
        id=share.id,
        conversation_id=share.conversation_id,
        url=f"{seams.settings.base_url.rstrip('/')}/s/{share.token}",
        title=share.title,
        created=share.created,
        expires=share.expires,
        revoked=share.revoked,
    )
