"""A person's turn: their message and the replies that are to be written, all or nothing.

The rules of the tree stand here: who may follow whom, how deep, how many side by side, how many
replies at once. They are checked in the transaction that also writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from parley.errors import Busy, Conflict, NotFound, Unacceptable
from parley.labels import Verdict
from parley.ports import Sampling
from parley.store.comparisons import StoredComparison, add_comparison, comparisons_of
from parley.store.conversations import (
    CONVERSATION,
    ConversationRow,
    StoredConversation,
    get_conversation,
)
from parley.store.generations import NewReply, add_generation, count_turns_in_progress
from parley.store.messages import (
    StoredMessage,
    add_message,
    count_siblings,
    find_by_client,
    first_replies,
    get_message,
    latest_leaf,
)
from parley.store.schema import new_id
from parley.store.users import UserRow

TITLE_CHARACTERS: Final = 60
SEED_BITS: Final = 31
TOUCH: Final = (
    update(CONVERSATION)
    .where(CONVERSATION.c.id == bindparam("conversation"))
    .values({name: bindparam(name) for name in ("head_id", "title", "updated")})
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """How large a conversation's tree may grow, and how much of it may grow at once."""

    depth: int = 10_000
    siblings: int = 100
    turns: int = 2
    """Of one person, in progress at once; a turn with two replies is one."""
    columns: int = 4
    """The same, for conversations of the kind `compare`."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Who writes a reply, and how."""

    release: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Side:
    """Two replies side by side: of what kind, and whether the second stands left."""

    kind: Literal["drafts", "versus"]
    swapped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTurn:
    """What a person said. Two `answering` need a `side`; a blocked message has no `answering`."""

    conversation_id: str
    parent_id: str | None
    content: str
    client_id: str
    verdict: Verdict
    answering: Sequence[Answering]
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A person's message and the replies to it; `to_write` is empty where the turn was there already."""

    user: StoredMessage
    replies: tuple[StoredMessage, ...]
    comparison: StoredComparison | None
    to_write: tuple[NewReply, ...]


def begin_turn(
    session: Session, turn: NewTurn, *, owner_id: str, limits: TreeLimits, writer: str, now: int
) -> StoredTurn:
    """Writes the turn down, and selects it. The same `client_id` again finds what it made."""
    conversation = _hold(session, turn.conversation_id, owner_id)
    earlier = find_by_client(session, conversation.id, turn.client_id)
    if earlier is not None:
        return _earlier(session, earlier, turn)
    parent = _parent(session, conversation, turn.parent_id, owner_id)
    _refuse_too_large(session, conversation, parent, limits)
    _refuse_too_many(session, conversation, limits)
    user = add_message(session, _said(conversation, parent, turn, now))
    made = [
        _add_reply(
            session,
            conversation,
            user,
            one,
            hidden=turn.side is not None and turn.side.kind == "versus",
            client_id=None,
            writer=writer,
            now=now,
        )
        for one in turn.answering
    ]
    replies = tuple(reply for reply, _ in made)
    comparison = _side_by_side(session, replies, turn.side, owner_id, now) if turn.side else None
    title = title_of(turn.content) if not conversation.title and turn.answering else conversation.title
    _touch(session, conversation, head_id=(*replies[:1], user)[0].id, title=title, now=now)
    return StoredTurn(user, replies, comparison, tuple(new for _, new in made))


def begin_regeneration(
    session: Session,
    message_id: str,
    answering: Answering,
    *,
    client_id: str,
    owner_id: str,
    limits: TreeLimits,
    writer: str,
    now: int,
) -> StoredTurn:
    """A sibling of a reply, and selects it. The same `client_id` again finds what it made."""
    old = get_message(session, message_id, owner_id=owner_id)
    conversation = _hold(session, old.conversation_id, owner_id)
    if old.role != "assistant" or old.parent_id is None:
        raise Unacceptable("Only a reply can be written again; to change what you said, edit it.")
    asking = get_message(session, old.parent_id, owner_id=owner_id)
    earlier = find_by_client(session, conversation.id, client_id)
    if earlier is not None:
        if earlier.parent_id != asking.id:
            raise Conflict(
                "This request was made before, for another message; send it under a new client_id."
            )
        comparison = comparisons_of(session, [earlier.id]).get(earlier.id)
        return StoredTurn(asking, (earlier,), comparison, ())
    _refuse_closed(conversation)
    _refuse_siblings(session, conversation, asking.id, limits)
    _refuse_too_many(session, conversation, limits)
    reply, new = _add_reply(
        session, conversation, asking, answering, hidden=False, client_id=client_id, writer=writer, now=now
    )
    _touch(session, conversation, head_id=reply.id, title=conversation.title, now=now)
    return StoredTurn(asking, (reply,), None, (new,))


def select_branch(session: Session, conversation_id: str, message_id: str, *, owner_id: str) -> None:
    """Selects the branch through this message, down to its latest leaf."""
    conversation = _hold(session, conversation_id, owner_id)
    message = get_message(session, message_id, owner_id=owner_id)
    if message.conversation_id != conversation.id:
        raise NotFound("There is no such message in this conversation.")
    session.execute(
        update(ConversationRow)
        .where(ConversationRow.id == conversation.id)
        .values(head_id=latest_leaf(session, message))
    )


