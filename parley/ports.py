"""The seams between the product and the learning side.

`service` talks to models through `Responder` and to moderation through `Moderator`, and imports no
torch; `cli` puts the engine and the rules behind them. Tests put an echo there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from parley.dialogue import Conversation
from parley.labels import Verdict

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. `temperature` 0 is greedy; `top_p` 1 and `top_k` 0 keep every token.

    A token that the reply holds already loses `presence_penalty`, and `frequency_penalty` for each
    time, from its logit, to which `logit_bias` is added.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Chance:
    """A token that might come, the bytes it stands for, and its log-probability."""

    id: int
    text: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """A token of a reply and the bytes it stands for; its log-probability and the likeliest tokens in
    its place where they were asked for, under the model itself (temperature 1, no bias)."""

    id: int
    text: bytes
    logprob: float | None = None
    likeliest: tuple[Chance, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply, as soon as it is known. Never ends inside a character.

    `tokens` are those that begin in it, where tokens were asked for.
    """

    text: str
    tokens: tuple[Spoken, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply: why it ended, and what it cost in tokens, of which `reused` of the prompt
    were known from before. `rest`: tokens that no text stands for, such as the stop token."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    reused: int = field(default=0, compare=False)
    rest: tuple[Spoken, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseInfo:
    """A release that can answer. `created` is in seconds since 1970, `digest` names its content."""

    name: str
    stage: str
    run: str
    created: int
    digest: str = ""


class Responder(Protocol):
    """Conversation in, streamed text out."""

    def releases(self) -> Sequence[ReleaseInfo]:
        """The releases that can answer now, oldest first."""
        ...

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        """Deltas, then exactly one `Finish`. Closing the iterator stops the work.

        Raises `NotFound` for an unknown release, `ConfigError` where the conversation cannot be
        answered (no user turn at its end, or a turn too long for the context), before the first
        delta.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One reply for a program: to a conversation, or after a text or token ids as they stand.

    `cut`: a prompt that is too long loses its beginning instead of being refused. `bulk` work waits
    behind people. `echo`: the prompt's text comes first. `tell`: pieces come with their tokens, and
    `logprobs` of the likeliest of each if that is a number.
    """

    prompt: Conversation | str | tuple[int, ...]
    sampling: Sampling
    release: str
    cut: bool = False
    bulk: bool = False
    echo: bool = False
    tell: bool = False
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """The first of what is heard of an order: the prompt as the model reads it."""

    prompt: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What one release's engine is doing, and what it has done since it was started."""

    release: str
    waiting: int
    running: int
    slots: int
    tokens_per_second: float
    refused: int
    prompt_tokens: int
    reused_tokens: int
    tokens: int
    steps: int


Heard: TypeAlias = Begun | Delta | Finish | Exception


class Completer(Protocol):
    """Orders in, events out as they happen: what `/v1` asks of the releases."""

    def complete(self, order: Order, hear: Callable[[Heard], None]) -> Callable[[], None]:
        """Begins a reply. `hear` gets `Begun`, deltas, then one `Finish` or what went wrong; it is called
        in a thread of the releases' own and must be quick. What comes back stops the work, from any
        thread and at any time.

        Raises, before anything is heard, `NotFound` for an unknown release, `ContextExceeded` for too
        long a prompt, `ConfigError` for what else the release cannot do, `Busy` where too much waits.
        """
        ...

    def loads(self) -> Sequence[Load]:
        """Of every engine that runs."""
        ...


class Moderator(Protocol):
    """Text in, verdict out. Used from many threads at once."""

    def check(self, text: str) -> Verdict:
        """What may be done with this text. Whatever it raises, the text counts as not allowed."""
        ...
