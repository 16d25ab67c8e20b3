"""What happens to every request before a route sees it, and to every answer after."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parley.service.common.meter import Meter
from parley.service.common.problems import busy_problem, http_problem, internal_problem, log_unexpected

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.ASCII)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LINK: Final = re.compile(r"^(/s/|/api/shared/).*")  # what follows lets anybody read a conversation


class Envelope:
    """Outermost: names the request, logs it without its query and counts it, hardens every answer,
    catches the rest."""

    def __init__(self, app: ASGIApp, *, meter: Meter) -> None:
        self.app, self.meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        began, status = time.monotonic(), 0

        async def send_hardened(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in (*SECURITY_HEADERS.items(), ("cache-control", "no-store")):
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_hardened)
        except Exception as error:
            log_unexpected(error)
            if not status:
                await internal_problem()(scope, receive, send_hardened)
        finally:
            seconds = time.monotonic() - began
            path = LINK.sub(r"\1…", scope["path"])
            log.info("%s %r %d %.0f ms %s", scope["method"], path, status, 1000 * seconds, request_id)
            self.meter.request(_method(scope), _route(scope), status, seconds)


def _method(scope: Scope) -> str:
    """One of few: whoever may ask may invent methods."""
    return scope["method"] if scope["method"] in METHODS else "other"


def _route(scope: Scope) -> str:
    """The route's path with the names of its parameters; what no route took is one thing."""
    return str(scope["route"].path) if "route" in scope else "other"


class HostGuard:
    """Refuses a request that calls us by a foreign name: a page elsewhere whose name was bent to us."""

    def __init__(self, app: ASGIApp, *, allowed: frozenset[str]) -> None:
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not self._is_allowed(Headers(scope=scope).getlist("host")):
            problem = http_problem(400, "This service is not reached under that host name.")
            await problem(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_allowed(self, hosts: list[str]) -> bool:
        match = HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        return match is not None and match["name"] in self.allowed


class Door:
    """Refuses what a program asks, before anything is looked up for it, while `limit` requests of
    programs are open, or `limit_of_key` with the same key: a flood costs others next to nothing."""

    def __init__(self, app: ASGIApp, *, limit: int, limit_of_key: int) -> None:
        self.app, self.limit, self.limit_of_key = app, limit, limit_of_key
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        key = Headers(scope=scope).get("authorization", "")
        if self._open[key] >= self.limit_of_key or self._open.total() >= self.limit:
            await busy_problem()(scope, receive, send)
            return
        self._open[key] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._open[key] -= 1
            self._open += Counter()  # forgets who has none


class BodyLimit:
    """Refuses a body that is too long, by what it announces or else by what comes."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self.max_bytes:
            await http_problem(413, self._refusal)(scope, receive, send)
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, self._refusal)
            return message

        await self.app(scope, receive_bounded, send)

    @property
    def _refusal(self) -> str:
        return f"The request is longer than {self.max_bytes} bytes; send less of the conversation."
