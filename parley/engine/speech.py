"""Tokens of a reply → what is said of it: text as soon as it is certain, tokens beside it where they are
asked for, then the end. In the engine's thread.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Sequence

from parley.engine.engine import Events
from parley.engine.requests import Ended, Token
from parley.model.tokenizer import Tokenizer
from parley.ports import Begun, Chance, Delta, Finish, FinishReason, Heard, Spoken


class Speech:
    """A sink that says a reply's text up to the stop token, another special token or a stop string.

    Bytes that are not yet a character wait; those of a reply cut short are dropped. `opening` is said
    before anything else. `opens`: the reply begins a text. `tells`: the tokens are said too, each with
    the piece in which its first character stands.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str],
        hear: Callable[[Heard], None],
        *,
        opening: Sequence[Begun | Delta] = (),
        opens: bool = True,
        tells: bool = False,
    ) -> None:
        self._tokenizer, self._stop, self._hear = tokenizer, tuple(filter(None, stop)), hear
        self._opening, self._opens, self._tells = deque(opening), opens, tells
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self._decoded = self._said = 0  # characters of the reply
        self._untold: deque[tuple[int, Spoken]] = deque()  # with the place of the first character

    def take(self, token: Token) -> bool:
        """From the engine: the next token; whether it completes a stop string."""
        self._open()
        if self._tells:
            self._untold.append((self._decoded, self._spoken(token)))
        if token.id in self._tokenizer.special_ids:
            return True
        text = self._characters.decode(self._tokenizer.decode_bytes([token.id], opens=self._opens))
        self._decoded, self._opens = self._decoded + len(text), False
        ready, self._pending, ended = held_back(self._pending + text, self._stop)
        self._say(ready)
        return ended

    def end(self, ended: Ended | Exception) -> None:
        """From the engine: it is over."""
        if isinstance(ended, Exception):
            self._hear(ended)
            return
        self._open()
        self._say(self._pending)
        rest = tuple(spoken for _, spoken in self._untold)
        reason: FinishReason = "stop" if ended.reason == "stop" else "length"
        self._hear(Finish(reason, ended.prompt_tokens, ended.tokens, ended.prompt_reused, rest))

    def _open(self) -> None:
        while self._opening:
            self._hear(self._opening.popleft())

    def _say(self, text: str) -> None:
        if text:
            self._said += len(text)
            self._hear(Delta(text, tuple(self._begun())))

    def _begun(self) -> Sequence[Spoken]:
        """The tokens that begin in what has been said."""
        found = []
        while self._untold and self._untold[0][0] < self._said:
            found.append(self._untold.popleft()[1])
        return found

    def _spoken(self, token: Token) -> Spoken:
        named = self._tokenizer.bytes_of
        likeliest = tuple(Chance(one, named(one), logprob) for one, logprob in token.likeliest)
        return Spoken(token.id, named(token.id), token.logprob, likeliest)


class Words(Events[Delta | Finish]):
    """What a `Speech` says, for one reader to iterate over."""

    def hear(self, heard: Heard) -> None:
        """From the engine."""
        if isinstance(heard, Exception):
            self.stop(heard)
        elif not isinstance(heard, Begun):
            self.put(heard)
            if isinstance(heard, Finish):
                self.stop()


def held_back(text: str, stop: Sequence[str]) -> tuple[str, str, bool]:
    """What may be said, what must wait because it may begin a stop string, and whether one stands
    in the text (then everything before the first is said, and nothing waits)."""
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    if places:
        return text[: min(places)], "", True
    waiting = max((_overlap(text, word) for word in stop), default=0)
    cut = len(text) - waiting
    return text[:cut], text[cut:], False


def _overlap(text: str, word: str) -> int:
    """Length of the longest end of the text that begins the word."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(word[:size])), 0)
