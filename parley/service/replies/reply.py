"""One reply: a thread of its own runs the `Responder`, moderation releases text, the desk stores it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from typing import Final, Protocol, runtime_checkable

from parley.dialogue import Conversation
from parley.errors import ParleyError
from parley.labels import Verdict
from parley.ports import Delta, Finish, Responder
from parley.service.common.problems import log_unexpected
from parley.service.replies.feed import Feed
from parley.service.replies.window import Passed, Unchecked, Window, Withheld
from parley.store.generations import Ending, EndState, Event, EventKind, NewReply

ADVANCE_SECONDS: Final = 0.04  # moderation looks at new text this often, the desk stores a little less often
BROKEN: Final = "The reply broke off because something went wrong here. What was written is kept; try again."
UNCHECKED: Final = "The rest of the reply could not be checked, so it is not shown. Try again."
ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
END_STATES: Final[dict[str, EndState]] = {"stop": "complete", "length": "length"}


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None:
        """Stops the work."""


class Reply:
    """A reply from its first token until its end is stored."""

    def __init__(self, new: NewReply, window: Window) -> None:
        self.new = new
        self.feed = Feed()
        self.feed.publish([new.start], is_over=False)
        self.unsaved: list[Event] = []
        """Numbered, and not stored yet; the desk's alone."""
        self.ending: Ending | None = None
        """How it ended; nothing is said after that."""
        self.stop_asked_at: float | None = None
        self._stop_reason: str | None = None
        self._window = window
        self._lock = threading.Lock()
        self._said: list[tuple[EventKind, str]] = []
        self._seq = new.start.seq
        self._text: list[str] = []
        self._verdict: Verdict | None = None
        self._began = time.monotonic()
        self._first_delta_ms: int | None = None

    def write(self, responder: Responder, conversation: Conversation) -> None:
        """Writes the reply to its end, whatever end that is. Runs in the reply's thread."""
        try:
            outcome = self._speak(responder, conversation)
            self._pass(self._window.close())
        except Withheld as blocked:
            self._take_back(blocked.verdict)
        except Unchecked:
            self.end("failed", UNCHECKED)
        else:
            self._end_with(outcome)

    def ask_to_stop(self, reason: str | None = None) -> None:
        """The reply ends after the token at hand; `reason` is a sentence for the person."""
        if self.stop_asked_at is None:
            self._stop_reason = reason
            self.stop_asked_at = time.monotonic()

    def end(self, state: EndState, error: str | None = None, finish: Finish | None = None) -> None:
        """Ends the reply with the text that was released. What comes later changes nothing."""
        with self._lock:
            if self.ending is not None:
                return
            self.ending = Ending(
                state,
                "".join(self._text),
                error,
                verdict=self._verdict,
                prompt_tokens=finish.prompt_tokens if finish else None,
                completion_tokens=finish.completion_tokens if finish else None,
                first_delta_ms=self._first_delta_ms,
                total_ms=self._elapsed_ms(),
            )

    def end_stopped(self) -> None:
        """Ends it as `stopped`, for the reason that was given with the wish to stop."""
        self.end("stopped", self._stop_reason)

    def number(self) -> tuple[Ending | None, int]:
        """Numbers what was said since the last time, as `unsaved`; the ending, and its event's number."""
        with self._lock:
            said, self._said = self._said, []
            ending = self.ending
        for kind, data in _merged(said):
            self._seq += 1
            self.unsaved.append(Event(self._seq, kind, data))
        return ending, self._seq + 1

    def _speak(self, responder: Responder, conversation: Conversation) -> Finish | str | None:
        """How the responder ended: its `Finish`, the sentence of its error, None where it was told to stop."""
        try:
            with _closed(
                responder.stream(conversation, self.new.sampling, release=self.new.release)
            ) as events:
                return self._listen(events)
        except (Withheld, Unchecked):
            raise
        except ParleyError as error:
            return str(error)
        except Exception as error:
            log_unexpected(error)
            return BROKEN

    def _listen(self, events: Iterator[Delta | Finish]) -> Finish | str | None:
        advanced = 0.0
        for event in events:
            if self.stop_asked_at is not None:
                return None
            if isinstance(event, Finish):
                return event
            self._window.add(_storable(event.text))
            if time.monotonic() - advanced >= ADVANCE_SECONDS:
                self._pass(self._window.advance())
                advanced = time.monotonic()
        return BROKEN

    def _pass(self, passed: Passed) -> None:
        with self._lock:
            if self.ending is not None:
                return
            if passed.notice is not None:
                self._verdict = passed.notice
                self._said.append(("notice", _json(type="notice", verdict=asdict(passed.notice))))
            if passed.text:
                if self._first_delta_ms is None:
                    self._first_delta_ms = self._elapsed_ms()
                self._said.append(("delta", passed.text))
                self._text.append(passed.text)

    def _end_with(self, outcome: Finish | str | None) -> None:
        if outcome is None:
            self.end_stopped()
        elif isinstance(outcome, str):
            self.end("failed", outcome)
        else:
            self.end(END_STATES[outcome.reason], None, outcome)

    def _take_back(self, verdict: Verdict) -> None:
        with self._lock:
            if self.ending is not None:
                return
            self._said = [("withdraw", _json(type="withdraw", verdict=asdict(verdict)))]
            self.ending = Ending(
                "blocked",
                "",
                verdict.message,
                verdict=verdict,
                withheld="".join(self._text) + self._window.held,
                total_ms=self._elapsed_ms(),
            )

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._began))


@contextmanager
def _closed(events: Iterator[Delta | Finish]) -> Iterator[Iterator[Delta | Finish]]:
    """The events; the work behind them ends with the block, in the thread in which it ran."""
    try:
        yield events
    finally:
        if isinstance(events, _Closable):
            events.close()


def _merged(said: list[tuple[EventKind, str]]) -> Iterator[tuple[EventKind, str]]:
    """What was said as events' JSON; neighbouring pieces of text become one."""
    for kind, pieces in groupby(said, key=lambda one: one[0]):
        if kind == "delta":
            yield kind, _json(type="delta", text="".join(text for _, text in pieces))
        else:
            yield from pieces


def _json(**values: object) -> str:
    return ENCODER.encode(values)


def _storable(text: str) -> str:
    """Text that any database keeps: no NUL, no half characters."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
