"""What goes over the wire about conversations, turns, messages and replies being written.

Ids are strings that we make. Times are in whole seconds since 1970.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, RootModel

from parley.service.chat.wire_feedback import ComparisonRow, Consent, Feedback, Objection
from parley.service.common.wire import Answer, Ask, Id, Text

MAX_TITLE: Final = 200
MAX_NAME: Final = 200

Role = Literal["user", "trainer", "reviewer", "moderator", "admin"]
ConversationKind = Literal["chat", "compare"]
TrainingUse = Literal["inherit", "no", "yes"]
MessageState = Literal["pending", "complete", "stopped", "length", "blocked", "failed"]
EndState = Literal["complete", "stopped", "length", "blocked", "failed"]


class Me(Answer):
    """Who is signed in. `language` is null until it was chosen."""

    id: str
    name: str
    roles: tuple[Role, ...]
    language: str | None
    preview_seen: bool
    consent: Consent


class MeAsk(Ask):
    """`PATCH /api/me`. What is left out stays."""

    name: Text | None = Field(None, max_length=MAX_NAME)
    language: Literal["en", "tr"] | None = None
    preview_seen: bool | None = None


class Author(Answer):
    """Who wrote a message; `release` is null for people, and while a blind vote is open."""

    kind: Literal["user", "model", "trainer"]
    release: str | None


class CategoryScore(Answer):
    """How much of one kind of unsafe content a text has, from 0 to 1."""

    name: str
    score: float


class Verdict(Answer):
    """What moderation said; `message` is a sentence for the person."""

    action: Literal["allow", "warn", "block"]
    categories: tuple[CategoryScore, ...]
    policy: str
    message: str


class Message(Answer):
    """One message of a conversation's tree. `content` grows until `state` is no longer `pending`.

    `error` is a sentence that says what went wrong, where something did. `siblings` are the ids of
    all messages with the same parent, this one included, oldest first.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    content: str
    state: MessageState
    error: str | None
    author: Author
    created: int
    generation_id: str | None
    siblings: tuple[str, ...]
    verdict: Verdict | None
    feedback: Feedback | None
    objection: Objection | None
    comparison_id: str | None


class ConversationRow(Answer):
    """A conversation as the history lists it. `group` is what the columns of a comparison share."""

    id: str
    title: str
    created: int
    updated: int
    training_use: TrainingUse
    closed: bool
    kind: ConversationKind
    group: str | None
    release: str | None


class Conversations(Answer):
    """Latest first; `before` asks for those that follow, null where there are none."""

    conversations: tuple[ConversationRow, ...]
    before: str | None


class Conversation(ConversationRow):
    """A conversation with the newest messages of its selected branch, oldest first.

    `before` asks for the messages above them, null where there are none.
    """

    messages: tuple[Message, ...]
    before: str | None


class ConversationAsk(Ask):
    """`POST /api/conversations`. `release` answers where a turn names none."""

    kind: ConversationKind = "chat"
    group: Id | None = None
    release: Id | None = None


class ConversationChange(Ask):
    """`PATCH /api/conversations/{id}`. What is left out stays; a closed conversation takes no turns."""

    title: Text | None = Field(None, min_length=1, max_length=MAX_TITLE)
    training_use: TrainingUse | None = None
    closed: bool | None = None


class HeadAsk(Ask):
    """`PUT /api/conversations/{id}/head`: the branch through this message, down to its latest leaf."""

    message_id: Id


class TurnAsk(Ask):
    """`POST /api/conversations/{id}/turns`.

    `parent_id` is the reply that this follows, null at the start; an edit has the parent of the
    message that it replaces. `client_id` names the request: asked again, it is answered again and
    not done twice. Two releases make a blind comparison.
    """

    parent_id: Id | None
    content: Text = Field(min_length=1)
    client_id: Id
    releases: tuple[Id, ...] = Field((), max_length=2)
    temperature: float | None = Field(None, ge=0, le=2)


class RegenerateAsk(Ask):
    """`POST /api/messages/{id}/regenerate`: a sibling of this reply."""

    client_id: Id
    release: Id | None = None
    temperature: float | None = Field(None, ge=0, le=2)


class Turn(Answer):
    """What a turn made: the person's message and the replies that are being written to it.

    A message that moderation blocked has no replies. Two replies come with their comparison.
    """

    user: Message
    replies: tuple[Message, ...]
    comparison: ComparisonRow | None


class StartEvent(Answer):
    """The first event of a reply: who writes it; null while that is hidden."""

    type: Literal["start"] = "start"
    release: str | None


class DeltaEvent(Answer):
    """Further text of the reply."""

    type: Literal["delta"] = "delta"
    text: str


class NoticeEvent(Answer):
    """Moderation warns about the reply, which goes on."""

    type: Literal["notice"] = "notice"
    verdict: Verdict


class WithdrawEvent(Answer):
    """Moderation took the reply back: what was shown of it must go."""

    type: Literal["withdraw"] = "withdraw"
    verdict: Verdict


class FinishEvent(Answer):
    """The last event of a reply. `message` is how it stands now, and stays.

    `reason` is a sentence where the reply did not simply come to its end.
    """

    type: Literal["finish"] = "finish"
    state: EndState
    reason: str | None
    message: Message


class GenerationEvent(
    RootModel[
        Annotated[
            StartEvent | DeltaEvent | NoticeEvent | WithdrawEvent | FinishEvent, Field(discriminator="type")
        ]
    ]
):
    """One `data:` line of `GET /api/generations/{id}/events`."""
