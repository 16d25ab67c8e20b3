"""What both kinds of completion are asked with, as OpenAI's clients send it.

A parameter that would change the answer and that we do not have is refused, not ignored; one that
stands at its neutral value, or is null, is as good as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from parley.ports import Sampling
from parley.service.common.wire import Ask

MAX_CHOICES: Final = 16
MAX_STOPS: Final = 4
MAX_STOP_IDS: Final = 64
MAX_BIASED: Final = 1024
MAX_LIKELIEST: Final = 20
MOST_BIAS: Final = 100.0

Neutral = Mapping[str, tuple[object, ...]]


def without_neutral(values: object, neutral: Neutral) -> object:
    """The fields that say something."""
    if not isinstance(values, dict):
        return values
    return {k: v for k, v in values.items() if v is not None and not (k in neutral and v in neutral[k])}


def _as_list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-MOST_BIAS, le=MOST_BIAS)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class StreamOptions(Ask):
    """`include_usage` asks for a last chunk with the token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


class CompletionAsk(Ask):
    """How replies are sampled and sent. `top_k`, `stop_token_ids`, `truncation` and `return_token_ids`
    are not OpenAI's; other servers have them under these names."""

    neutral: ClassVar[Neutral] = {"service_tier": ("auto", "default"), "store": (True, False)}
    """Values of parameters that we do not have at which they change nothing."""

    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int = Field(0, ge=0, lt=2**31)
    max_tokens: int | None = Field(None, ge=1)
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    logit_bias: dict[TokenId, Bias] = Field(default_factory=dict, max_length=MAX_BIASED)
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    ] = Field((), max_length=MAX_STOPS)
    stop_token_ids: tuple[TokenId, ...] = Field((), max_length=MAX_STOP_IDS)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    truncation: Literal["auto", "disabled"] = "disabled"
    service_tier: Literal["flex"] | None = None
    return_token_ids: bool = False
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: object) -> object:
        return without_neutral(values, cls.neutral)

    @property
    def is_bulk(self) -> bool:
        """OpenAI's word for work that may wait behind others."""
        return self.service_tier == "flex"

    @property
    def asked_tokens(self) -> int | None:
        """New tokens at most, where the request says so."""
        return self.max_tokens

    def samplings(self, default: Sampling, *, most: int) -> tuple[Sampling, ...]:
        """One for each choice; with a seed, each choice has its own, counted up from it."""
        max_tokens = min(self.asked_tokens or default.max_tokens, most)
        return tuple(self._sampling(default, index, max_tokens) for index in range(self.n))

    def _sampling(self, default: Sampling, index: int, max_tokens: int) -> Sampling:
        seed = default.seed if self.seed is None else self.seed
        return Sampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            max_tokens=max_tokens,
            seed=None if seed is None else seed + index,
            stop=self.stop or default.stop,
            top_k=self.top_k,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias,
            stop_ids=frozenset(self.stop_token_ids),
        )
