"""One connection, bounded in every direction: how long a request may take to come, how long an answer to be
read, and how many connections there are. uvicorn bounds none of the three.

A client that is slow on purpose, or gone without a word, costs a socket for a while and nobody else
anything.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import Any, Final

import h11
from fastapi import FastAPI
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from parley.service.common.problems import http_problem
from parley.service.common.settings import Settings

SPARE_FILES: Final = 256  # open files that connections leave to the rest
SPARE_CONNECTIONS: Final = 128  # beyond the limit: told so before they are closed
REFUSED_SECONDS: Final = 2.0
BUSY: Final = "There are too many connections; try again in a few seconds."
LATE: Final = "The request did not come in time."


def allow_connections(settings: Settings) -> int:
    """How many connections there may be, with the process's limit of open files raised for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + SPARE_CONNECTIONS + SPARE_FILES
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(settings.max_connections, soft - SPARE_CONNECTIONS - SPARE_FILES))


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1, with an end to patience."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config.app, FastAPI)
        self._settings: Settings = config.app.state.seams.settings
        self._most: int = config.app.state.max_connections
        self._is_refused = False
        self._coming, self._going = _Timer(self.loop), _Timer(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes it, if there is room."""
        count = len(self.connections)
        super().connection_made(transport)
        if count >= self._most + SPARE_CONNECTIONS:
            transport.abort()
            return
        _notice_silence(transport, self._settings.send_seconds)
        self._is_refused = count >= self._most
        seconds = REFUSED_SECONDS if self._is_refused else self._settings.receive_seconds
        self._coming.start(seconds, self._on_late)

    def data_received(self, data: bytes) -> None:
        """A part of a request: all of it must be there in time, however steadily it drips."""
        if self._is_refused:
            self._refuse(429, BUSY)
            return
        super().data_received(data)
        if self.transport.is_closing() or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._coming.stop()
        elif not self._coming.is_running:
            self._coming.start(self._settings.receive_seconds, self._on_late)

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        super().pause_writing()
        self._going.start(self._settings.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._going.stop()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for a while. What was not read by now is given up a little later."""
        super().timeout_keep_alive_handler()
        self._going.start(self._settings.send_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self._coming.stop()
        self._going.stop()

    def _on_late(self) -> None:
        if self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE:
            self._refuse(408, LATE)
        else:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        body = bytes(http_problem(status, message).body)
        phrase = {408: "Request Timeout", 429: "Too Many Requests"}[status]
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nretry-after: 2\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class _Timer:
    """Calls something once, unless it is stopped or started anew before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, call: Callable[[], None]) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, self._call, call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _call(self, call: Callable[[], None]) -> None:
        self._handle = None
        call()


def _notice_silence(transport: asyncio.Transport, seconds: float) -> None:
    """Has the system end a connection whose other side takes nothing and says nothing."""
    raw = transport.get_extra_info("socket")
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
