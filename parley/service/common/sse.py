"""Server-sent events: one JSON object a `data:` line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from parley.service.common.problems import describe
from parley.service.common.wire import ErrorAnswer

HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventStream(StreamingResponse):
    """Answers with events, and calls `stop` when it is over, however it came to be over."""

    def __init__(
        self, events: AsyncIterator[BaseModel], stop: Callable[[], None], *, closing: str = ""
    ) -> None:
        super().__init__(_lines(events, closing), media_type="text/event-stream", headers=HEADERS)
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until the end or until the caller hangs up."""
        try:
            with suppress(ClientDisconnect):
                await super().__call__(scope, receive, send)
        finally:
            self._stop()


async def _lines(events: AsyncIterator[BaseModel], closing: str) -> AsyncIterator[str]:
    """The events; an error on the way is the last of them, since the status is long sent."""
    try:
        async for event in events:
            yield _line(event)
    except Exception as error:
        yield _line(ErrorAnswer(error=describe(error)[1]))
    else:
        if closing:
            yield f"data: {closing}\n\n"


def _line(event: BaseModel) -> str:
    return f"data: {event.model_dump_json(exclude_unset=isinstance(event, ErrorAnswer))}\n\n"
