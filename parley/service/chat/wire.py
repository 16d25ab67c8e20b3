"""What the page sends and reads under `/api`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from parley.dialogue import Conversation, Message
from parley.ports import FinishReason
from parley.service.common.wire import Answer, Ask


class Turn(Ask):
    """One message of the conversation as the page holds it."""

    role: Literal["user", "assistant"]
    text: str


class ChatAsk(Ask):
    """`POST /api/chat`. Without a release the newest one answers."""

    messages: tuple[Turn, ...] = Field(min_length=1)
    release: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)

    def conversation(self) -> Conversation:
        """What was said so far."""
        return Conversation(tuple(Message(turn.role, turn.text) for turn in self.messages))


class Start(Answer):
    """The first event of a reply: who writes it."""

    type: Literal["start"] = "start"
    release: str


class Text(Answer):
    """A piece of the reply."""

    type: Literal["delta"] = "delta"
    text: str


class End(Answer):
    """The last event of a reply."""

    type: Literal["finish"] = "finish"
    reason: FinishReason
    completion_tokens: int


class Release(Answer):
    """A release to talk to; `label` is its name for people."""

    name: str
    label: str
    stage: str
    run: str
    created: int


class Releases(Answer):
    """Oldest first: the last one is the newest."""

    releases: tuple[Release, ...]
