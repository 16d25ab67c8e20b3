"""Spans of what programs ask, where OpenTelemetry's environment variables say where to send them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from parley.errors import ConfigError
from parley.service.common.tracing import NoTracer, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@contextmanager
def tracing() -> Iterator[Tracer]:
    """A tracer for a service; what it holds is sent when the block ends."""
    named = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if named is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield NoTracer()
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from parley.service.common.otel import OpenTelemetryTracer
    except ImportError:
        raise ConfigError(
            f"{named} is set, but tracing is not installed: pip install 'parley[tracing]'"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME", "parley")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield OpenTelemetryTracer(provider)
    finally:
        provider.shutdown()
