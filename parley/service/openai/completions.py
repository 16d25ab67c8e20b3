"""`/v1/completions`: what follows a text or token ids."""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from parley.ports import Begun, Delta, Finish, Spoken
from parley.service.common.deps import WithSeams
from parley.service.common.generation import Generation, unless_gone
from parley.service.common.sse import EventStream
from parley.service.common.wire import ErrorAnswer
from parley.service.openai.routes import Key, chat_key
from parley.service.openai.wire_text import TextChoice, TextCompletion, TextLogprobs, TextRequest
from parley.service.openai.writing import (
    Frame,
    Reply,
    cost,
    gathered,
    new_frame,
    pulse,
    shown,
    token_ids,
    told,
)

router = APIRouter(
    prefix="/v1",
    tags=["openai"],
    dependencies=[Depends(chat_key)],
    responses={"default": {"model": ErrorAnswer}},
)


@router.post("/completions", response_model=TextCompletion)
async def complete_text(
    ask: TextRequest, request: Request, seams: WithSeams, key: Key
) -> TextCompletion | Response:
    """What follows each prompt, `n` times: whole, or with `stream` as events that end in `[DONE]`."""
    release = await run_in_threadpool(seams.release, ask.model)
    settings = seams.settings
    orders = ask.orders(settings.sampling, most=settings.max_reply_tokens, release=release.name)
    watched = pulse(seams, request, "text_completion", orders)
    generation = await seams.generations.begin(orders, watched, key=key.id)
    writer = _Writer(new_frame("cmpl", release), ask)
    if not ask.stream:
        return await unless_gone(request, writer.whole(generation, len(orders)), generation.stop)
    await unless_gone(request, generation.started(), generation.stop)
    return EventStream(writer.chunks(generation), generation.stop, closing="[DONE]")


class _Place:
    """Where in a reply's text the next token begins, in characters."""

    def __init__(self) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at = 0

    def next(self, text: bytes) -> int:
        """Of this token."""
        at = self._at
        self._at += len(self._characters.decode(text))
        return at


@dataclass(frozen=True, slots=True)
class _Writer:
    """Puts one answer into OpenAI's words."""

    frame: Frame
    ask: TextRequest

    async def whole(self, generation: Generation, count: int) -> TextCompletion:
        """All replies, once they are finished."""
        replies = await gathered(generation, count)
        finishes = {index: reply.ended for index, reply in enumerate(replies)}
        choices = tuple(self._choice(index, reply) for index, reply in enumerate(replies))
        return TextCompletion(**self.frame, choices=choices, usage=cost(finishes, self.ask.n))

    async def chunks(self, generation: Generation) -> AsyncIterator[TextCompletion]:
        """Pieces as they come, each reply's end; then, if wanted, the usage."""
        finishes: dict[int, Finish] = {}
        places: defaultdict[int, _Place] = defaultdict(_Place)
        async for piece in generation.pieces():
            if isinstance(piece.event, Finish):
                finishes[piece.index] = piece.event
            choice = self._piece(piece.index, piece.event, places[piece.index])
            if choice is not None:
                yield TextCompletion(**self.frame, choices=(choice,))
        if self.ask.stream_options.include_usage:
            yield TextCompletion(**self.frame, choices=(), usage=cost(finishes, self.ask.n))

    def _choice(self, index: int, reply: Reply) -> TextChoice:
        ids = self.ask.return_token_ids
        tokens = told(reply.tokens, reply.finish, whole=ids)
        return TextChoice(
            index=index,
            text=reply.text,
            logprobs=self._logprobs(tokens, _Place()),
            finish_reason=reply.ended.reason,
            token_ids=token_ids(tokens) if ids else None,
            prompt_token_ids=reply.prompt if ids else None,
        )

    def _piece(self, index: int, event: Begun | Delta | Finish, place: _Place) -> TextChoice | None:
        ids = self.ask.return_token_ids
        if isinstance(event, Begun):
            prompt = event.prompt if ids else None
            return (
                TextChoice(index=index, text="", finish_reason=None, prompt_token_ids=prompt) if ids else None
            )
        tokens = event.tokens if isinstance(event, Delta) else event.rest if ids else ()
        return TextChoice(
            index=index,
            text=event.text if isinstance(event, Delta) else "",
            logprobs=self._logprobs(tokens, place) if tokens else None,
            finish_reason=event.reason if isinstance(event, Finish) else None,
            token_ids=token_ids(tokens) if ids else None,
        )

    def _logprobs(self, tokens: Sequence[Spoken], place: _Place) -> TextLogprobs | None:
        if self.ask.logprobs is None:
            return None
        return TextLogprobs(
            tokens=tuple(shown(token.text) for token in tokens),
            token_logprobs=tuple(token.logprob or 0.0 for token in tokens),
            top_logprobs=tuple(
                {shown(chance.text): chance.logprob for chance in token.likeliest} for token in tokens
            ),
            text_offset=tuple(place.next(token.text) for token in tokens),
        )
