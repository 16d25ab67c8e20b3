"""One thread that owns a batcher, and a handle that any thread may use.

A model computes in one thread alone, which also builds it (what is exact hangs on that thread's
settings); everybody else hands in requests and reads tokens from queues.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

import torch

from parley.engine.batcher import Batcher
from parley.engine.requests import Ended, Request, Sink, Ticket, Token
from parley.engine.runner import Runner
from parley.engine.stats import Stats
from parley.errors import Busy, ParleyError

MOST_WAITING: Final = 128
SMOOTHING: Final = 0.05  # weight of the last step in the running rate
SHORTEST_RETRY, LONGEST_RETRY = 1, 60  # seconds

Event = TypeVar("Event")


class EngineClosed(ParleyError):
    """The engine no longer takes requests."""


class Handle:
    """Cancels a request, wherever it is."""

    def __init__(self, told: threading.Condition) -> None:
        self._told, self._cancelled = told, False
        self._ticket: Ticket | None = None

    def cancel(self) -> None:
        """No token comes after the one at hand. May be called again, and after the end."""
        with self._told:
            self._cancelled = True
            if self._ticket is not None:
                self._ticket.cancelled = True

    def attach(self, ticket: Ticket) -> None:
        """By the engine, with the lock held: the request has reached the batcher."""
        self._ticket, ticket.cancelled = ticket, self._cancelled


class Events(Generic[Event]):
    """What comes out of the engine's thread, for one reader to iterate over. `close` stops the work."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
        self._over = False
        self.handle: Handle | None = None

    def put(self, event: Event) -> None:
        """From the engine."""
        self._queue.put(event)

    def stop(self, error: Exception | None = None) -> None:
        """From the engine: nothing more comes; the reader gets the error."""
        self._queue.put(error)

    def __iter__(self) -> Events[Event]:
        return self

    def __next__(self) -> Event:
        event = None if self._over else self._queue.get()
        if event is not None and not isinstance(event, Exception):
            return event
        self._over = True
        raise StopIteration if event is None else event

    def close(self) -> None:
        """From the reader: enough. Safe after the end."""
        self._over = True
        if self.handle is not None:
            self.handle.cancel()


class Reply(Events[Token | Ended]):
    """The tokens of a reply as they come, then how it ended."""

    def take(self, token: Token) -> bool:
        """From the engine: the next token."""
        self.put(token)
        return False

    def end(self, ended: Ended | Exception) -> None:
        """From the engine: it is over."""
        if isinstance(ended, Exception):
            self.stop(ended)
        else:
            self.put(ended)
            self.stop()


class Engine:
    """Writes replies in a thread of its own until it is closed. All methods may be called from any.

    `build` makes the batcher, in that thread; what it raises comes out here.
    """

    def __init__(
        self, build: Callable[[], Batcher], *, threads: int, most_waiting: int = MOST_WAITING
    ) -> None:
        self._threads, self._most_waiting = threads, most_waiting
        self._told = threading.Condition()
        self._inbox: list[tuple[Request, Sink, Handle, float]] = []
        self._swaps: list[tuple[Callable[[], Runner], Future[None]]] = []
        self._closed = False
        self._waiting, self._running, self._owed, self._rate = 0, 0, 0, 0.0  # as of the last step
        self._requests = self._refused = 0
        self._builds = [build]  # taken out when it is used: it may hold a whole model
        ready: Future[Batcher] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="engine", daemon=True)
        self._thread.start()
        batcher = ready.result()
        self._shape, self._slots, self._tally = batcher.runner.shape, batcher.num_slots, batcher.tally

    def submit(self, request: Request) -> Reply:
        """A reply that is being written. `ConfigError` for what the model cannot do, `Busy` where too
        many wait already."""
        reply = Reply()
        reply.handle = self.hand_in(request, reply)
        return reply

    def hand_in(self, request: Request, sink: Sink) -> Handle:
        """As `submit`, for who wants the tokens in the engine's thread."""
        request.check(self._shape)
        handle = Handle(self._told)
        with self._told:
            if self._closed:
                raise EngineClosed("this engine has been closed")
            if len(self._inbox) + self._waiting >= self._most_waiting:
                self._refused += 1
                raise Busy(
                    f"{self._most_waiting} requests are waiting already; try again later",
                    retry_after_seconds=self._retry_after(),
                )
            self._requests += 1
            self._inbox.append((request, sink, handle, time.monotonic()))
            self._told.notify()
        return handle

    def swap(self, build: Callable[[], Runner]) -> Future[None]:
        """Other weights of the same shape, from the next token on; see `Batcher.swap`. Done once they
        write, or with what `build` raised."""
        done: Future[None] = Future()
        with self._told:
            if self._closed:
                raise EngineClosed("this engine has been closed")
            self._swaps.append((build, done))
            self._told.notify()
        return done

    def stats(self) -> Stats:
        """For metrics: a moment's numbers."""
        with self._told:
            tally = self._tally
            return Stats(
                waiting=self._waiting + len(self._inbox),
                running=self._running,
                slots=self._slots,
                tokens_per_second=self._rate,
                retry_after_seconds=self._retry_after(),
                requests=self._requests,
                refused=self._refused,
                ended=tally.ended.copy(),
                prompt_tokens=tally.prompt_tokens,
                prompt_reused=tally.prompt_reused,
                tokens=tally.tokens,
                steps=tally.steps,
                first_token=tally.first_token,
            )

    def close(self, *, timeout_seconds: float | None = None) -> bool:
        """Takes nothing more, writes what was taken to its end; whether it is through in time."""
        with self._told:
            self._closed = True
            self._told.notify()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _retry_after(self) -> int:
        """Seconds until about half of those who wait have been served, by the running rate."""
        owed = self._owed + sum(request.max_new_tokens for request, *_ in self._inbox)
        seconds = owed / 2 / max(self._rate, 1.0)
        return round(min(max(seconds, SHORTEST_RETRY), LONGEST_RETRY))

    def _run(self, ready: Future[Batcher]) -> None:
        torch.set_num_threads(self._threads)
        torch.set_flush_denormal(True)
        try:
            batcher = self._builds.pop()()
        except Exception as error:
            ready.set_exception(error)
            return
        ready.set_result(batcher)
        while self._wait(batcher):
            try:
                self._collect(batcher)
                began = time.perf_counter()
                count = batcher.step()
            except Exception as error:
                batcher.fail(error)
                continue
            now = count / max(time.perf_counter() - began, 1e-9)
            self._rate = self._rate + SMOOTHING * (now - self._rate) if self._rate else now

    def _wait(self, batcher: Batcher) -> bool:
        """Until there is something to do. False: it is over."""
        with self._told:
            if batcher.idle:
                self._waiting = self._running = self._owed = 0
            self._told.wait_for(lambda: not batcher.idle or self._inbox or self._swaps or self._closed)
            return not (self._closed and batcher.idle and not self._inbox and not self._swaps)

    def _collect(self, batcher: Batcher) -> None:
        """Take in what others have said."""
        with self._told:
            swaps, self._swaps = self._swaps, []
            inbox, self._inbox = self._inbox, []
            for request, sink, handle, came in inbox:
                handle.attach(batcher.add(request, sink, came=came))
            batcher.admit()
            self._waiting, self._running = batcher.num_waiting, batcher.num_running
            self._owed = batcher.tokens_waiting
        for build, done in swaps:
            _swap(batcher, build, done)


def _swap(batcher: Batcher, build: Callable[[], Runner], done: Future[None]) -> None:
    try:
        batcher.swap(build())
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
