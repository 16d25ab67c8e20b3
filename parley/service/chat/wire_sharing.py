"""What goes over the wire about finding a conversation again, and about showing one to others."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from parley.service.common.wire import Answer, Ask, Text

MAX_DAYS: Final = 365
DEFAULT_DAYS: Final = 30


class SnippetPart(Answer):
    """A piece of a text that was found; `hit` where it is what was searched for."""

    text: str
    hit: bool


class Hit(Answer):
    """A message, or with `message_id` null a title, that holds what was searched for."""

    conversation_id: str
    title: str
    message_id: str | None
    role: Literal["user", "assistant"] | None
    snippet: tuple[SnippetPart, ...]
    created: int


class Hits(Answer):
    """Newest first; `before` asks for those that follow, null where there are none."""

    hits: tuple[Hit, ...]
    before: str | None


class ShareAsk(Ask):
    """`POST /api/conversations/{id}/shares`: up to `message_id`, or the whole selected branch."""

    message_id: Text | None = Field(None, max_length=64)
    days: int | None = Field(DEFAULT_DAYS, ge=1, le=MAX_DAYS, description="null: until it is revoked")


class Share(Answer):
    """A link that shows a conversation as it was. Times are in seconds since 1970."""

    id: str
    conversation_id: str
    url: str
    title: str
    created: int
    expires: int | None
    revoked: int | None


class Shares(Answer):
    """Newest first."""

    shares: tuple[Share, ...]


class SharedMessage(Answer):
    """One turn of a shared conversation."""

    role: Literal["user", "assistant"]
    content: str
    release: str | None


class SharedConversation(Answer):
    """What a stranger with the link sees."""

    title: str
    created: int
    messages: tuple[SharedMessage, ...]
