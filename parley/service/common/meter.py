"""What `/metrics` tells, in Prometheus' words. Nothing of what people say is in it.

Engines are asked when somebody reads (`ports.Load`); everything else is counted as it happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from parley.ports import Begun, Delta, Finish, Load
from parley.service.common.tracing import Span

FIRST_BOUNDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BETWEEN_BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
REQUEST_BOUNDS: Final = (0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)

GAUGES: Final[Sequence[tuple[str, str, Callable[[Load], float]]]] = (
    ("parley_engine_waiting", "Requests that wait for a slot", lambda load: load.waiting),
    ("parley_engine_running", "Replies in the running batch: its size", lambda load: load.running),
    ("parley_engine_slots", "Replies that can be in the batch", lambda load: load.slots),
    ("parley_engine_tokens_per_second", "Running rate of new tokens", lambda load: load.tokens_per_second),
)
COUNTS: Final[Sequence[tuple[str, str, Callable[[Load], float]]]] = (
    ("parley_engine_refused", "Requests refused because too many waited", lambda load: load.refused),
    ("parley_engine_steps", "Passes of the model", lambda load: load.steps),
    ("parley_engine_tokens", "New tokens", lambda load: load.tokens),
    ("parley_engine_prompt_tokens", "Tokens of prompts", lambda load: load.prompt_tokens),
    ("parley_engine_reused_tokens", "Those of them known from before", lambda load: load.reused_tokens),
)


class Meter:
    """The counters of one service."""

    def __init__(self, loads: Callable[[], Sequence[Load]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(loads))
        self._first = Histogram(
            "parley_time_to_first_token_seconds",
            "From a request to the first piece of a reply",
            ["surface"],
            buckets=FIRST_BOUNDS,
            registry=self._registry,
        )
        self._between = Histogram(
            "parley_time_between_tokens_seconds",
            "From one piece of a reply to the next",
            ["surface"],
            buckets=BETWEEN_BOUNDS,
            registry=self._registry,
        )
        self._replies = Counter(
            "parley_replies", "Replies that came to their end", ["surface", "reason"], registry=self._registry
        )
        self._requests = Histogram(
            "parley_request_seconds",
            "Requests, streams to their end",
            ["method", "route", "status"],
            buckets=REQUEST_BOUNDS,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """In the text format, version 0.0.4."""
        return generate_latest(self._registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One that was answered."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def reply(self, surface: str, reason: str, first_seconds: float | None = None) -> None:
        """One that ended; its first piece, where nobody has counted its pieces."""
        self._replies.labels(surface, reason).inc()
        if first_seconds is not None:
            self._first.labels(surface).observe(first_seconds)

    def pulse(self, surface: str, span: Span) -> Pulse:
        """For the replies to a request that comes now."""
        first, between = self._first.labels(surface), self._between.labels(surface)
        return Pulse(first.observe, between.observe, lambda reason: self.reply(surface, reason), span)


class Pulse:
    """Counts the pieces of a request's replies as they are sent, and tells its span."""

    def __init__(
        self,
        first: Callable[[float], None],
        between: Callable[[float], None],
        ended: Callable[[str], None],
        span: Span,
    ) -> None:
        self._first, self._between, self._ended, self._span = first, between, ended, span
        self._began = time.perf_counter()
        self._last: dict[int, float] = {}
        self._finishes: list[Finish] = []
        self._is_closed = False

    def beat(self, index: int, event: Begun | Delta | Finish) -> None:
        """A piece of reply number `index`."""
        if isinstance(event, Finish):
            self._finishes.append(event)
            self._ended(event.reason)
        elif isinstance(event, Delta):
            self._come(index, time.perf_counter())

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more is sent. Only the first time counts."""
        if not self._is_closed:
            self._is_closed = True
            self._span.end(self._finishes, error)

    def _come(self, index: int, now: float) -> None:
        last = self._last.get(index)
        if last is not None:
            self._between(now - last)
        else:
            self._first(now - self._began)
            if not self._last:
                self._span.first_token()
        self._last[index] = now


class _Engines(Collector):
    """Asks the engines when it is asked."""

    def __init__(self, loads: Callable[[], Sequence[Load]]) -> None:
        self._loads = loads

    def collect(self) -> Iterator[Metric]:
        loads = self._loads()
        for name, text, value in GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=["release"])
            for load in loads:
                gauge.add_metric([load.release], value(load))
            yield gauge
        for name, text, value in COUNTS:
            count = CounterMetricFamily(name, text, labels=["release"])
            for load in loads:
                count.add_metric([load.release], value(load))
            yield count
