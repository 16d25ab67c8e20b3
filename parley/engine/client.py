"""An OpenAI-compatible server, spoken to over HTTP: vLLM, SGLang, llama.cpp's own, ours, a company's.

A server that is busy or away is asked again, later and later; once an answer has begun nothing is
asked again. What a server says is wrong comes out as an error of ours, with the server's own words.

Not here: what requests and answers mean (`engine.remote`).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from parley.errors import Busy, ConfigError, Forbidden, NotFound, ParleyError, Unavailable

KEY_VARIABLE: Final = "PARLEY_ENGINE_KEY"
ASKED_AGAIN: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
MOST_OF_A_MESSAGE: Final = 300  # characters of what a server says is wrong
DONE: Final = "[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server is, and how patient to be with it."""

    url: str
    """With its version: http://gpu:8000/v1."""
    key: str = field(default="", repr=False)
    """The bearer key; "" sends none."""
    connect_seconds: float = 5.0
    silence_seconds: float = 120.0
    """A server that says nothing for so long has failed."""
    retries: int = 5
    """How often a question is repeated that the server was too busy for, or did not answer."""
    first_wait_seconds: float = 0.5
    """Before the first repetition; doubled for each further one, shortened by chance by up to a half."""
    longest_wait_seconds: float = 30.0
    """No wait is longer, whatever the server's `retry-after` says."""


def server_at(url: str, environment: Mapping[str, str]) -> Server:
    """The server that somebody named; its key is in `PARLEY_ENGINE_KEY`. A URL without a path gets `/v1`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"an engine's address is like http://127.0.0.1:8000/v1, not {url!r}")
    if parts.username or parts.password:
        raise ConfigError(f"a key does not belong into an engine's address: put it into {KEY_VARIABLE}")
    path = parts.path.rstrip("/") or "/v1"
    return Server(url=f"{parts.scheme}://{parts.netloc}{path}", key=environment.get(KEY_VARIABLE, ""))


class Client:
    """Questions to one server, from any thread. `pause` waits between repetitions."""

    def __init__(self, server: Server, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._server, self._pause = server, pause
        limits = httpx.Timeout(server.silence_seconds, connect=server.connect_seconds)
        headers = {"authorization": f"Bearer {server.key}"} if server.key else {}
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=limits)

    def get(self, path: str) -> dict[str, Any]:
        """What the server has at this path."""
        return self._read(self._answer(self._http.build_request("GET", path)))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question."""
        return self._read(self._answer(self._http.build_request("POST", path, json=body)))

    def stream(self, path: str, body: Mapping[str, Any]) -> Events:
        """The answer in pieces; errors that come before the first piece come from this call."""
        return Events(self._answer(self._http.build_request("POST", path, json=body)), self._server.url)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """A good answer whose body is still to be read."""
        for attempt in range(self._server.retries + 1):
            try:
                response = self._http.send(request, stream=True)
            except httpx.TransportError as error:
                failure: ParleyError = _away(self._server.url, error)
                asked = None
            else:
                if response.is_success:
                    return response
                failure, asked = _failure(response, self._server.url)
                if response.status_code not in ASKED_AGAIN:
                    raise failure
            if attempt < self._server.retries:
                self._pause(self._wait(attempt, asked))
        raise failure

    def _wait(self, attempt: int, asked: float | None) -> float:
        grown = self._server.first_wait_seconds * float(2**attempt) * random.uniform(0.5, 1.0)
        return min(max(grown, asked or 0.0), self._server.longest_wait_seconds)

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        try:
            found = json.loads(response.read())
        except httpx.TransportError as error:
            raise _away(self._server.url, error) from None
        except ValueError:
            found = None
        finally:
            response.close()
        if not isinstance(found, dict):
            raise Unavailable(f"{self._server.url} answered with something else than a JSON object")
        return found


class Events:
    """Server-sent events of one answer, as JSON objects up to `[DONE]`. `close` hangs up, from any thread."""

    def __init__(self, response: httpx.Response, url: str) -> None:
        self._response, self._url = response, url
        self._lines = response.iter_lines()
        self._closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for line in self._lines:
                name, _, value = line.partition(":")
                if name == "data":
                    if value.strip() == DONE:
                        return
                    yield self._event(value)
            if not self._closed:
                raise Unavailable(f"{self._url} broke off in the middle of an answer")
        except (httpx.TransportError, httpx.StreamError) as error:
            if not self._closed:
                raise Unavailable(f"{self._url} broke off in the middle of an answer ({error})") from None
        finally:
            self.close()

    def close(self) -> None:
        """No more of it."""
        self._closed = True
        with suppress(Exception):  # whatever the connection says at being cut is of no use to anybody
            self._response.close()

    def _event(self, text: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError:
            raise Unavailable(f"{self._url} sent an event that is no JSON: {text[:80]!r}") from None
        if not isinstance(found, dict) or "error" in found:
            raise Unavailable(f"{self._url} failed in the middle of an answer: {_message(found)}")
        return found


def _away(url: str, error: httpx.TransportError) -> Unavailable:
    return Unavailable(f"{url} does not answer ({type(error).__name__}: {error})")


def _failure(response: httpx.Response, url: str) -> tuple[ParleyError, float | None]:
    """What a bad status means, and after how many seconds the server wants to be asked again."""
    with suppress(httpx.TransportError):
        response.read()
    response.close()
    status = response.status_code
    said = f"{url} answers {status}: {_message(_body(response))}"
    after = _seconds(response.headers.get("retry-after", ""))
    if status in (401, 403):
        return Forbidden(f"{said}; the key is taken from {KEY_VARIABLE}"), None
    if status == 404:
        return NotFound(said), None
    if status == 429:
        return Busy(said, retry_after_seconds=round(after or 1)), after
    return (Unavailable(said) if status >= 500 or status in ASKED_AGAIN else ConfigError(said)), after


def _body(response: httpx.Response) -> object:
    try:
        return json.loads(response.content)
    except (ValueError, httpx.ResponseNotRead):
        return "no further word"


def _message(found: object) -> str:
    """What is wrong, in the server's words: OpenAI's form, FastAPI's, or whatever it is."""
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return (found if isinstance(found, str) else json.dumps(found))[:MOST_OF_A_MESSAGE]


def _seconds(value: str) -> float | None:
    """`retry-after`: a number of seconds, or a date."""
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None
