"""Replies being written: bounded in number, each in a thread of its own, stopped when nobody listens.

A `Responder`'s iterator is plain and blocking. It is run, from its first step to its close, in one
thread (what it holds may belong to that thread), and its pieces are handed to the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from starlette.requests import ClientDisconnect, Request

from parley.dialogue import Conversation
from parley.errors import Busy
from parley.ports import Delta, Finish, Responder, Sampling

Event = Delta | Finish
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of reply number `index`."""

    index: int
    event: Event


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None:
        """Stops the work."""


class Generation:
    """One request's replies. `stop` ends each after the piece at hand; `on_end` comes after the last."""

    def __init__(self, starts: Sequence[Callable[[], Iterator[Event]]], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._held: Piece | None = None
        self._unread = len(starts)  # replies whose end was not read yet: the event loop's count
        self._unwritten = len(starts)  # replies whose thread is not through: under the lock
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._on_end = on_end
        for index, start in enumerate(starts):
            threading.Thread(target=self._write, args=(index, start), name="reply", daemon=True).start()

    def stop(self) -> None:
        """Nobody listens any more."""
        self._stopped.set()

    async def started(self) -> None:
        """Returns when the first piece is there; raises what the responder raised instead."""
        self._held = await self._next()

    async def pieces(self) -> AsyncIterator[Piece]:
        """All pieces as they come; raises what the responder raised."""
        piece = self._held or await self._next()
        while piece is not None:
            yield piece
            piece = await self._next()

    async def _next(self) -> Piece | None:
        while self._unread:
            item = await self._queue.get()
            if isinstance(item, Piece):
                return item
            if item is not None:
                self.stop()
                raise item
            self._unread -= 1
        return None

    def _write(self, index: int, start: Callable[[], Iterator[Event]]) -> None:
        try:
            self._put(self._run(index, start))
        finally:
            with self._lock:
                self._unwritten -= 1
                last = not self._unwritten
            if last:
                self._on_end()

    def _run(self, index: int, start: Callable[[], Iterator[Event]]) -> Exception | None:
        """Writes one reply; returns what went wrong."""
        finished = False
        try:
            events = start()
            try:
                for event in events:
                    if self._stopped.is_set():
                        return None
                    finished = isinstance(event, Finish)
                    self._put(Piece(index, event))
            finally:
                if isinstance(events, _Closable):
                    events.close()
        except Exception as error:
            return error
        return None if finished else RuntimeError("the reply ended without its Finish")

    def _put(self, item: Piece | Exception | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: the server went down, nobody is left to tell
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


class Generations:
    """All replies being written, for at most `limit` requests at once."""

    def __init__(self, responder: Responder, *, limit: int) -> None:
        self._responder = responder
        self._slots = threading.BoundedSemaphore(limit)

    def begin(self, conversation: Conversation, samplings: Sequence[Sampling], *, release: str) -> Generation:
        """Starts one reply for each sampling. `Busy` where too many requests are being answered."""
        if not self._slots.acquire(blocking=False):
            raise Busy("Too many replies are being written at the moment; try again in a second.")

        def start(sampling: Sampling) -> Callable[[], Iterator[Event]]:
            return lambda: self._responder.stream(conversation, sampling, release=release)

        return Generation([start(sampling) for sampling in samplings], self._slots.release)


async def unless_gone(request: Request, generation: Generation, work: Awaitable[T]) -> T:
    """The result of `work`, unless the caller hangs up first: then the generation is stopped.

    Call it after the body was read; the next thing that a connection says is that it is closed.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    except BaseException:
        generation.stop()
        raise
    finally:
        task.cancel()
        gone.cancel()