def title_of(content: str) -> str:
    """A title made of what was said first: one line, cut between words."""
    line = " ".join(content.split())
    if len(line) <= TITLE_CHARACTERS:
        return line
    cut = line[:TITLE_CHARACTERS]
    whole = cut.rsplit(" ", 1)[0] if " " in cut[TITLE_CHARACTERS // 2 :] else cut
    return f"{whole}…"


def _hold(session: Session, conversation_id: str, owner_id: str) -> StoredConversation:
    """The conversation, while nobody else writes into any of this person's."""
    if session.get_bind().dialect.name != "sqlite":  # there the transaction itself is alone
        session.execute(select(UserRow.id).where(UserRow.id == owner_id).with_for_update())
    return get_conversation(session, conversation_id, owner_id=owner_id)


def _earlier(session: Session, message: StoredMessage, turn: NewTurn) -> StoredTurn:
    if (message.role, message.parent_id, message.content) != ("user", turn.parent_id, turn.content):
        raise Conflict("This request was made before, with other words; send it under a new client_id.")
    replies = first_replies(session, message.id)
    found = comparisons_of(session, [reply.id for reply in replies])
    return StoredTurn(message, replies, next(iter(found.values()), None), ())


def _parent(
    session: Session, conversation: StoredConversation, parent_id: str | None, owner_id: str
) -> StoredMessage | None:
    _refuse_closed(conversation)
    if parent_id is None:
        return None
    parent = get_message(session, parent_id, owner_id=owner_id)
    if parent.conversation_id != conversation.id:
        raise NotFound("There is no such message in this conversation.")
    if parent.role != "assistant":
        raise Unacceptable("A message follows a reply, not another message of yours.")
    if parent.state == "pending":
        raise Conflict("The reply that this follows is still being written; wait for it, or stop it.")
    return parent


def _refuse_closed(conversation: StoredConversation) -> None:
    if conversation.closed:
        raise Conflict("This conversation is closed; open it again, or begin a new one.")


def _refuse_too_large(
    session: Session, conversation: StoredConversation, parent: StoredMessage | None, limits: TreeLimits
) -> None:
    if parent is not None and parent.depth + 2 > limits.depth:
        raise Unacceptable(
            f"A conversation is at most {limits.depth} messages deep, and this one is; begin a new one."
        )
    _refuse_siblings(session, conversation, parent.id if parent else None, limits)


def _refuse_siblings(
    session: Session, conversation: StoredConversation, parent_id: str | None, limits: TreeLimits
) -> None:
    if count_siblings(session, conversation.id, parent_id) >= limits.siblings:
        raise Unacceptable(
            f"There are {limits.siblings} versions of this message already; go on with one of them."
        )


def _refuse_too_many(session: Session, conversation: StoredConversation, limits: TreeLimits) -> None:
    allowed = limits.columns if conversation.kind == "compare" else limits.turns
    if count_turns_in_progress(session, conversation.owner_id, conversation.kind) >= allowed:
        raise Busy(
            f"You have {allowed} replies being written at the moment; wait for one of them, or stop it."
        )


def _said(
    conversation: StoredConversation, parent: StoredMessage | None, turn: NewTurn, now: int
) -> StoredMessage:
    is_blocked = turn.verdict.action == "block"
    return StoredMessage(
        id=new_id(),
        conversation_id=conversation.id,
        parent_id=turn.parent_id,
        depth=parent.depth + 1 if parent else 1,
        role="user",
        content=turn.content,
        state="blocked" if is_blocked else "complete",
        error=turn.verdict.message if is_blocked else None,
        author_kind="user",
        release=None,
        generation_id=None,
        created=now,
        client_id=turn.client_id,
        verdict=None if turn.verdict.action == "allow" else turn.verdict,
    )


def _add_reply(
    session: Session,
    conversation: StoredConversation,
    asking: StoredMessage,
    answering: Answering,
    *,
    hidden: bool,
    client_id: str | None,
    writer: str,
    now: int,
) -> tuple[StoredMessage, NewReply]:
    reply = StoredMessage(
        id=new_id(),
        conversation_id=conversation.id,
        parent_id=asking.id,
        depth=asking.depth + 1,
        role="assistant",
        content="",
        state="pending",
        error=None,
        author_kind="model",
        release=answering.release,
        generation_id=new_id(),
        created=now,
        client_id=client_id,
        verdict=None,
    )
    add_message(session, reply)
    sampling = answering.sampling
    if sampling.seed is None:
        sampling = replace(sampling, seed=secrets.randbits(SEED_BITS))
    new = add_generation(
        session,
        reply,
        owner_id=conversation.owner_id,
        release=answering.release,
        sampling=sampling,
        hidden=hidden,
        writer=writer,
    )
    return reply, new


def _side_by_side(
    session: Session, replies: Sequence[StoredMessage], side: Side, owner_id: str, now: int
) -> StoredComparison:
    first, second = replies
    return add_comparison(
        session,
        user_id=owner_id,
        kind=side.kind,
        first=first.id,
        second=second.id,
        swapped=side.swapped,
        now=now,
    )


def _touch(session: Session, conversation: StoredConversation, *, head_id: str, title: str, now: int) -> None:
    """Selects the branch, and puts the conversation on top of the history."""
    row = {"conversation": conversation.id, "head_id": head_id, "title": title, "updated": now}
    session.execute(TOUCH, row)
