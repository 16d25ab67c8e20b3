"""Replies being written: their state, and the numbered events of which their text is made.

A generation ends exactly once: whoever moves it out of `pending` also writes its message's text, in
the same transaction. Everybody else finds it ended and leaves it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Row,
    String,
    TableClause,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import NotFound
from parley.labels import Verdict
from parley.ports import Sampling
from parley.store.conversations import CONVERSATION
from parley.store.messages import MESSAGE, STATES, MessageRow, StoredMessage
from parley.store.schema import ID, Table
from parley.store.verdicts import verdict_to_json

EventKind = Literal["start", "delta", "notice", "withdraw", "finish"]
EndState = Literal["complete", "stopped", "length", "blocked", "failed"]
PRUNED_AT_ONCE: Final = 200


class GenerationRow(Table):
    """One row a reply."""

    __tablename__ = "generation"
    __table_args__ = (
        CheckConstraint(f"state IN ({STATES})", name="generation_state"),
        Index(
            "generation_pending",
            "owner_id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index("generation_events_kept", "events_kept", "finished"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), unique=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    release: Mapped[str] = mapped_column(String(200))
    temperature: Mapped[float] = mapped_column(Float)
    top_p: Mapped[float] = mapped_column(Float)
    max_tokens: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    writer: Mapped[str] = mapped_column(String(200))
    """The server process that writes it: `host:pid:nonce`."""
    state: Mapped[str] = mapped_column(String(10))
    created: Mapped[int] = mapped_column(BigInteger)
    heartbeat: Mapped[int] = mapped_column(BigInteger)
    finished: Mapped[int | None] = mapped_column(BigInteger)
    stop_asked: Mapped[bool]
    last_seq: Mapped[int]
    """The number of the last event; 0 while it is being written."""
    events_kept: Mapped[bool]
    """False once the events were pruned; the message has the text."""
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    first_delta_ms: Mapped[int | None]
    total_ms: Mapped[int | None]
    withheld: Mapped[str | None] = mapped_column(Text)
    """What moderation withdrew: for moderators, never sent to the page."""


class EventRow(Table):
    """One row a batch of a reply's tokens, or something else that its viewers are told."""

    __tablename__ = "generation_event"
    __table_args__ = ({"sqlite_with_rowid": False},)

    generation_id: Mapped[str] = mapped_column(
        ForeignKey("generation.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    data: Mapped[str] = mapped_column(Text)
    """The event's JSON as viewers get it; a `finish` lacks the message."""


GENERATION: Final = cast(TableClause, GenerationRow.__table__)
EVENT: Final = cast(TableClause, EventRow.__table__)
PENDING: Final = literal("pending", literal_execute=True)
"""Written into the statement, or the index of what is pending would not be used."""
INSERT_GENERATION: Final = insert(GENERATION)
INSERT_EVENT: Final = insert(EVENT)
AFTER: Final = (
    select(EVENT.c.seq, EVENT.c.kind, EVENT.c.data)
    .where(EVENT.c.generation_id == bindparam("generation"), EVENT.c.seq > bindparam("after"))
    .order_by(EVENT.c.seq)
)
OWNED: Final = select(GENERATION).where(
    GENERATION.c.id == bindparam("generation"), GENERATION.c.owner_id == bindparam("owner")
)
IN_PROGRESS: Final = (
    select(func.count(MESSAGE.c.parent_id.distinct()))
    .join(GENERATION, GENERATION.c.message_id == MESSAGE.c.id)
    .join(CONVERSATION, CONVERSATION.c.id == MESSAGE.c.conversation_id)
    .where(
        GENERATION.c.owner_id == bindparam("owner"),
        GENERATION.c.state == PENDING,
        CONVERSATION.c.kind == bindparam("kind"),
    )
)
END_GENERATION: Final = (
    update(GENERATION)
    .where(GENERATION.c.id == bindparam("generation"), GENERATION.c.state == PENDING)
    .values(
        {
            name: bindparam(name)
            for name in (
                "state",
                "finished",
                "last_seq",
                "withheld",
                "prompt_tokens",
                "completion_tokens",
                "first_delta_ms",
                "total_ms",
            )
        }
    )
    .returning(GENERATION.c.message_id)
)
END_MESSAGE: Final = (
    update(MESSAGE)
    .where(MESSAGE.c.id == bindparam("message"), MESSAGE.c.state == PENDING)
    .values({name: bindparam(name) for name in ("state", "content", "error", "verdict")})
)


@dataclass(frozen=True, slots=True)
class Event:
    """Event number `seq`, and the JSON that viewers get of it."""

    seq: int
    kind: EventKind
    data: str


@dataclass(frozen=True, slots=True)
class NewReply:
    """A reply that is to be written: into which message, by which release, how."""

    generation_id: str
    message_id: str
    release: str
    sampling: Sampling
    start: Event
    """Its first event, which is stored."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A reply's state. Times are in seconds since 1970."""

    id: str
    message_id: str
    release: str
    state: str
    writer: str
    heartbeat: int
    stop_asked: bool
    last_seq: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended: its text as it stays, and a sentence where it did not simply end."""

    state: EndState
    text: str
    error: str | None = None
    verdict: Verdict | None = None
    withheld: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_delta_ms: int | None = None
    total_ms: int | None = None


def add_generation(
    session: Session,
    reply: StoredMessage,
    *,
    owner_id: str,
    release: str,
    sampling: Sampling,
    hidden: bool,
    writer: str,
) -> NewReply:
    """The reply is about to be written; its first event leaves the release out where that is `hidden`."""
    assert reply.generation_id is not None
    row = {
        "id": reply.generation_id,
        "message_id": reply.id,
        "owner_id": owner_id,
        "release": release,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "writer": writer,
        "state": "pending",
        "created": reply.created,
        "heartbeat": reply.created,
        "stop_asked": False,
        "last_seq": 0,
        "events_kept": True,
    }
    session.execute(INSERT_GENERATION, row)
    data = {"type": "start", "release": None if hidden else release}
    start = Event(1, "start", json.dumps(data, ensure_ascii=False))
    add_events(session, [(reply.generation_id, start)])
    return NewReply(reply.generation_id, reply.id, release, sampling, start)


def add_events(session: Session, events: Sequence[tuple[str, Event]]) -> None:
    """Writes events of any number of generations, in one statement."""
    rows = [
        {"generation_id": generation_id, "seq": event.seq, "kind": event.kind, "data": event.data}
        for generation_id, event in events
    ]
    if rows:
        session.execute(INSERT_EVENT, rows)


def events_after(session: Session, generation_id: str, seq: int) -> tuple[Event, ...]:
    """The stored events with a higher number, in order."""
    rows = session.execute(AFTER, {"generation": generation_id, "after": seq})
    return tuple(Event(seq, cast(EventKind, kind), data) for seq, kind, data in rows)


def get_generation(session: Session, generation_id: str, *, owner_id: str) -> Generation:
    """The owner's generation. `NotFound` for an unknown and a foreign one."""
    row = session.execute(OWNED, {"generation": generation_id, "owner": owner_id}).first()
    if row is None:
        raise NotFound("There is no such reply being written.")
    return _value(row)


def count_turns_in_progress(session: Session, owner_id: str, kind: str) -> int:
    """How many of the person's turns in conversations of this kind have a reply being written."""
    return session.scalar(IN_PROGRESS, {"owner": owner_id, "kind": kind}) or 0


def finish(session: Session, generation_id: str, ending: Ending, *, seq: int, now: int) -> bool:
    """Ends a generation, writes its message's text and its last event, number `seq`.

    False, and nothing done, where it had ended already or is gone.
    """
    row = {
        "generation": generation_id,
        "state": ending.state,
        "finished": now,
        "last_seq": seq,
        "withheld": ending.withheld,
        "prompt_tokens": ending.prompt_tokens,
        "completion_tokens": ending.completion_tokens,
        "first_delta_ms": ending.first_delta_ms,
        "total_ms": ending.total_ms,
    }
    message_id = session.scalar(END_GENERATION, row)
    if message_id is None:
        return False
    verdict = verdict_to_json(ending.verdict) if ending.verdict else None
    final = {"message": message_id, "state": ending.state, "content": ending.text, "error": ending.error}
    session.execute(END_MESSAGE, {**final, "verdict": verdict})
    data = json.dumps({"type": "finish", "state": ending.state, "reason": ending.error}, ensure_ascii=False)
    add_events(session, [(generation_id, Event(seq, "finish", data))])
    return True


def withdraw(session: Session, generation_ids: Iterable[str]) -> None:
    """Takes back what these generations said: their text can be asked for no more."""
    ids = list(generation_ids)
    if ids:
        session.execute(delete(EventRow).where(EventRow.generation_id.in_(ids), EventRow.kind == "delta"))


def finish_abandoned(session: Session, generation_id: str, *, reason: str, now: int) -> bool:
    """Ends a generation whose writer is gone as `failed`; what was stored of its text is kept.

    False where it had ended already.
    """
    events = events_after(session, generation_id, 0)
    written = "".join(json.loads(event.data)["text"] for event in events if event.kind == "delta")
    last = events[-1].seq if events else 0
    return finish(session, generation_id, Ending("failed", written, reason), seq=last + 1, now=now)


def pending(session: Session) -> tuple[Generation, ...]:
    """The generations that are being written, by whichever process."""
    return tuple(map(_value, session.execute(select(GENERATION).where(GENERATION.c.state == PENDING))))


def beat(session: Session, generation_ids: Iterable[str], *, now: int) -> None:
    """Says that these are still being written."""
    session.execute(
        update(GenerationRow).where(GenerationRow.id.in_(list(generation_ids))).values(heartbeat=now)
    )


def ask_to_stop(session: Session, generation_ids: Iterable[str]) -> None:
    """Asks whoever writes these to stop; those that ended stay as they are."""
    session.execute(
        update(GenerationRow)
        .where(GenerationRow.id.in_(list(generation_ids)), GenerationRow.state == PENDING)
        .values(stop_asked=True)
    )


def asked_to_stop(session: Session, writer: str) -> frozenset[str]:
    """The ids of what this writer was asked to stop."""
    wanted = select(GenerationRow.id).where(
        GenerationRow.state == PENDING, GenerationRow.writer == writer, GenerationRow.stop_asked
    )
    return frozenset(session.scalars(wanted))


def pending_in(session: Session, conversation_id: str) -> frozenset[str]:
    """The ids of what is being written in this conversation."""
    wanted = (
        select(GenerationRow.id)
        .join(MessageRow, MessageRow.id == GenerationRow.message_id)
        .where(GenerationRow.state == PENDING, MessageRow.conversation_id == conversation_id)
    )
    return frozenset(session.scalars(wanted))


def prune_events(session: Session, *, finished_before: int) -> int:
    """Deletes the events of generations that ended long ago, some at a time; returns of how many."""
    old = list(
        session.scalars(
            select(GenerationRow.id)
            .where(GenerationRow.events_kept, GenerationRow.finished < finished_before)
            .limit(PRUNED_AT_ONCE)
        )
    )
    if old:
        session.execute(delete(EventRow).where(EventRow.generation_id.in_(old)))
        session.execute(update(GenerationRow).where(GenerationRow.id.in_(old)).values(events_kept=False))
    return len(old)


def _value(row: Row[Any]) -> Generation:
    return Generation(
        row.id,
        row.message_id,
        row.release,
        row.state,
        row.writer,
        row.heartbeat,
        row.stop_asked,
        row.last_seq,
    )
