"""`/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from parley.ports import Delta, Finish, FinishReason, ReleaseInfo
from parley.service.common.deps import WithSeams, key_with
from parley.service.common.generation import Generation, unless_gone
from parley.service.common.sse import EventStream
from parley.service.common.wire import ErrorAnswer
from parley.service.openai.wire import (
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Model,
    Models,
    ReplyDelta,
    ReplyMessage,
    Usage,
)

router = APIRouter(
    prefix="/v1",
    tags=["openai"],
    dependencies=[Depends(key_with("chat"))],
    responses={"default": {"model": ErrorAnswer}},
)


@router.get("/models")
def list_models(seams: WithSeams) -> Models:
    """The releases that can answer, oldest first."""
    return Models(data=tuple(_model(release) for release in seams.responder.releases()))


@router.get("/models/{name:path}")
def get_model(name: str, seams: WithSeams) -> Model:
    """One release."""
    return _model(seams.release(name))


@router.post("/chat/completions", response_model=Completion)
async def complete(ask: ChatRequest, request: Request, seams: WithSeams) -> Completion | Response:
    """A reply, or `n` of them: whole, or with `stream` as server-sent events that end in `[DONE]`."""
    release = await run_in_threadpool(seams.release, ask.model)
    settings = seams.settings
    samplings = ask.samplings(settings.sampling, max_tokens=settings.max_reply_tokens)
    generation = seams.generations.begin(ask.conversation(), samplings, release=release.name)
    writer = _Writer(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), release.name, ask.n)
    if not ask.stream:
        return await unless_gone(request, generation, writer.whole(generation))
    await unless_gone(request, generation, generation.started())
    chunks = writer.chunks(generation, include_usage=ask.stream_options.include_usage)
    return EventStream(chunks, generation, closing="[DONE]")


def _model(release: ReleaseInfo) -> Model:
    return Model(id=release.name, created=release.created, owned_by=release.run)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Puts one answer into OpenAI's words."""

    id: str
    created: int
    release: str
    n: int

    async def whole(self, generation: Generation) -> Completion:
        """All replies, once they are finished."""
        texts = [""] * self.n
        finishes: dict[int, Finish] = {}
        async for piece in generation.pieces():
            if isinstance(piece.event, Delta):
                texts[piece.index] += piece.event.text
            else:
                finishes[piece.index] = piece.event
        choices = tuple(
            Choice(index=i, message=ReplyMessage(content=text), finish_reason=finishes[i].reason)
            for i, text in enumerate(texts)
        )
        usage = _usage(list(finishes.values()))
        return Completion(id=self.id, created=self.created, model=self.release, choices=choices, usage=usage)

    async def chunks(self, generation: Generation, *, include_usage: bool) -> AsyncIterator[Chunk]:
        """The role of each reply, pieces as they come, each reply's end; then, if wanted, the usage."""
        for index in range(self.n):
            yield self._chunk(index, ReplyDelta(role="assistant", content=""))
        finishes: list[Finish] = []
        async for piece in generation.pieces():
            if isinstance(piece.event, Delta):
                yield self._chunk(piece.index, ReplyDelta(content=piece.event.text))
            else:
                finishes.append(piece.event)
                yield self._chunk(piece.index, ReplyDelta(), piece.event.reason)
        if include_usage:
            yield Chunk(
                id=self.id, created=self.created, model=self.release, choices=(), usage=_usage(finishes)
            )

    def _chunk(self, index: int, delta: ReplyDelta, reason: FinishReason | None = None) -> Chunk:
        choice = ChunkChoice(index=index, delta=delta, finish_reason=reason)
        return Chunk(id=self.id, created=self.created, model=self.release, choices=(choice,))


def _usage(finishes: Sequence[Finish]) -> Usage:
    prompt = finishes[0].prompt_tokens
    replies = sum(finish.completion_tokens for finish in finishes)
    return Usage(prompt_tokens=prompt, completion_tokens=replies, total_tokens=prompt + replies)
