"""People and conversations, written straight into the tables."""

from __future__ import annotations

from sqlalchemy.orm import Session

from parley.store.conversations import ConversationRow, create_conversation
from parley.store.messages import MessageRow
from parley.store.schema import new_id
from parley.store.users import create_user

NOW = 1_800_000_000


def person(session: Session, name: str = "Ana") -> str:
    """A person's id."""
    return create_user(session, user_id=new_id(), name=name, roles=("user",), now=NOW).id


def talk(
    session: Session, owner_id: str, *turns: str, title: str = "", release: str = "micro-sft"
) -> list[str]:
    """A conversation whose turns alternate between the person and the release: its id, then the messages'."""
    made = create_conversation(session, owner_id=owner_id, kind="chat", group=None, release=None, now=NOW)
    session.get_one(ConversationRow, made.id).title = title
    ids: list[str] = []
    for turn in turns:
        ids.append(say(session, made.id, ids[-1] if ids else None, turn, release=release))
    session.get_one(ConversationRow, made.id).head_id = ids[-1] if ids else None
    session.flush()
    return [made.id, *ids]


def say(
    session: Session,
    conversation_id: str,
    parent_id: str | None,
    content: str,
    *,
    state: str = "complete",
    release: str = "micro-sft",
    verdict: str | None = None,
) -> str:
    """One message below another: the person's where the other is an answer, else an answer."""
    parent = session.get(MessageRow, parent_id) if parent_id else None
    role = "assistant" if parent is not None and parent.role == "user" else "user"
    row = MessageRow(
        id=new_id(),
        conversation_id=conversation_id,
        parent_id=parent_id,
        depth=parent.depth + 1 if parent else 1,
        role=role,
        content=content,
        state=state,
        author_kind="model" if role == "assistant" else "user",
        release=release if role == "assistant" else None,
        created=NOW,
        verdict=verdict,
    )
    session.add(row)
    session.flush()
    return row.id
