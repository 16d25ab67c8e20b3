"""`/metrics` read by Prometheus' own parser, and spans taken in by a collector that speaks OTLP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from parley.cli.tracing import tracing
from parley.service.common.tracing import NoTracer
from tests.tiny import tiny_tokenizer

from .conftest import Service, wait_until
from .engines import TINY, tiny_service
from .talking import answered, begin

CHAT = "/v1/chat/completions"
ENDLESS = {str(token): -100 for token in tiny_tokenizer().special_ids}
HELLO = {"model": TINY.name, "messages": [{"role": "user", "content": "swordfish"}], "max_tokens": 8}


def figures(url: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and labels, labels in the order of their names."""
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=10)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "swordfish" not in answer.text
    return {
        (sample.name, *map(str, sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_metrics_count_what_happened(tmp_path: Path) -> None:
    with tiny_service(tmp_path) as tiny, tiny.service.program() as http:
        endless = HELLO | {"logit_bias": ENDLESS}
        whole = http.post(CHAT, json=endless | {"n": 2}).json()["usage"]
        assert "data: [DONE]" in http.post(CHAT, json=endless | {"stream": True}).text
        assert http.post(CHAT, json=HELLO | {"n": 99}).status_code == 400
        wait_until(lambda: ("parley_request_seconds_count", "POST", CHAT, "400") in figures(tiny.service.url))
        found = figures(tiny.service.url)
    name = TINY.name
    assert found["parley_engine_tokens_total", name] == 3 * 8
    assert found["parley_engine_prompt_tokens_total", name] >= whole["prompt_tokens"]
    assert found["parley_engine_steps_total", name] >= 8
    assert found["parley_engine_running", name] == found["parley_engine_waiting", name] == 0
    assert found["parley_engine_slots", name] == 4
    assert found["parley_engine_tokens_per_second", name] > 0
    assert found["parley_replies_total", "length", "v1"] == 3
    assert found["parley_time_to_first_token_seconds_count", "v1"] == 3
    assert found["parley_time_between_tokens_seconds_count", "v1"] >= 1
    assert found["parley_request_seconds_count", "POST", CHAT, "200"] == 2
    assert found["parley_request_seconds_count", "POST", CHAT, "400"] == 1


def test_what_people_are_answered_is_counted_too(service: Service) -> None:
    before = figures(service.url).get(("parley_replies_total", "complete", "chat"), 0)
    with service.browser() as http:
        answered(http, begin(http)["id"], "hello")
    wait_until(lambda: figures(service.url).get(("parley_replies_total", "complete", "chat")) == before + 1)
    assert figures(service.url)["parley_time_to_first_token_seconds_count", "chat"] >= 1


# --- spans -----------------------------------------------------------------------------------------------


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """An OTLP collector on loopback: its address, and the spans that came."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            said = ExportTraceServiceRequest.FromString(body)
            spans.extend(
                span for one in said.resource_spans for scope in one.scope_spans for span in scope.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    return getattr(value, str(kind))


def test_requests_become_spans_within_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = "0af7651916cd43dd8448eb211c80319c"
    with collector() as (url, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with (
            tracing() as tracer,
            tiny_service(tmp_path, tracer=tracer) as tiny,
            tiny.service.program() as http,
        ):
            traced = {"traceparent": f"00-{caller}-b7ad6b7169203331-01"}
            answer = http.post(CHAT, json=HELLO | {"logit_bias": ENDLESS, "n": 2}, headers=traced)
            assert answer.status_code == 200
            http.post(CHAT, json=HELLO | {"messages": [{"role": "user", "content": "x " * 300}]})
    done, refused = spans
    told = {one.key: plain(one.value) for one in done.attributes}
    assert (done.name, done.trace_id.hex()) == (f"chat {TINY.name}", caller)
    assert told["gen_ai.request.model"] == TINY.name
    assert told["gen_ai.usage.output_tokens"] == 16
    assert told["gen_ai.usage.input_tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert told["gen_ai.response.finish_reasons"] == ["length", "length"]
    assert [event.name for event in done.events] == ["gen_ai.first_token"]
    assert {one.key: plain(one.value) for one in refused.attributes}["error.type"] == "ContextExceeded"
    assert all(b"swordfish" not in span.SerializeToString() for span in spans)


def test_without_an_endpoint_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with tracing() as tracer:
        assert isinstance(tracer, NoTracer)
