"""Stored values → what goes over the wire. What is still hidden from the person is left out here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from parley import labels
from parley.errors import NotFound
from parley.service.chat import wire
from parley.service.chat.comparisons import comparison_answer
from parley.service.chat.objections import objection_answer
from parley.service.chat.wire_feedback import Feedback
from parley.store import comparisons, feedback, objections
from parley.store.comparisons import StoredComparison
from parley.store.conversations import StoredConversation
from parley.store.messages import StoredMessage, branch, get_message, siblings
from parley.store.turns import StoredTurn

PAGE_MESSAGES: Final = 100


def verdict_answer(verdict: labels.Verdict) -> wire.Verdict:
    """What moderation said."""
    return wire.Verdict(
        action=verdict.action,
        categories=tuple(wire.CategoryScore(name=one.name, score=one.score) for one in verdict.categories),
        policy=verdict.policy,
        message=verdict.message,
    )


def feedback_answer(said: feedback.Feedback) -> Feedback:
    """What a person said of a message."""
    return Feedback.model_validate(said, from_attributes=True)


def conversation_row(conversation: StoredConversation) -> wire.ConversationRow:
    """A conversation as the history lists it."""
    return wire.ConversationRow.model_validate(conversation, from_attributes=True)


def conversation_answer(
    session: Session, conversation: StoredConversation, *, before: str | None = None
) -> wire.Conversation:
    """A conversation with a page of its selected branch: the newest, or those above message `before`."""
    leaf = conversation.head_id
    if before is not None:
        below = get_message(session, before, owner_id=conversation.owner_id)
        if below.conversation_id != conversation.id:
            raise NotFound("There is no such message in this conversation.")
        leaf = below.parent_id
    page = branch(session, leaf, limit=PAGE_MESSAGES) if leaf else ()
    return wire.Conversation(
        **dict(conversation_row(conversation)),
        messages=message_answers(session, page, owner_id=conversation.owner_id),
        before=page[0].id if page and page[0].parent_id else None,
    )


def message_answers(
    session: Session, messages: Sequence[StoredMessage], *, owner_id: str
) -> tuple[wire.Message, ...]:
    """Messages with what is known about each; a fixed number of queries, however many there are."""
    ids = [message.id for message in messages]
    beside = siblings(session, messages)
    said = feedback.feedback_of(session, owner_id, ids)
    against = objections.objections_of(session, owner_id, ids)
    compared = comparisons.comparisons_of(session, ids)
    return tuple(
        _message(one, beside[one.id], said.get(one.id), against.get(one.id), compared.get(one.id))
        for one in messages
    )


def message_answer(session: Session, message_id: str, *, owner_id: str) -> wire.Message:
    """One message of this person's."""
    found = get_message(session, message_id, owner_id=owner_id)
    return message_answers(session, [found], owner_id=owner_id)[0]


def turn_answer(session: Session, turn: StoredTurn, *, owner_id: str) -> wire.Turn:
    """What a turn made."""
    user, *replies = message_answers(session, [turn.user, *turn.replies], owner_id=owner_id)
    compared = turn.comparison
    comparison = comparison_answer(session, compared, owner_id=owner_id) if compared else None
    return wire.Turn(user=user, replies=tuple(replies), comparison=comparison)


def _message(
    message: StoredMessage,
    beside: tuple[str, ...],
    said: feedback.Feedback | None,
    against: objections.Objection | None,
    compared: StoredComparison | None,
) -> wire.Message:
    is_hidden = compared is not None and compared.kind == "versus" and compared.outcome is None
    author = {"kind": message.author_kind, "release": None if is_hidden else message.release}
    return wire.Message.model_validate(
        {
            "id": message.id,
            "conversation_id": message.conversation_id,
            "parent_id": message.parent_id,
            "role": message.role,
            "content": message.content,
            "state": message.state,
            "error": message.error,
            "author": author,
            "created": message.created,
            "generation_id": message.generation_id,
            "siblings": beside,
            "verdict": verdict_answer(message.verdict) if message.verdict else None,
            "feedback": feedback_answer(said) if said else None,
            "objection": objection_answer(against) if against else None,
            "comparison_id": compared.id if compared else None,
        }
    )
