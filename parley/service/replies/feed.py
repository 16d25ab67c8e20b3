"""What the viewers of a reply are shown while it is being written: stored events, and a wake-up.

Events come in from the desk's thread, viewers wait on their event loops.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from parley.store.generations import Event


def event_line(event: Event) -> bytes:
    """A stored event as server-sent event."""
    return f"id: {event.seq}\ndata: {event.data}\n\n".encode()


class Feed:
    """The stored events of one reply. Event number n stands at n - 1; the lines only grow."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.is_over = False
        self._watchers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    def publish(self, events: Iterable[Event], *, is_over: bool) -> None:
        """Adds events that were stored. Whoever watches has to be woken."""
        self.lines.extend(map(event_line, events))
        self.is_over = self.is_over or is_over

    def blank(self) -> None:
        """Moderation took the reply back: only who writes it may still be told."""
        self.lines[1:] = [b""] * len(self.lines[1:])

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event on the running loop that is set whenever there is more."""
        woken = asyncio.Event()
        with self._lock:
            self._watchers[woken] = asyncio.get_running_loop()
        try:
            yield woken
        finally:
            with self._lock:
                del self._watchers[woken]

    def watchers(self) -> list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]:
        """Who watches, and on which loop."""
        with self._lock:
            return [(loop, woken) for woken, loop in self._watchers.items()]


def wake(feeds: Iterable[Feed]) -> None:
    """Wakes everybody who watches, with one call to each loop."""
    sleepers: defaultdict[asyncio.AbstractEventLoop, list[asyncio.Event]] = defaultdict(list)
    for feed in feeds:
        for loop, woken in feed.watchers():
            sleepers[loop].append(woken)
    for loop, events in sleepers.items():
        with suppress(RuntimeError):  # the loop is closed: its viewers are gone
            loop.call_soon_threadsafe(_set_all, events)


def _set_all(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        event.set()
