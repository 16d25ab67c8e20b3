"""`/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from parley.ports import Begun, Delta, Finish, ReleaseInfo
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
)
from parley.service.openai.writing import (
    Frame,
    Reply,
    chat_logprobs,
    cost,
    gathered,
    new_frame,
    pulse,
    token_ids,
    told,
)
from parley.store.keys import ApiKey

chat_key = key_with("chat")
router = APIRouter(
    prefix="/v1",
    tags=["openai"],
    dependencies=[Depends(chat_key)],
    responses={"default": {"model": ErrorAnswer}},
)
Key = Annotated[ApiKey, Depends(chat_key)]


@router.get("/models")
def list_models(seams: WithSeams) -> Models:
    """The releases that can answer, oldest first."""
    return Models(data=tuple(_model(release) for release in seams.responder.releases()))


@router.get("/models/{name:path}")
def get_model(name: str, seams: WithSeams) -> Model:
    """One release."""
    return _model(seams.release(name))


@router.post("/chat/completions", response_model=Completion)
async def complete(ask: ChatRequest, request: Request, seams: WithSeams, key: Key) -> Completion | Response:
    """A reply, or `n` of them: whole, or with `stream` as server-sent events that end in `[DONE]`."""
    release = await run_in_threadpool(seams.release, ask.model)
    settings = seams.settings
    orders = ask.orders(settings.sampling, most=settings.max_reply_tokens, release=release.name)
    generation = await seams.generations.begin(orders, pulse(seams, request, "chat", orders), key=key.id)
    writer = _Writer(new_frame("chatcmpl", release), ask)
    if not ask.stream:
        return await unless_gone(request, writer.whole(generation), generation.stop)
    await unless_gone(request, generation.started(), generation.stop)
    return EventStream(writer.chunks(generation), generation.stop, closing="[DONE]")


def _model(release: ReleaseInfo) -> Model:
    return Model(id=release.name, created=release.created, owned_by=release.run)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Puts one answer into OpenAI's words."""

    frame: Frame
    ask: ChatRequest

    async def whole(self, generation: Generation) -> Completion:
        """All replies, once they are finished."""
        replies = await gathered(generation, self.ask.n)
        finishes = {index: reply.ended for index, reply in enumerate(replies)}
        choices = tuple(self._choice(index, reply) for index, reply in enumerate(replies))
        return Completion(**self.frame, choices=choices, usage=cost(finishes, self.ask.n))

    async def chunks(self, generation: Generation) -> AsyncIterator[Chunk]:
        """The role of each reply, pieces as they come, each reply's end; then, if wanted, the usage."""
        for index in range(self.ask.n):
            yield self._chunk(ChunkChoice(index=index, delta=ReplyDelta(role="assistant", content="")))
        finishes: dict[int, Finish] = {}
        async for piece in generation.pieces():
            if isinstance(piece.event, Finish):
                finishes[piece.index] = piece.event
            if (choice := self._piece(piece.index, piece.event)) is not None:
                yield self._chunk(choice)
        if self.ask.stream_options.include_usage:
            yield Chunk(**self.frame, choices=(), usage=cost(finishes, self.ask.n))

    def _choice(self, index: int, reply: Reply) -> Choice:
        ids = self.ask.return_token_ids
        tokens = told(reply.tokens, reply.finish, whole=ids)
        return Choice(
            index=index,
            message=ReplyMessage(content=reply.text),
            logprobs=chat_logprobs(tokens) if self.ask.logprobs else None,
            finish_reason=reply.ended.reason,
            token_ids=token_ids(tokens) if ids else None,
            prompt_token_ids=reply.prompt if ids else None,
        )

    def _piece(self, index: int, event: Begun | Delta | Finish) -> ChunkChoice | None:
        ids = self.ask.return_token_ids
        if isinstance(event, Begun):
            return (
                ChunkChoice(index=index, delta=ReplyDelta(), prompt_token_ids=event.prompt) if ids else None
            )
        tokens = event.tokens if isinstance(event, Delta) else event.rest if ids else ()
        is_told = self.ask.logprobs and (isinstance(event, Delta) or bool(tokens))
        return ChunkChoice(
            index=index,
            delta=ReplyDelta(content=event.text) if isinstance(event, Delta) else ReplyDelta(),
            logprobs=chat_logprobs(tokens) if is_told else None,
            finish_reason=event.reason if isinstance(event, Finish) else None,
            token_ids=token_ids(tokens) if ids else None,
        )

    def _chunk(self, choice: ChunkChoice) -> Chunk:
        return Chunk(**self.frame, choices=(choice,))
