"""OpenTelemetry behind `common.tracing`: spans in the words of its conventions for generative AI.

Where to send them, how many and under which name is told by OpenTelemetry's own environment
variables. Imported only where tracing is wanted: the packages are the extra `parley[tracing]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry import propagate
from opentelemetry.trace import Span as OpenSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from parley import __version__
from parley.ports import Finish
from parley.service.common.tracing import Attributes, Span


class OpenTelemetryTracer:
    """Begins spans with a provider of OpenTelemetry's."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("parley", __version__)

    def begin(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """A span that continues the caller's `traceparent`."""
        context = propagate.extract(dict(headers))
        return _Recorded(
            self._tracer.start_span(
                name,
                context=context,
                kind=SpanKind.SERVER,
                attributes={"gen_ai.provider.name": "parley", **attributes},
            )
        )


class _Recorded:
    """A span that is told."""

    def __init__(self, span: OpenSpan) -> None:
        self._span = span

    def first_token(self) -> None:
        self._span.add_event("gen_ai.first_token")

    def end(self, finishes: Sequence[Finish], error: BaseException | None) -> None:
        if finishes:
            self._span.set_attributes(
                {
                    "gen_ai.response.finish_reasons": [finish.reason for finish in finishes],
                    "gen_ai.usage.input_tokens": finishes[0].prompt_tokens,
                    "gen_ai.usage.output_tokens": sum(finish.completion_tokens for finish in finishes),
                }
            )
        if error is not None:  # its kind alone: a message could hold what somebody said
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
