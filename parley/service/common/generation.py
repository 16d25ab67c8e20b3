"""Replies for programs being written: bounded in number, heard on the event loop, stopped when nobody listens.

Releases speak in threads of their own (`ports.Completer`). Whatever they say before the loop comes
round is one wake-up and, for each reply, one piece: a slow reader gets fewer and longer pieces.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request

from parley.errors import Busy, Unavailable
from parley.ports import Begun, Completer, Delta, Finish, Heard, Order
from parley.service.common.meter import Pulse

BEGINNING: Final = 4  # requests whose prompts are read, or whose models are loaded, at once
LOOKS_SECONDS: Final = 0.02
STOPPED: Final = "The server was stopped while this was being written; ask again in a moment."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of reply number `index`."""

    index: int
    event: Begun | Delta | Finish


class Bell:
    """One wake-up of the event loop for all that threads have to say until it comes round."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._waiting, self._rung = loop, deque[asyncio.Event](), False

    def ring(self, event: asyncio.Event) -> None:
        """From any thread: have the event set."""
        self._waiting.append(event)
        if not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._rung = False  # first: what is said from here on rings again
        while self._waiting:
            self._waiting.popleft().set()


class Generation:
    """One request's replies. Each `ended` is told once, when a reply has come to its end."""

    def __init__(self, count: int, bell: Bell, pulse: Pulse, ended: Callable[[], None]) -> None:
        self._bell, self._pulse, self._ended = bell, pulse, ended
        self._mail: deque[tuple[int, Heard]] = deque()
        self._woken = asyncio.Event()
        self._unread = count
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self.is_stopped = False

    def hearer(self, index: int) -> Callable[[Heard], None]:
        """What a release speaks to, in whatever thread, about reply number `index`."""

        def hear(heard: Heard) -> None:
            self._mail.append((index, heard))
            self._bell.ring(self._woken)
            if isinstance(heard, Finish | Exception):
                self._ended()

        return hear

    def stops_by(self, stop: Callable[[], None]) -> None:
        """How a reply that has begun is stopped."""
        with self._lock:
            self._stops.append(stop)
            is_stopped = self.is_stopped
        if is_stopped:
            stop()

    def stop(self, error: Exception | None = None) -> None:
        """Enough: nobody listens, or the listener is told why. Safe after the end and from any thread."""
        with self._lock:
            stops, self._stops, self.is_stopped = self._stops, [], True
        if error is not None:
            self._mail.appendleft((0, error))
            self._bell.ring(self._woken)
        for stop in stops:
            stop()
        self._pulse.close(error)

    async def started(self) -> None:
        """Returns when something of a reply is there; raises what went wrong instead."""
        while all(isinstance(heard, Begun) for _, heard in tuple(self._mail)):
            await self._woken.wait()
            self._woken.clear()
        self._woken.set()
        for _, heard in tuple(self._mail):
            if isinstance(heard, Exception):
                self._fail(heard)

    async def pieces(self) -> AsyncIterator[Piece]:
        """All pieces as they come; raises what went wrong."""
        while self._unread:
            await self._woken.wait()
            self._woken.clear()
            for piece in self._taken():
                self._pulse.beat(piece.index, piece.event)
                yield piece
        self._pulse.close()

    def _fail(self, error: Exception) -> NoReturn:
        self._pulse.close(error)
        self.stop()
        raise error

    def _taken(self) -> Iterator[Piece]:
        """What was said since the last time, each reply's deltas as one."""
        said: dict[int, list[Delta]] = {}
        for _ in range(len(self._mail)):
            index, heard = self._mail.popleft()
            if isinstance(heard, Delta):
                said.setdefault(index, []).append(heard)
                continue
            yield from (Piece(one, _joined(said.pop(one))) for one in [*said])
            if isinstance(heard, Exception):
                self._fail(heard)
            self._unread -= isinstance(heard, Finish)
            yield Piece(index, heard)
        yield from (Piece(one, _joined(deltas)) for one, deltas in said.items())


def _joined(deltas: Sequence[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        "".join(delta.text for delta in deltas), tuple(token for delta in deltas for token in delta.tokens)
    )


class Generations:
    """All that programs wait for: at most `limit` replies at once, and `limit_of_key` of one key."""

    def __init__(self, completer: Completer, *, limit: int, limit_of_key: int) -> None:
        self._completer = completer
        self._limit, self._limit_of_key = limit, limit_of_key
        self._lock = threading.Lock()
        self._held: Counter[int] = Counter()
        self._live: set[Generation] = set()
        self._bell: Bell | None = None
        self._beginning: CapacityLimiter | None = None
        self.is_closing = False

    async def begin(self, orders: Sequence[Order], pulse: Pulse, *, key: int) -> Generation:
        """Has the orders written, all or none; what a release refuses comes out here."""
        bell, beginning = self._on_loop()
        self._take(len(orders), key)
        left = [len(orders)]  # under the lock

        def ended(count: int = 1) -> None:
            with self._lock:
                left[0] -= count
                self._held[key] -= count
                if not left[0]:
                    self._live.discard(generation)

        generation = Generation(len(orders), bell, pulse, ended)
        self._live.add(generation)

        def start() -> None:
            for index, order in enumerate(orders):
                try:
                    generation.stops_by(self._completer.complete(order, generation.hearer(index)))
                except BaseException:
                    ended(len(orders) - index)
                    raise

        try:
            await to_thread.run_sync(start, limiter=beginning)
        except BaseException as error:
            pulse.close(error)
            generation.stop()
            raise
        return generation

    async def drain(self, seconds: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Takes nothing more, waits for what is being written, and tells whoever is left why it ends."""
        self.is_closing = True
        until = asyncio.get_running_loop().time() + seconds
        while self._live and not hurry() and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(LOOKS_SECONDS)
        for generation in list(self._live):
            generation.stop(Unavailable(STOPPED))

    def _on_loop(self) -> tuple[Bell, CapacityLimiter]:
        if self._bell is None or self._beginning is None:
            self._bell, self._beginning = Bell(asyncio.get_running_loop()), CapacityLimiter(BEGINNING)
        return self._bell, self._beginning

    def _take(self, count: int, key: int) -> None:
        if self.is_closing:
            raise Unavailable("The server is being stopped; try again in a moment.")
        with self._lock:
            if self._held.total() + count > self._limit:
                raise _busy("Too many replies are being written at the moment; try again in a second.")
            if self._held[key] + count > self._limit_of_key:
                raise _busy(f"This key has {self._held[key]} replies being written; wait for some of them.")
            self._held[key] += count


def _busy(message: str) -> Busy:
    return Busy(message, retry_after_seconds=1)


async def unless_gone(request: Request, work: Awaitable[T], stop: Callable[[], None]) -> T:
    """The result of `work`, unless the caller hangs up first: then it is stopped.

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
        stop()
        raise
    finally:
        task.cancel()
        gone.cancel()
