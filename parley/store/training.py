"""What may be learnt from, in words: the queue's candidates with what they point to, and prompts.

Only what a consent in force covers, what was not deleted and what moderation did not block comes out
of here, and every piece says which rows it was made of and which grant covers it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from parley.store.candidates import Candidate, CandidateRow, State, list_candidates
from parley.store.comparisons import ComparisonRow
from parley.store.consents import consented
from parley.store.feedback import Feedback, feedback_of
from parley.store.messages import SAID, MessageRow, StoredMessage, branch, value

MAX_HISTORY: Final = 10_000


@dataclass(frozen=True, slots=True)
class Material:
    """A candidate in words. `history` ends with the person's message; `answers` are the one that the
    feedback is about, or the two of a comparison as they stood; `outcome` is the vote's."""

    candidate: Candidate
    consent_id: str
    history: tuple[StoredMessage, ...]
    answers: tuple[StoredMessage, ...]
    feedback: Feedback | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some candidates in words; `after` is where the next page begins, None behind the last."""

    materials: tuple[Material, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """A person's message with what came before it on its branch, all of it clean.

    `opening` is what the conversation began with, also where `history` is only its end.
    """

    user_id: str
    consent_id: str
    opening: str
    history: tuple[StoredMessage, ...]


def materials(session: Session, *, state: State, after: str | None = None, limit: int) -> Page:
    """The candidates in this state in words, oldest first, behind candidate `after`.

    One that moderation blocked something on the way to is left out.
    """
    grants = {row.conversation_id: row.consent_id for row in session.execute(consented())}
    found = list_candidates(session, state=state, after=after, limit=limit)
    whole = (_material(session, candidate, grants) for candidate in found)
    following = found[-1].id if len(found) == limit else None
    return Page(tuple(item for item in whole if item is not None), following)


def prompts(session: Session, *, max_history: int) -> Iterator[StoredPrompt]:
    """Every clean message of a person in a conversation that may be learnt from, in the order of writing.

    At most `max_history` messages before it come with it.
    """
    for conversation_id, owner_id, consent_id in session.execute(consented()).all():
        wanted = select(MessageRow).where(MessageRow.conversation_id == conversation_id)
        messages = {row.id: value(row) for row in session.scalars(wanted.order_by(MessageRow.id))}
        openings: dict[str, str] = {}
        for message in messages.values():
            openings[message.id] = openings.get(message.parent_id or "", message.content)
            history = _history(messages, message, max_history)
            if message.role == "user" and all(map(_is_clean, history)):
                yield StoredPrompt(owner_id, consent_id, openings[message.id], history)


def covered(session: Session) -> tuple[frozenset[str], frozenset[str]]:
    """The conversations that may be learnt from now, and the candidates that are accepted now."""
    conversations = session.scalars(select(consented().subquery().c.conversation_id))
    accepted = session.scalars(select(CandidateRow.id).where(CandidateRow.state == "accepted"))
    return frozenset(conversations), frozenset(accepted)


def _material(session: Session, candidate: Candidate, grants: dict[str, str]) -> Material | None:
    answers, feedback, outcome = _pointed_to(session, candidate)
    parent = answers[0].parent_id
    history = branch(session, parent, limit=MAX_HISTORY) if parent else ()
    if not history or not all(message.state in SAID for message in (*history, *answers)):
        return None
    grant = grants[answers[0].conversation_id]
    return Material(candidate, grant, history, answers, feedback, outcome)


def _pointed_to(
    session: Session, candidate: Candidate
) -> tuple[tuple[StoredMessage, ...], Feedback | None, str | None]:
    if candidate.kind != "comparison":
        said = feedback_of(session, candidate.user_id, [candidate.message_id])
        return _messages(session, [candidate.message_id]), said[candidate.message_id], None
    compared = session.get_one(ComparisonRow, candidate.source_id)
    return _messages(session, [compared.left_id, compared.right_id]), None, compared.outcome


def _messages(session: Session, ids: Sequence[str]) -> tuple[StoredMessage, ...]:
    found = {row.id: value(row) for row in session.scalars(select(MessageRow).where(MessageRow.id.in_(ids)))}
    return tuple(found[one] for one in ids)


def _history(
    messages: dict[str, StoredMessage], last: StoredMessage, max_history: int
) -> tuple[StoredMessage, ...]:
    found, at = [last], last.parent_id
    while at is not None and len(found) <= max_history:
        found.append(messages[at])
        at = messages[at].parent_id
    if found[-1].role != "user":
        found.pop()
    return tuple(reversed(found))


def _is_clean(message: StoredMessage) -> bool:
    return message.state in SAID and message.verdict is None
