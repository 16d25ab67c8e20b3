"""The part of vLLM's HTTP protocol that an engine by URL relies on, played over the built-in engine.

vLLM and SGLang cannot be installed beside this project's torch. What is played here is what vLLM's
documentation says of `/v1/models`, `/v1/completions` with `return_token_ids` and
`/v1/chat/completions`: the form of answers, of streams (`data: …`, a usage chunk without choices,
`data: [DONE]`) and of errors. Tokens are a real engine's. `faults` are answered before anything else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from parley.engine.engine import Engine
from parley.engine.requests import Ended, Request, Token
from parley.errors import Busy, ConfigError

MODEL = "tiny/model"
KEY = "key-of-the-test"
Fault = tuple[int, dict[str, str], bytes]


class FakeServer:
    """A server on a free port of the loopback, until it is closed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.faults: list[Fault] = []
        self.asked: list[dict[str, Any]] = []
        self.tells_ids = True
        self.breaks_after: int | None = None  # events of a stream
        self._http = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"server_parts": self})
        )
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_parts: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        if self._let_in():
            model = {"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "vllm"}
            self._json(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server_parts.asked.append(body)
        if not self._let_in():
            return None
        try:
            chat = self.path.endswith("/chat/completions")
            replies = self.server_parts.engine.submit(_request(body, chat=chat))
        except ConfigError as error:
            return self._error(400, str(error), "BadRequestError")
        except Busy as error:
            return self._error(503, str(error), "ServiceUnavailableError")
        if body.get("stream"):
            return self._stream(self._events(body, replies, chat=chat), replies)
        parts = list(replies)
        tokens = [part for part in parts if isinstance(part, Token)]
        ended = next(part for part in parts if isinstance(part, Ended))
        usage = {"prompt_tokens": ended.prompt_tokens, "completion_tokens": len(tokens)}
        choice = self._choice(body, tokens, ended.reason, chat=chat)
        return self._json(200, {"id": "cmpl-1", "choices": [choice], "usage": usage, "model": MODEL})

    def _let_in(self) -> bool:
        if self.server_parts.faults:
            status, headers, content = self.server_parts.faults.pop(0)
            self._answer(status, content, headers)
            return False
        if self.headers["authorization"] != f"Bearer {KEY}":
            self._json(401, {"error": "Unauthorized"})
            return False
        return True

    def _choice(
        self, body: dict[str, Any], tokens: list[Token], reason: str | None, *, chat: bool
    ) -> dict[str, Any]:
        parts = self.server_parts
        ids = [token.id for token in tokens]
        stops = set(body.get("stop_token_ids", ()))
        text = "".join(f"<{number}>" for number in ids if number not in stops)
        found: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
        if chat:
            return found | {"delta" if body.get("stream") else "message": {"content": text}}
        if parts.tells_ids and body.get("return_token_ids"):
            found["token_ids"] = ids
        if body.get("logprobs") is not None:
            found["logprobs"] = {"token_logprobs": [token.logprob for token in tokens]}
        return found | {"text": text}

    def _events(self, body: dict[str, Any], replies: Any, *, chat: bool) -> Iterator[dict[str, Any]]:
        count = 0
        for part in replies:
            if isinstance(part, Token):
                count += 1
                yield {"choices": [self._choice(body, [part], None, chat=chat)]}
            else:
                yield {"choices": [self._choice(body, [], part.reason, chat=chat)]}
                if (body.get("stream_options") or {}).get("include_usage"):
                    usage = {"prompt_tokens": part.prompt_tokens, "completion_tokens": count}
                    yield {"choices": [], "usage": usage}

    def _stream(self, events: Iterator[dict[str, Any]], replies: Any) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for number, event in enumerate(events):
                if number == self.server_parts.breaks_after:
                    return
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:  # the client hung up
            pass
        finally:
            replies.close()

    def _error(self, status: int, message: str, kind: str) -> None:
        self._json(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def _json(self, status: int, value: object) -> None:
        self._answer(status, json.dumps(value).encode(), {"content-type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _request(body: dict[str, Any], *, chat: bool) -> Request:
    prompt = [1, 2, 3] if chat else body["prompt"]
    return Request(
        prompt=tuple(prompt),
        max_new_tokens=body["max_tokens"],
        temperature=body.get("temperature", 1.0),
        top_p=body.get("top_p", 1.0),
        top_k=body.get("top_k", 0),
        seed=body.get("seed", 0),
        stop_ids=frozenset(body.get("stop_token_ids", ())),
        logprobs=body.get("logprobs"),
        logit_bias={int(token): value for token, value in body.get("logit_bias", {}).items()},
    )
