"""What both kinds of completion share in being written: the frame of an answer, replies put together from
their pieces, log-probabilities, the cost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from fastapi import Request

from parley.ports import Begun, Chance, Delta, Finish, Order, ReleaseInfo, Spoken
from parley.service.common.deps import Seams
from parley.service.common.generation import Generation
from parley.service.common.meter import Pulse
from parley.service.common.tracing import Attributes
from parley.service.openai.wire import Likely, Logprobs, PromptTokens, TokenLogprob, Usage


class Frame(TypedDict):
    """What stands around the choices, the same on every chunk of an answer."""

    id: str
    created: int
    model: str
    system_fingerprint: str


def new_frame(prefix: str, release: ReleaseInfo) -> Frame:
    """For an answer that begins now. The fingerprint names the weights."""
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": release.name,
        "system_fingerprint": f"fp_{(release.digest or release.name)[:16]}",
    }


def pulse(seams: Seams, request: Request, operation: str, orders: Sequence[Order]) -> Pulse:
    """What counts and traces the replies to a request."""
    order = orders[0]
    attributes: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": order.release,
        "gen_ai.request.temperature": order.sampling.temperature,
        "gen_ai.request.max_tokens": order.sampling.max_tokens,
        "gen_ai.request.choice.count": len(orders),
    }
    span = seams.tracer.begin(f"{operation} {order.release}", request.headers, attributes)
    return seams.meter.pulse("v1", span)


@dataclass(slots=True)
class Reply:
    """A reply as far as it is known."""

    text: str = ""
    tokens: list[Spoken] = field(default_factory=list)
    prompt: tuple[int, ...] = ()
    finish: Finish | None = None

    def add(self, event: Begun | Delta | Finish) -> None:
        """The next of what is said of it."""
        if isinstance(event, Begun):
            self.prompt = event.prompt
        elif isinstance(event, Delta):
            self.text += event.text
            self.tokens += event.tokens
        else:
            self.finish = event

    @property
    def ended(self) -> Finish:
        """How it ended, once it did."""
        assert self.finish is not None, "a reply was read before its end"
        return self.finish


async def gathered(generation: Generation, count: int) -> list[Reply]:
    """All replies, once they are finished."""
    replies = [Reply() for _ in range(count)]
    async for piece in generation.pieces():
        replies[piece.index].add(piece.event)
    return replies


def cost(finishes: Mapping[int, Finish], n: int) -> Usage:
    """Of replies by their index, of which `n` each share a prompt: a prompt counts once."""
    prompts = [finish for index, finish in finishes.items() if index % n == 0]
    prompt = sum(finish.prompt_tokens for finish in prompts)
    replies = sum(finish.completion_tokens for finish in finishes.values())
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=replies,
        total_tokens=prompt + replies,
        prompt_tokens_details=PromptTokens(cached_tokens=sum(finish.reused for finish in prompts)),
    )


def chat_logprobs(tokens: Iterable[Spoken]) -> Logprobs:
    """As chat completions have them."""
    return Logprobs(content=tuple(_token_logprob(token) for token in tokens))


def shown(text: bytes) -> str:
    """Bytes of a token as text; it may be less than a character."""
    return text.decode("utf-8", "replace")


def token_ids(tokens: Iterable[Spoken]) -> tuple[int, ...]:
    """Of a reply or of a piece."""
    return tuple(token.id for token in tokens)


def told(tokens: Sequence[Spoken], finish: Finish | None, *, whole: bool) -> Sequence[Spoken]:
    """The tokens with, where all are wanted, those that no text stands for."""
    return (*tokens, *finish.rest) if whole and finish else tokens


def _token_logprob(token: Spoken) -> TokenLogprob:
    assert token.logprob is not None, "log-probabilities were not asked for"
    return TokenLogprob(
        token=shown(token.text),
        logprob=token.logprob,
        bytes=tuple(token.text),
        top_logprobs=tuple(map(_likely, token.likeliest)),
    )


def _likely(chance: Chance) -> Likely:
    return Likely(token=shown(chance.text), logprob=chance.logprob, bytes=tuple(chance.text))
