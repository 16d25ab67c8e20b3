"""Chat completions as OpenAI's clients send and read them.

A parameter that would change the answer and that we do not have is refused, not ignored; one that
stands at its neutral value, or is null, is as good as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from parley.dialogue import Conversation, Message, Role
from parley.ports import FinishReason, Sampling
from parley.service.common.wire import Answer, Ask

MAX_CHOICES: Final = 8
MAX_STOPS: Final = 4

NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (True, False),
}
"""Values of parameters that we do not have at which they change nothing."""

NEUTRAL_IN_MESSAGE: Final[Mapping[str, tuple[object, ...]]] = {"tool_calls": ([],), "annotations": ([],)}
"""The same, for what clients send back of the replies they got."""

ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class TextPart(Ask):
    """A part of a message. There is only text."""

    type: Literal["text"]
    text: str


def _without_neutral(values: object, neutral: Mapping[str, tuple[object, ...]]) -> object:
    if not isinstance(values, dict):
        return values
    return {k: v for k, v in values.items() if v is not None and not (k in neutral and v in neutral[k])}


def _text_of(content: object) -> object:
    """The text of a message: itself, or its text parts, one a line."""
    if not isinstance(content, list):
        return content
    texts = [
        part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        for part in content
    ]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError('only text parts are understood: {"type": "text", "text": "..."}')
    return "\n".join(str(text) for text in texts)


def _as_list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


class ChatMessage(Ask):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text_of, json_schema_input_type=str | list[TextPart])]

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: object) -> object:
        return _without_neutral(values, NEUTRAL_IN_MESSAGE)


class StreamOptions(Ask):
    """`include_usage` asks for a last chunk with the token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(Ask):
    """`POST /v1/chat/completions`."""

    model: str
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    ] = Field((), max_length=MAX_STOPS)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: object) -> object:
        return _without_neutral(values, NEUTRAL)

    @field_validator("messages")
    @classmethod
    def _system_first(cls, messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
        if any(ROLES[message.role] == "system" for message in messages[1:]):
            raise ValueError("only the first message may be a system or developer message")
        return messages

    def conversation(self) -> Conversation:
        """What was said so far."""
        return Conversation(tuple(Message(ROLES[m.role], m.content) for m in self.messages))

    def samplings(self, default: Sampling, *, max_tokens: int) -> tuple[Sampling, ...]:
        """One for each choice; with a seed, each choice has its own, counted up from it."""
        asked = self.max_completion_tokens or self.max_tokens or default.max_tokens
        seed = default.seed if self.seed is None else self.seed
        return tuple(
            Sampling(
                temperature=default.temperature if self.temperature is None else self.temperature,
                top_p=default.top_p if self.top_p is None else self.top_p,
                max_tokens=min(asked, max_tokens),
                seed=None if seed is None else seed + index,
                stop=self.stop or default.stop,
            )
            for index in range(self.n)
        )


class SparseAnswer(Answer):
    """Leaves out what is None."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Usage(Answer):
    """What it cost in tokens: the prompt once, the replies together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReplyMessage(Answer):
    """A whole reply."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(Answer):
    """One of `n` replies."""

    index: int
    message: ReplyMessage
    logprobs: None = None
    finish_reason: FinishReason


class Completion(Answer):
    """The answer without streaming."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage


class ReplyDelta(SparseAnswer):
    """A piece of a reply; the first of each has the role, the last is empty."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Answer):
    """A piece of one of `n` replies."""

    index: int
    delta: ReplyDelta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class Chunk(SparseAnswer):
    """One event of a streamed answer; `id` and `created` are the same on all of them."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None


class Model(Answer):
    """A release, as OpenAI's clients call it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class Models(Answer):
    """`GET /v1/models`."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]
