"""The desk: every reply that this process writes, from the turn that asked for it to its stored end.

Replies belong to the server: a viewer who leaves changes nothing. One thread stores what all of
them said, about twenty times a second, in one transaction; only then is it shown. The same thread
says that this process is alive, ends the replies of processes that are not, and prunes old events.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from parley.dialogue import Conversation
from parley.errors import Busy
from parley.ports import Moderator, Responder
from parley.service.common.meter import Meter
from parley.service.common.problems import log_unexpected
from parley.service.common.settings import Settings
from parley.service.replies.feed import Feed, wake
from parley.service.replies.reply import BROKEN, Reply
from parley.service.replies.window import Window
from parley.store import generations
from parley.store.database import writing
from parley.store.generations import Ending, Generation, NewReply

ABANDONED: Final = "The server stopped while this was being written. What was written by then is kept."
CLOSING: Final = "The server was stopped while this was being written. What was written by then is kept."
CLOSING_SECONDS: Final = 2.0
STOPS_SECONDS: Final = 0.5  # how often the desk looks whether another process was asked to stop a reply
PRUNE_SECONDS: Final = 600.0
IDLE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0

_open_desks: Final[set[str]] = set()
"""The names of this process's desks. Another name with our process id belonged to somebody who is gone."""


class Desk:
    """Starts, finds and stops replies. Nothing is written before `open`, and `close` ends everything."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        responder: Responder,
        moderator: Moderator,
        settings: Settings,
        meter: Meter,
    ) -> None:
        self.name = f"{_host()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._sessions, self._responder, self._moderator = sessions, responder, moderator
        self._settings, self._meter = settings, meter
        self._replies: dict[str, Reply] = {}
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._due: dict[str, float] = {}

    # --- for the routes --------------------------------------------------------------------------

    def open(self) -> None:
        """Ends what a dead predecessor left, and begins to work. Opening twice changes nothing."""
        with self._lock:
            if self._thread is not None or self._closing:
                return
            _open_desks.add(self.name)
            self._end_abandoned(lambda one: _is_dead(one.writer))
            self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
            self._thread.start()

    def refuse_if_full(self, count: int) -> None:
        """`Busy` unless `count` more replies can be written."""
        if self._closing:
            raise Busy("The server is being stopped; try again in a moment.")
        if len(self._replies) + count > self._settings.max_replies:
            raise Busy("Too many replies are being written at the moment; try again in a few seconds.")

    def begin(self, new: Sequence[NewReply], conversation: Conversation) -> None:
        """Has these replies written, each in a thread of its own."""
        self.open()
        settings = self._settings
        for one in new:
            window = Window(self._moderator, hold=settings.window_hold, context=settings.window_context)
            reply = Reply(one, window)
            with self._lock:
                self._replies[one.generation_id] = reply
            self._start(reply, conversation)
        self._wanted.set()

    def _start(self, reply: Reply, conversation: Conversation) -> None:
        work = (self._responder, conversation)
        try:
            threading.Thread(target=reply.write, args=work, name="reply", daemon=True).start()
        except RuntimeError as error:  # the system gives no further thread
            log_unexpected(error)
            reply.end("failed", BROKEN)

    def feed(self, generation_id: str) -> Feed | None:
        """What is shown of a reply that this process is writing."""
        reply = self._replies.get(generation_id)
        return reply.feed if reply else None

    def stop(self, generation_ids: Iterable[str]) -> None:
        """Ends these replies after the token at hand. What other processes write, they stop themselves."""
        for generation_id in generation_ids:
            reply = self._replies.get(generation_id)
            if reply is not None:
                reply.ask_to_stop()

    def close(self) -> None:
        """Ends all replies, with their text kept, and stops working. Closing twice changes nothing."""
        with self._lock:
            is_open, self._closing = self._thread is not None and not self._closing, True
        if not is_open or self._thread is None:
            return
        for reply in list(self._replies.values()):
            reply.ask_to_stop(CLOSING)
        self._wanted.set()
        self._thread.join()
        _open_desks.discard(self.name)

    # --- the desk's thread -----------------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing:
            self._wanted.wait(IDLE_SECONDS)
            self._wanted.clear()
            self._guarded(self._keep_house)
            due = time.monotonic()
            while self._replies and not self._closing:
                due = max(due + self._settings.batch_seconds, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
                self._guarded(self._save)
                self._guarded(self._keep_house)
        self._guarded(self._end_all)

    def _guarded(self, work: Callable[[], None]) -> None:
        """What was not stored stays where it is; a database that is back takes it a second later."""
        try:
            work()
        except Exception as error:
            log_unexpected(error)
            time.sleep(RETRY_SECONDS)

    def _end_all(self) -> None:
        until = time.monotonic() + CLOSING_SECONDS
        while self._replies and time.monotonic() < until:
            self._save()
            time.sleep(self._settings.batch_seconds)
        for reply in self._replies.values():
            reply.end_stopped()
        self._save()

    def _save(self) -> None:
        """Stores what was said since the last time, then shows it."""
        batch = [step for reply in list(self._replies.values()) if (step := self._step(reply)).has_news]
        if not batch:
            return
        try:
            self._store(batch)
        except IntegrityError:  # a conversation was deleted, or its reply was ended elsewhere: which?
            for step in batch:
                self._store_alone(step)
        for step in batch:
            self._show(step)
        wake(step.reply.feed for step in batch)

    def _step(self, reply: Reply) -> _Step:
        asked = reply.stop_asked_at
        if asked is not None and time.monotonic() - asked > self._settings.stop_grace_seconds:
            reply.end_stopped()
        ending, seq = reply.number()
        return _Step(reply, ending, seq)

    def _store(self, batch: Sequence[_Step]) -> None:
        """Stores the steps, ends included, in one transaction."""
        now = int(time.time())
        with writing(self._sessions) as session:
            generations.withdraw(session, [step.id for step in batch if step.is_blocked])
            said = [(step.id, event) for step in batch for event in step.reply.unsaved]
            generations.add_events(session, said)
            for step in batch:
                if step.ending:
                    generations.finish(session, step.id, step.ending, seq=step.seq, now=now)

    def _store_alone(self, step: _Step) -> None:
        try:
            self._store([step])
        except IntegrityError:
            step.reply.ask_to_stop()
            step.is_lost = True

    def _show(self, step: _Step) -> None:
        """What was stored; the end itself is read from the database by whoever watches."""
        reply = step.reply
        if step.is_blocked:
            reply.feed.blank()
        is_over = step.ending is not None or step.is_lost
        reply.feed.publish([] if step.is_lost else reply.unsaved, is_over=is_over)
        reply.unsaved = []
        if is_over:
            del self._replies[step.id]
            self._count(step)

    def _count(self, step: _Step) -> None:
        if step.ending is not None:
            first = step.ending.first_delta_ms
            self._meter.reply("chat", step.ending.state, None if first is None else first / 1000)

    def _keep_house(self) -> None:
        settings = self._settings
        if self._replies and self._is_due("stops", STOPS_SECONDS):
            self._obey_stops()
        if self._replies and self._is_due("beat", settings.heartbeat_seconds):
            with writing(self._sessions) as session:
                generations.beat(session, list(self._replies), now=int(time.time()))
        if self._is_due("reap", settings.heartbeat_seconds):
            long_ago = int(time.time()) - settings.reap_seconds
            self._end_abandoned(lambda one: one.heartbeat < long_ago or _is_dead(one.writer))
        if self._is_due("prune", PRUNE_SECONDS):
            self._prune()

    def _is_due(self, what: str, every_seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_seconds
        return True

    def _obey_stops(self) -> None:
        with self._sessions() as session:
            self.stop(generations.asked_to_stop(session, self.name))

    def _end_abandoned(self, is_abandoned: Callable[[Generation], bool]) -> None:
        with self._sessions() as session:
            left = [one for one in generations.pending(session) if is_abandoned(one)]
        for one in left:
            if one.id not in self._replies:
                with writing(self._sessions) as session:
                    generations.finish_abandoned(session, one.id, reason=ABANDONED, now=int(time.time()))

    def _prune(self) -> None:
        before = int(time.time()) - self._settings.keep_events_seconds
        pruned = 1
        while pruned:
            with writing(self._sessions) as session:
                pruned = generations.prune_events(session, finished_before=before)


@dataclass(slots=True)
class _Step:
    """What one reply has for the store: `reply.unsaved`, and its `ending` with the number of that event."""

    reply: Reply
    ending: Ending | None
    seq: int
    is_lost: bool = False

    @property
    def id(self) -> str:
        return self.reply.new.generation_id

    @property
    def is_blocked(self) -> bool:
        return self.ending is not None and self.ending.state == "blocked"

    @property
    def has_news(self) -> bool:
        return bool(self.reply.unsaved) or self.ending is not None


def _is_dead(writer: str) -> bool:
    """Whether the process of this desk is known to be gone: it must have run on this machine."""
    host, pid, _ = writer.rsplit(":", 2)
    if host != _host():
        return False
    if int(pid) == os.getpid():
        return writer not in _open_desks
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    return socket.gethostname()[:100]
