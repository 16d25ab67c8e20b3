"""A person's conversations: the history, one of them, its title, its branch, its end."""

from __future__ import annotations

import re
import time
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from parley.errors import Unacceptable
from parley.service.chat.answers import conversation_answer, conversation_row, message_answer
from parley.service.chat.consent import consent_text
from parley.service.chat.wire import (
    Conversation,
    ConversationAsk,
    ConversationChange,
    ConversationKind,
    ConversationRow,
    Conversations,
    HeadAsk,
    Message,
)
from parley.service.common.deps import Caller, WithSeams, person
from parley.service.common.wire import ErrorAnswer, Id
from parley.store import conversations as stored
from parley.store import generations, messages, turns
from parley.store.consents import set_for_conversation
from parley.store.conversations import StoredConversation
from parley.store.database import writing

CURSOR: Final = re.compile(r"(\d{1,18})\.([0-9a-f-]{36})", re.ASCII)

router = APIRouter(
    prefix="/api",
    tags=["conversations"],
    dependencies=[Depends(person)],
    responses={"default": {"model": ErrorAnswer}},
)


@router.get("/conversations")
def list_conversations(
    caller: Caller,
    seams: WithSeams,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    kind: ConversationKind = "chat",
    group: Id | None = None,
) -> Conversations:
    """The caller's conversations, latest first; of one comparison, where its group is named."""
    with seams.sessions() as session:
        page = stored.list_conversations(
            session, owner_id=caller.id, kind=kind, before=_position(before), limit=limit + 1, group=group
        )
    rows, more = page[:limit], len(page) > limit
    return Conversations(
        conversations=tuple(map(conversation_row, rows)), before=_cursor(rows[-1]) if more else None
    )


@router.post("/conversations", status_code=201)
def create_conversation(ask: ConversationAsk, caller: Caller, seams: WithSeams) -> ConversationRow:
    """A new conversation, without messages."""
    if ask.release is not None:
        seams.release(ask.release)
    with writing(seams.sessions) as session:
        return conversation_row(
            stored.create_conversation(
                session,
                owner_id=caller.id,
                kind=ask.kind,
                group=ask.group,
                release=ask.release,
                now=int(time.time()),
            )
        )


@router.get("/conversations/{conversation_id}")
def get_conversation(
    conversation_id: Id, caller: Caller, seams: WithSeams, before: Id | None = None
) -> Conversation:
    """A conversation with the newest messages of its selected branch, or those above `before`."""
    with seams.sessions() as session:
        found = stored.get_conversation(session, conversation_id, owner_id=caller.id)
        return conversation_answer(session, found, before=before)


@router.patch("/conversations/{conversation_id}")
def change_conversation(
    conversation_id: Id, ask: ConversationChange, caller: Caller, seams: WithSeams
) -> ConversationRow:
    """Another title, another use in training, closed or open again."""
    now = int(time.time())
    with writing(seams.sessions) as session:
        changed = stored.change_conversation(
            session,
            conversation_id,
            owner_id=caller.id,
            now=now,
            title=" ".join(ask.title.split()) if ask.title else None,
            training_use=ask.training_use,
            closed=ask.closed,
        )
        if ask.training_use is not None:
            set_for_conversation(
                session,
                user_id=caller.id,
                conversation_id=conversation_id,
                training_use=ask.training_use,
                text_version=consent_text().version,
                now=now,
            )
        return conversation_row(changed)


@router.delete("/conversations/{conversation_id}", status_code=204)
def delete_conversation(conversation_id: Id, caller: Caller, seams: WithSeams) -> None:
    """What was said is gone at once; what is being written is stopped."""
    with writing(seams.sessions) as session:
        stored.get_conversation(session, conversation_id, owner_id=caller.id)
        in_progress = generations.pending_in(session, conversation_id)
        messages.forget_conversation(session, conversation_id, owner_id=caller.id, now=int(time.time()))
    seams.desk.stop(in_progress)


@router.put("/conversations/{conversation_id}/head")
def select_head(conversation_id: Id, ask: HeadAsk, caller: Caller, seams: WithSeams) -> Conversation:
    """Selects the branch through a message, down to its latest leaf."""
    with writing(seams.sessions) as session:
        turns.select_branch(session, conversation_id, ask.message_id, owner_id=caller.id)
        found = stored.get_conversation(session, conversation_id, owner_id=caller.id)
        return conversation_answer(session, found)


@router.get("/messages/{message_id}")
def get_message(message_id: Id, caller: Caller, seams: WithSeams) -> Message:
    """Any message of the caller's, on the selected branch or not."""
    with seams.sessions() as session:
        return message_answer(session, message_id, owner_id=caller.id)


def _cursor(last: StoredConversation) -> str:
    return f"{last.updated}.{last.id}"


def _position(before: str | None) -> tuple[int, str] | None:
    if before is None:
        return None
    match = CURSOR.fullmatch(before)
    if match is None:
        raise Unacceptable("'before' is not one that this list gave out; leave it out to start at the top.")
    return int(match[1]), match[2]
