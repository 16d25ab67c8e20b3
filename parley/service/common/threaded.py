"""A plain `Responder` as a `Completer`: a thread for each reply, for engines that only stream chat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from parley.dialogue import Conversation
from parley.errors import ConfigError
from parley.ports import Delta, Finish, Heard, Load, Order, Responder


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None:
        """Stops the work."""


class Threaded:
    """Runs `Responder.stream` from its first step to its close in one thread, since what an iterator
    holds may belong to that thread; it is stopped after the piece at hand."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def complete(self, order: Order, hear: Callable[[Heard], None]) -> Callable[[], None]:
        """As in `ports.Completer`, for conversations alone, and without anything about tokens."""
        conversation = order.prompt
        if not isinstance(conversation, Conversation) or order.tell or order.echo:
            raise ConfigError("this release answers conversations only, without tokens or log-probabilities")
        stopped = threading.Event()

        def write() -> None:
            try:
                hear(self._write(conversation, order, hear, stopped))
            except Exception as error:
                hear(error)

        threading.Thread(target=write, name="reply", daemon=True).start()
        return stopped.set

    def loads(self) -> Sequence[Load]:
        """Nothing is known of its engines."""
        return ()

    def _write(
        self,
        conversation: Conversation,
        order: Order,
        hear: Callable[[Heard], None],
        stopped: threading.Event,
    ) -> Finish:
        events = self._responder.stream(conversation, order.sampling, release=order.release)
        try:
            return _spoken(events, hear, stopped)
        finally:
            if isinstance(events, _Closable):
                events.close()


def _spoken(
    events: Iterator[Delta | Finish], hear: Callable[[Heard], None], stopped: threading.Event
) -> Finish:
    for event in events:
        if isinstance(event, Finish):
            return event
        if stopped.is_set():
            return Finish("length", 0, 0)
        hear(event)
    raise RuntimeError("the reply ended without its Finish")
