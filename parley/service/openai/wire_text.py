"""Plain completions as OpenAI's clients send and read them: text or token ids, and what follows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from parley.ports import FinishReason, Order, Sampling
from parley.service.openai.parameters import MAX_LIKELIEST, CompletionAsk, Neutral, TokenId
from parley.service.openai.wire import SparseAnswer, Usage, WithIds

MAX_PROMPTS = 16
MAX_REPLIES = 64
DEFAULT_TOKENS = 16  # OpenAI's own

Prompt = str | tuple[TokenId, ...]


def _as_prompts(prompt: object) -> object:
    """One prompt as a list of one."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt and all(isinstance(one, int) for one in prompt):
        return [prompt]
    return prompt


class TextRequest(CompletionAsk):
    """`POST /v1/completions`. A text goes in as it stands: no chat format, no special token."""

    neutral: ClassVar[Neutral] = {**CompletionAsk.neutral, "suffix": ("",)}

    prompt: Annotated[
        tuple[Annotated[Prompt, Field(min_length=1)], ...],
        BeforeValidator(_as_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
    ] = Field(min_length=1, max_length=MAX_PROMPTS)
    logprobs: int | None = Field(None, ge=0, le=MAX_LIKELIEST)
    echo: bool = False
    best_of: int | None = None

    @field_validator("best_of")
    @classmethod
    def _no_choosing(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value != info.data.get("n", 1):
            raise ValueError("is not supported other than equal to 'n': ask for 'n' and choose yourself")
        return value

    @field_validator("echo")
    @classmethod
    def _no_scoring(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("logprobs") is not None:
            raise ValueError(
                "is not supported together with 'logprobs': those of the prompt are not computed"
            )
        return value

    @field_validator("prompt")
    @classmethod
    def _so_many(cls, value: tuple[Prompt, ...], info: ValidationInfo) -> tuple[Prompt, ...]:
        if len(value) * int(info.data.get("n", 1)) > MAX_REPLIES:
            raise ValueError(f"{len(value)} prompts times 'n' are more than {MAX_REPLIES} replies")
        return value

    def orders(self, default: Sampling, *, most: int, release: str) -> tuple[Order, ...]:
        """One for each choice, those of the first prompt first."""
        samplings = self.samplings(replace(default, max_tokens=DEFAULT_TOKENS), most=most)
        return tuple(
            Order(
                prompt=prompt,
                sampling=sampling,
                release=release,
                cut=self.truncation == "auto",
                bulk=self.is_bulk,
                echo=self.echo,
                tell=self.logprobs is not None or self.return_token_ids,
                logprobs=self.logprobs,
            )
            for prompt in self.prompt
            for sampling in samplings
        )


class TextLogprobs(SparseAnswer):
    """Lists of one length: each token of a piece, and where it begins in the text."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[str, float], ...]
    text_offset: tuple[int, ...]


class TextChoice(WithIds):
    """What follows one prompt, or a piece of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: FinishReason | None


class TextCompletion(SparseAnswer):
    """The answer, or one event of a streamed one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[TextChoice, ...]
    usage: Usage | None = None
