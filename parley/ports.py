"""The seams between the product and the learning side.

`service` talks to models through `Responder` and to moderation through `Moderator`, and imports no
torch; `cli` puts the engine and the rules behind them. Tests put an echo there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from parley.dialogue import Conversation
from parley.labels import Verdict

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. `temperature` 0 is greedy; `top_p` 1 keeps every token."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply, as soon as it is known. Never ends inside a character."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply: why it ended, and what it cost in tokens."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


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


class Moderator(Protocol):
    """Text in, verdict out. Used from many threads at once."""

    def check(self, text: str) -> Verdict:
        """What may be done with this text. Whatever it raises, the text counts as not allowed."""
        ...
