"""Requests that wait for a slot: people before bulk work, but bulk work is never starved."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

from parley.engine.requests import Ticket

PEOPLE_IN_A_ROW: Final = 4  # so many before one of bulk work has its turn, where both wait


class Waiting:
    """Two queues. Within each, first come, first served."""

    def __init__(self) -> None:
        self._people: deque[Ticket] = deque()
        self._bulk: deque[Ticket] = deque()
        self._prompts: Counter[tuple[int, ...]] = Counter()
        self._row = 0

    def __len__(self) -> int:
        return len(self._people) + len(self._bulk)

    def __iter__(self) -> Iterator[Ticket]:
        yield from self._people
        yield from self._bulk

    def add(self, ticket: Ticket) -> None:
        """To the end of its queue."""
        (self._bulk if ticket.request.bulk else self._people).append(ticket)
        self._prompts[ticket.request.prompt] += 1

    def wants(self, prompt: tuple[int, ...]) -> bool:
        """Whether somebody waits with this prompt."""
        return self._prompts[prompt] > 0

    def next(self, fits: Callable[[Ticket], bool]) -> Ticket | None:
        """Takes whose turn it is, or the head of the other queue where that one does not fit."""
        bulk_first = self._row >= PEOPLE_IN_A_ROW
        for queue in (self._bulk, self._people) if bulk_first else (self._people, self._bulk):
            if queue and fits(queue[0]):
                self._row = self._row + 1 if queue is self._people and self._bulk else 0
                return self._gone(queue.popleft())
        return None

    def drop(self, leaves: Callable[[Ticket], bool]) -> list[Ticket]:
        """Takes out those that leave."""
        gone = [ticket for ticket in self if leaves(ticket)]
        for ticket in gone:
            (self._bulk if ticket.request.bulk else self._people).remove(ticket)
            self._gone(ticket)
        return gone

    def _gone(self, ticket: Ticket) -> Ticket:
        self._prompts[ticket.request.prompt] -= 1
        if not self._prompts[ticket.request.prompt]:
            del self._prompts[ticket.request.prompt]
        return ticket
