"""Chat completions, and models, as OpenAI's clients send and read them. What they share with plain
completions is in `parameters`, the answers to those in `wire_text`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from parley.dialogue import Conversation, Message, Role
from parley.ports import FinishReason, Order, Sampling
from parley.service.common.wire import Answer, Ask
from parley.service.openai.parameters import MAX_LIKELIEST, CompletionAsk, Neutral, without_neutral

NEUTRAL_IN_MESSAGE: Final[Neutral] = {"tool_calls": ([],), "annotations": ([],)}
"""Values that change nothing, of what clients send back of the replies they got."""

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


class ChatMessage(Ask):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text_of, json_schema_input_type=str | list[TextPart])]

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: object) -> object:
        return without_neutral(values, NEUTRAL_IN_MESSAGE)


class ChatRequest(CompletionAsk):
    """`POST /v1/chat/completions`."""

    neutral: ClassVar[Neutral] = {
        **CompletionAsk.neutral,
        "tools": ([],),
        "functions": ([],),
        "tool_choice": ("none", "auto"),
        "function_call": ("none", "auto"),
        "parallel_tool_calls": (True, False),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
    }

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LIKELIEST)

    @field_validator("messages")
    @classmethod
    def _system_first(cls, messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
        if any(ROLES[message.role] == "system" for message in messages[1:]):
            raise ValueError("only the first message may be a system or developer message")
        return messages

    @field_validator("top_logprobs")
    @classmethod
    def _only_with_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("needs 'logprobs': true beside it")
        return value

    @property
    def asked_tokens(self) -> int | None:
        """Under the newer name, or the older one."""
        return self.max_completion_tokens or self.max_tokens

    def conversation(self) -> Conversation:
        """What was said so far."""
        return Conversation(tuple(Message(ROLES[m.role], m.content) for m in self.messages))

    def orders(self, default: Sampling, *, most: int, release: str) -> tuple[Order, ...]:
        """One for each choice."""
        conversation = self.conversation()
        return tuple(
            Order(
                prompt=conversation,
                sampling=sampling,
                release=release,
                cut=self.truncation == "auto",
                bulk=self.is_bulk,
                tell=self.logprobs or self.return_token_ids,
                logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            )
            for sampling in self.samplings(default, most=most)
        )


class SparseAnswer(Answer):
    """Leaves out what is None."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {name: value for name, value in handler(self).items() if value is not None}


class PromptTokens(Answer):
    """Of the prompt's tokens, those that were known from before."""

    cached_tokens: int


class Usage(Answer):
    """What it cost in tokens: the prompt once, the replies together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens


class Likely(Answer):
    """A token that might have stood here."""

    token: str
    logprob: float
    bytes: tuple[int, ...]


class TokenLogprob(Likely):
    """A token of the reply, and the likeliest in its place."""

    top_logprobs: tuple[Likely, ...]


class Logprobs(Answer):
    """Of each token of a reply, or of a piece of it."""

    content: tuple[TokenLogprob, ...]
    refusal: None = None


class ReplyMessage(Answer):
    """A whole reply."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class WithIds(Answer):
    """Token ids of the reply or of a piece of it, and of the prompt, where they were asked for."""

    token_ids: tuple[int, ...] | None = None
    prompt_token_ids: tuple[int, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_ids(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        names = ("token_ids", "prompt_token_ids")
        return {
            name: value for name, value in handler(self).items() if value is not None or name not in names
        }


class Choice(WithIds):
    """One of `n` replies."""

    index: int
    message: ReplyMessage
    logprobs: Logprobs | None = None
    finish_reason: FinishReason


class Completion(Answer):
    """The answer without streaming."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[Choice, ...]
    usage: Usage


class ReplyDelta(SparseAnswer):
    """A piece of a reply; the first of each has the role, the last is empty."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(WithIds):
    """A piece of one of `n` replies."""

    index: int
    delta: ReplyDelta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None


class Chunk(SparseAnswer):
    """One event of a streamed answer; `id` and `created` are the same on all of them."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
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
