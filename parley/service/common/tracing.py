"""The seam through which requests of programs become spans; without a tracer they become none.

`common.otel` is OpenTelemetry behind it, an optional extra. A span names the release, the settings and
the counts of tokens, and nothing of what was said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from parley.ports import Finish

Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """One request, from its beginning."""

    def first_token(self) -> None:
        """The first piece of a reply goes out."""
        ...

    def end(self, finishes: Sequence[Finish], error: BaseException | None) -> None:
        """It is over: the replies that came to their ends, or what went wrong."""
        ...


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """A span, within the caller's own where the request's headers name it."""
        ...


class NoSpan:
    """Nothing is recorded."""

    def first_token(self) -> None:
        """Nothing."""

    def end(self, finishes: Sequence[Finish], error: BaseException | None) -> None:
        """Nothing."""


class NoTracer:
    """Nobody watches."""

    def begin(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """A span of nothing."""
        del name, headers, attributes
        return NoSpan()
