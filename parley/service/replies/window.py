"""A text passes moderation, a reply in windows: nobody sees text whose window has not passed.

The last characters of a reply always wait for what follows them, so that what is unsafe only
together is not half shown; what was released lately is looked at again with the new text, for the
same reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from parley.labels import Verdict
from parley.ports import Moderator
from parley.service.common.problems import log_unexpected


class Unchecked(Exception):
    """Moderation did not answer, so the text counts as not allowed."""


class Withheld(Exception):
    """Moderation blocked the reply."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.action)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Passed:
    """Text that may be shown now. `notice` is a warning that was not given before."""

    text: str
    notice: Verdict | None = None


def judge(moderator: Moderator, text: str) -> Verdict:
    """The verdict on a text, of whoever wrote it. `Unchecked` where there is none."""
    try:
        return moderator.check(text)
    except Exception as error:
        log_unexpected(error)
        raise Unchecked from None


class Window:
    """The end of a reply, as far as moderation still has to look at it."""

    def __init__(self, moderator: Moderator, *, hold: int, context: int) -> None:
        self._moderator = moderator
        self._hold, self._context = hold, context
        self._seen = ""
        self._warned: frozenset[str] = frozenset()
        self.held = ""
        """What nobody has seen yet."""

    def add(self, text: str) -> None:
        """Text that waits."""
        self.held += text

    def advance(self) -> Passed:
        """Releases all but the last characters. `Withheld` where moderation blocks."""
        return self._release(len(self.held) - self._hold)

    def close(self) -> Passed:
        """Releases what is left, at the end of the reply. `Withheld` where moderation blocks."""
        return self._release(len(self.held))

    def _release(self, count: int) -> Passed:
        if count <= 0:
            return Passed("")
        verdict = judge(self._moderator, self._seen + self.held)
        if verdict.action == "block":
            raise Withheld(verdict)
        passed, self.held = self.held[:count], self.held[count:]
        self._seen = (self._seen + passed)[-self._context :]
        return Passed(passed, self._news(verdict))

    def _news(self, verdict: Verdict) -> Verdict | None:
        names = frozenset(category.name for category in verdict.categories)
        if verdict.action != "warn" or names <= self._warned:
            return None
        self._warned |= names
        return verdict
