"""What the page asks for: the releases, and replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from parley.ports import Delta
from parley.service.chat.labels import labels
from parley.service.chat.wire import ChatAsk, End, Release, Releases, Start, Text
from parley.service.common.deps import WithSeams, person
from parley.service.common.generation import Generation, unless_gone
from parley.service.common.sse import EventStream
from parley.service.common.wire import ErrorAnswer

router = APIRouter(
    prefix="/api",
    tags=["chat"],
    dependencies=[Depends(person)],
    responses={"default": {"model": ErrorAnswer}},
)


@router.get("/releases")
def list_releases(seams: WithSeams) -> Releases:
    """The releases to talk to, oldest first."""
    found = seams.responder.releases()
    return Releases(
        releases=tuple(
            Release(
                name=release.name,
                label=label,
                stage=release.stage,
                run=release.run,
                created=release.created,
            )
            for release, label in zip(found, labels(found), strict=True)
        )
    )


@router.post("/chat", response_model=None, responses={200: {"content": {"text/event-stream": {}}}})
async def chat(ask: ChatAsk, request: Request, seams: WithSeams) -> EventStream:
    """A reply as server-sent events: `start`, `delta` …, `finish`; an `error` may end it."""
    release = await run_in_threadpool(seams.release, ask.release)
    sampling = seams.settings.sampling
    if ask.temperature is not None:
        sampling = replace(sampling, temperature=ask.temperature)
    generation = seams.generations.begin(ask.conversation(), (sampling,), release=release.name)
    await unless_gone(request, generation, generation.started())
    return EventStream(_events(generation, release.name), generation)


async def _events(generation: Generation, release: str) -> AsyncIterator[Start | Text | End]:
    yield Start(release=release)
    async for piece in generation.pieces():
        if isinstance(piece.event, Delta):
            yield Text(text=piece.event.text)
        else:
            yield End(reason=piece.event.reason, completion_tokens=piece.event.completion_tokens)
