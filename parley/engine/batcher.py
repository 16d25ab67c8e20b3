"""Continuous batching: replies join and leave a running batch at any token.

Every `step` reads the last token of each reply that is being written and, within a budget, chunks of
prompts, all in one pass of the model; then every reply gets its next token. Prompts are read in rows
of their own (`reading`), so that the rows of `writing` are always the first ones; equal prompts are
read once. Nothing here looks at a clock but for deadlines: the same requests in the same order make
the same steps.

Not safe to use from several threads: `engine.engine` owns one of these in a thread, `engine.sampler`
runs one to its end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from parley.engine.choice import Roster, choose
from parley.engine.prefix import PrefixCache
from parley.engine.requests import Reason, Request, Sink, Ticket, Token
from parley.engine.runner import CHUNK, Chunk, Runner, Step
from parley.engine.stats import Tally
from parley.engine.waiting import Waiting
from parley.errors import InvariantError

READING_ROWS: Final = 8
READING_TOKENS: Final = 192  # of prompts in one step; more would be felt as a pause by running replies


@dataclass(slots=True, eq=False)
class _Reading:
    """A prompt that is being read, for one or several replies, or that has been read and stays while
    further replies to it wait for a slot."""

    row: int
    prompt: tuple[int, ...]
    tickets: list[Ticket]
    done: int = 0
    logits: Tensor | None = None
    """Behind its last token, once it has been read."""

    @property
    def chunks(self) -> int:
        """How many chunks the prompt has."""
        return -(-len(self.prompt) // CHUNK)

    def chunk(self, index: int) -> Chunk:
        """Chunk number `index`."""
        tokens = self.prompt[index * CHUNK : (index + 1) * CHUNK]
        return Chunk(self.row, index, tokens, last=index == self.chunks - 1)


@dataclass(slots=True)
class _State:
    """Who is where. `writers` are rows 0, 1, … of the slots."""

    waiting: Waiting = field(default_factory=Waiting)
    readings: list[_Reading] = field(default_factory=list)
    writers: list[Ticket] = field(default_factory=list)

    def tickets(self) -> list[Ticket]:
        """Everybody who is owed something."""
        reading = [ticket for one in self.readings for ticket in one.tickets]
        return [*self.waiting, *reading, *self.writers]

    def held(self, *, bulk: bool) -> int:
        """Slots that are taken or promised, by bulk work alone or by all."""
        reading = [ticket for one in self.readings for ticket in one.tickets]
        return sum(ticket.request.bulk or not bulk for ticket in (*reading, *self.writers))


class Batcher:
    """Up to `slots` replies at once over one model. `reserved` slots are kept from bulk work;
    `prefix_bytes` of read prompts are kept for later ones."""

    def __init__(
        self,
        runner: Runner,
        *,
        slots: int,
        columns: int,
        reading_rows: int = READING_ROWS,
        reading_tokens: int = READING_TOKENS,
        reserved: int = 0,
        prefix_bytes: int = 0,
    ) -> None:
        self.runner, self.version = runner, 0
        shape, device = runner.shape, runner.device
        self._writing = runner.slots(rows=slots, columns=columns)
        self._reading = runner.slots(rows=reading_rows, columns=columns)
        self.tally = Tally()
        self._budget, self._reserved = reading_tokens, reserved
        self._prefixes = PrefixCache(prefix_bytes)
        self._state = _State()
        self._roster: tuple[tuple[Ticket, ...], Roster] = ((), Roster.of((), shape.vocab_size, device))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._state.waiting or self._state.readings or self._state.writers)

    @property
    def num_waiting(self) -> int:
        """Requests without a slot."""
        return len(self._state.waiting)

    @property
    def tokens_waiting(self) -> int:
        """How many tokens those requests may become."""
        return sum(ticket.request.max_new_tokens for ticket in self._state.waiting)

    @property
    def num_running(self) -> int:
        """Replies that are being written, or whose prompt is being read."""
        return self._state.held(bulk=False)

    @property
    def num_slots(self) -> int:
        """How many of these there can be at once."""
        return self._writing.rows

    def add(self, request: Request, sink: Sink, *, came: float | None = None) -> Ticket:
        """Queue a request that was checked; cancel by the ticket, at any time. `came`: when it was asked,
        if not now."""
        ticket = Ticket(request, sink, request.noise(), time.monotonic() if came is None else came)
        self._state.waiting.add(ticket)
        return ticket

    def swap(self, runner: Runner) -> None:
        """Other weights from the next token on. Replies that have begun go on with what they have
        remembered under the old ones; prompts that are being read begin again."""
        self.runner, self.version = runner, self.version + 1
        self._prefixes.clear()
        for reading in list(self._state.readings):
            if not reading.tickets:
                self._forget(reading)
            reading.done, reading.logits = 0, None
            for ticket in reading.tickets:
                ticket.prompt_reused = 0

    def fail(self, error: Exception) -> None:
        """Tell everybody that their replies are lost, and begin anew."""
        tickets, self._state = self._state.tickets(), _State()
        self._prefixes.clear()
        for slots in (self._writing, self._reading):
            for row in range(slots.rows):
                slots.scrub(row)
        self.tally.ended["failed"] += len(tickets)
        for ticket in tickets:
            ticket.sink.end(error)

    @torch.inference_mode()
    def admit(self) -> None:
        """End what was cancelled or is late, and give free slots to those who wait; `step` begins so."""
        self._drop(time.monotonic())
        while (ticket := self._state.waiting.next(self._fits)) is not None:
            reading = self._reading_of(ticket.request.prompt)
            if reading is None:
                self._begin(ticket)
            else:
                reading.tickets.append(ticket)
                ticket.prompt_reused = len(reading.prompt)

    @torch.inference_mode()
    def step(self) -> int:
        """One more token of every reply; how many tokens were drawn."""
        self.admit()
        chunks = self._next_chunks()
        count = self._deliver(*self._run(chunks))
        self.tally.tokens += count
        self.tally.steps += 1
        return count

    def _run(self, chunks: Sequence[Chunk]) -> tuple[Tensor, list[_Reading]]:
        """Logits of every writer, and the prompts that are now read."""
        writers = self._state.writers
        if not writers and not chunks:
            return torch.empty(0, self.runner.shape.vocab_size, device=self.runner.device), []
        logits = self.runner.run(
            Step(
                writing=self._writing,
                tokens=[ticket.drawn[-1] for ticket in writers],
                columns=[ticket.columns for ticket in writers],
                reading=self._reading,
                chunks=chunks,
            )
        )
        by_row = {reading.row: reading for reading in self._state.readings}
        read = [by_row[chunk.row] for chunk in chunks if chunk.last]
        for reading, own in zip(read, logits[len(writers) :], strict=True):
            reading.logits = own
        return logits[: len(writers)], read

    def _drop(self, now: float) -> None:
        """End the replies that were cancelled or are late."""
        state = self._state
        for ticket in state.waiting.drop(lambda one: one.due(now) is not None):
            self._end(ticket, ticket.due(now))
        for reading in state.readings:
            for ticket in [one for one in reading.tickets if one.due(now)]:
                self._end(ticket, ticket.due(now))
                reading.tickets.remove(ticket)
        for reading in list(state.readings):
            if not reading.tickets and not (
                reading.logits is not None and state.waiting.wants(reading.prompt)
            ):
                self._forget(reading)
        late = {row: ticket.due(now) for row, ticket in enumerate(state.writers)}
        for row in sorted((row for row, reason in late.items() if reason), reverse=True):
            self._end(state.writers[row], late[row])
            self._vacate(row)

    def _end(self, ticket: Ticket, reason: Reason | None) -> None:
        if reason is not None:
            self.tally.ended[reason] += 1
            ticket.end(reason, self.version)

    def _vacate(self, row: int) -> None:
        """Give the row of a reply that has ended to the last one, so that no row is idle."""
        last = self._state.writers.pop()
        if row < len(self._state.writers):
            self._writing.copy(row, self._writing, len(self._state.writers), last.columns)
            self._state.writers[row] = last
        self._writing.release(len(self._state.writers))

    def _fits(self, ticket: Ticket) -> bool:
        state, slots = self._state, self._writing.rows
        if state.held(bulk=False) >= slots:
            return False
        if ticket.request.bulk and state.held(bulk=True) >= slots - self._reserved:
            return False
        if len(state.readings) < self._reading.rows or not all(one.tickets for one in state.readings):
            return True
        return self._reading_of(ticket.request.prompt) is not None

    def _reading_of(self, prompt: tuple[int, ...]) -> _Reading | None:
        return next((one for one in self._state.readings if one.prompt == prompt), None)

    def _begin(self, ticket: Ticket) -> None:
        """Begin to read a prompt, behind what is known of it."""
        reading = _Reading(self._free_row(), ticket.request.prompt, [ticket])
        row = reading.row
        self._state.readings.append(reading)
        blocks = self._prefixes.find(ticket.request.prompt) if ticket.request.remember else []
        if blocks:
            self._reading.put(row, 0, blocks)
            reading.done = len(blocks)
            ticket.prompt_reused = len(blocks) * CHUNK

    def _free_row(self) -> int:
        """A row to read in; perhaps that of a prompt that was read and whose next reply still waits."""
        readings = self._state.readings
        if len(readings) == self._reading.rows:
            self._forget(next(one for one in readings if not one.tickets))
        taken = {reading.row for reading in self._state.readings}
        return next(row for row in range(self._reading.rows) if row not in taken)

    def _forget(self, reading: _Reading) -> None:
        self._state.readings.remove(reading)
        self._reading.release(reading.row)

    def _next_chunks(self) -> list[Chunk]:
        """Those to be read in this step: people's prompts first, one prompt after the other."""
        chunks: list[Chunk] = []
        room = self._budget
        for reading in sorted(self._state.readings, key=_is_bulk):
            while reading.done < reading.chunks and room > 0:
                chunks.append(reading.chunk(reading.done))
                room -= len(chunks[-1].tokens)
                reading.done += 1
        return chunks

    def _deliver(self, logits: Tensor, read: Sequence[_Reading]) -> int:
        """Draw and hand out a token for every reply; make room."""
        state = self._state
        count = len(state.writers)
        begun = [(one, one.logits, ticket) for one in state.readings for ticket in one.tickets]
        first = [(one, own, ticket) for one, own, ticket in begun if own is not None]
        tickets = [*state.writers, *(ticket for *_, ticket in first)]
        if not tickets:
            return 0
        if first:
            logits = torch.cat((logits, torch.stack([own for _, own, _ in first])))
        going = [self._hand(*pair) for pair in zip(tickets, self._chosen(logits, tickets), strict=True)]
        for row in reversed([row for row in range(count) if not going[row]]):
            self._vacate(row)
        for (reading, _, ticket), goes in zip(first, going[count:], strict=True):
            if goes:
                self._writing.copy(len(state.writers), self._reading, reading.row, ticket.columns)
                state.writers.append(ticket)
        for reading in read:
            self._keep(reading)
        for reading in {id(reading): reading for reading, *_ in first}.values():
            self._finish(reading)
        return len(tickets)

    def _chosen(self, logits: Tensor, tickets: list[Ticket]) -> list[Token | None]:
        key = tuple(tickets)
        if key != self._roster[0]:
            requests = [ticket.request for ticket in tickets]
            self._roster = (key, Roster.of(requests, logits.shape[1], logits.device))
        uniform = [ticket.noise[len(ticket.drawn)] for ticket in tickets]
        return choose(logits, self._roster[1], uniform, [ticket.penalties() for ticket in tickets])

    def _hand(self, ticket: Ticket, token: Token | None) -> bool:
        """Whether the reply goes on."""
        if token is None:
            raise InvariantError("the model's logits are not numbers: its weights are broken")
        if not ticket.drawn:
            self._first(ticket)
        reason = ticket.take(token)
        self._end(ticket, reason)
        return reason is None

    def _first(self, ticket: Ticket) -> None:
        ticket.began = self.version
        self.tally.begin(
            prompt_tokens=len(ticket.request.prompt),
            prompt_reused=ticket.prompt_reused,
            seconds=time.monotonic() - ticket.came,
        )

    def _keep(self, reading: _Reading) -> None:
        if any(ticket.request.remember for ticket in reading.tickets):
            self._prefixes.keep(reading.prompt, self._reading, reading.row)

    def _finish(self, reading: _Reading) -> None:
        """Its replies have begun: the row is free, unless others wait with this prompt."""
        reading.tickets.clear()
        if reading.logits is not None and self._state.waiting.wants(reading.prompt):
            reading.logits = reading.logits.clone()
        else:
            self._forget(reading)


def _is_bulk(reading: _Reading) -> bool:
    return all(ticket.request.bulk for ticket in reading.tickets)
