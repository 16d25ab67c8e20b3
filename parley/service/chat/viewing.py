"""One viewer of one reply: server-sent events from any point on, for as long as they may see it.

A reply that this process writes comes from its `Feed`; one that another process writes, and one
that has ended, from the database. The last event is made when it is sent: it carries the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from parley.errors import NotFound
from parley.service.chat import wire
from parley.service.chat.answers import message_answer
from parley.service.common.settings import Settings
from parley.service.replies.feed import Feed, event_line
from parley.store.generations import Event, Generation, events_after, get_generation

PING: Final = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class _Page:
    """Stored events as lines, the number of the last one, and whether it was the reply's last."""

    lines: bytes
    seq: int
    is_over: bool


class Viewing:
    """The events of a generation after number `after`. Make it on the event loop."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        settings: Settings,
        *,
        generation_id: str,
        owner_id: str,
        after: int,
        is_allowed: Callable[[], bool],
    ) -> None:
        self._sessions, self._settings = sessions, settings
        self._generation_id, self._owner_id = generation_id, owner_id
        self._after, self._is_allowed = after, is_allowed
        self._loop = asyncio.get_running_loop()
        self._ping_at = self._loop.time() + settings.ping_seconds
        self._recheck_at = self._loop.time() + settings.recheck_seconds

    async def lines(self, feed: Feed | None) -> AsyncIterator[bytes]:
        """The events, with pings where nothing happens, until the end or until it may not be seen."""
        if feed is not None:
            async for chunk in self._follow(feed):
                yield chunk
        async for chunk in self._read():
            yield chunk

    async def _follow(self, feed: Feed) -> AsyncIterator[bytes]:
        with feed.watch() as woken:
            while await self._may_go_on():
                woken.clear()
                is_over = feed.is_over  # asked before the lines: what is there then is all there is
                lines = feed.lines[self._after :]
                self._after += len(lines)
                if lines:
                    yield self._with_news(b"".join(lines))
                elif is_over:
                    return
                elif not await self._woken(woken, self._ping_at):
                    yield self._with_news(PING)

    async def _read(self) -> AsyncIterator[bytes]:
        never = asyncio.Event()
        while await self._may_go_on():
            page = await run_in_threadpool(self._page)
            if page is None:
                return
            self._after = page.seq
            if page.lines:
                yield self._with_news(page.lines)
            if page.is_over:
                return
            await self._woken(never, self._loop.time() + self._settings.poll_seconds)
            if self._loop.time() >= self._ping_at:
                yield self._with_news(PING)

    async def _may_go_on(self) -> bool:
        if self._loop.time() < self._recheck_at:
            return True
        self._recheck_at = self._loop.time() + self._settings.recheck_seconds
        return await run_in_threadpool(self._is_allowed)

    async def _woken(self, event: asyncio.Event, until: float) -> bool:
        try:
            async with asyncio.timeout_at(min(until, self._recheck_at)):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def _with_news(self, chunk: bytes) -> bytes:
        self._ping_at = self._loop.time() + self._settings.ping_seconds
        return chunk

    def _page(self) -> _Page | None:
        """What is stored after the last event that was sent. None where the conversation was deleted."""
        with self._sessions() as session:
            try:
                generation = get_generation(session, self._generation_id, owner_id=self._owner_id)
                events = events_after(session, self._generation_id, self._after)
                said = b"".join(event_line(event) for event in events if event.kind != "finish")
                if generation.state == "pending":
                    return _Page(said, events[-1].seq if events else self._after, False)
                return _Page(said + self._finish(session, generation), generation.last_seq, True)
            except NotFound:
                return None

    def _finish(self, session: Session, generation: Generation) -> bytes:
        message = message_answer(session, generation.message_id, owner_id=self._owner_id)
        finish = wire.FinishEvent.model_validate(
            {"state": generation.state, "reason": message.error, "message": message}
        )
        return event_line(Event(generation.last_seq, "finish", finish.model_dump_json()))
