"""What goes over the wire about the queue between feedback and training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from parley.service.common.wire import Answer, Ask, Text

State = Literal["waiting", "accepted", "rejected"]


class QueuedMessage(Answer):
    """One turn of what a candidate is about."""

    id: str
    role: Literal["user", "assistant"]
    content: str
    release: str | None


class QueueItem(Answer):
    """Something that could be learnt from.

    A `demonstration` has the answer that was given and `ideal`, what it should have said. A `prompt`
    has the answer that was bad. A `comparison` has both answers and the vote's `outcome`.
    """

    id: str
    kind: Literal["demonstration", "comparison", "prompt"]
    state: State
    created: int
    person: str
    history: tuple[QueuedMessage, ...]
    answers: tuple[QueuedMessage, ...]
    reasons: tuple[str, ...]
    note: str
    ideal: str
    outcome: str | None
    content_hash: str
    decided: int | None
    decided_by: str | None


class Queue(Answer):
    """Oldest first; `after` asks for those that follow, null where there are none."""

    items: tuple[QueueItem, ...]
    after: str | None


class Decision(Ask):
    """`POST /api/queue/{id}`. `content_hash` names the words that were read."""

    accept: bool
    content_hash: Text = Field(max_length=64)
