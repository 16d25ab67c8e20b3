"""The web server under the application, configured so that it keeps our promises."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from parley.service.common.deps import Seams
from parley.service.connections import Connection, allow_connections

GRACE_SECONDS = 3


class Server(uvicorn.Server):
    """Ends what is being written before it waits for open streams, so that these come to their ends."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops: what people wait for at once, what programs wait for when it is written or its time is
        up (a second signal: at once), then the connections. Meanwhile `/readyz` says no."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        seams: Seams = app.state.seams
        seams.generations.is_closing = True
        await run_in_threadpool(seams.desk.close)
        await seams.generations.drain(seams.settings.drain_seconds, lambda: self.force_exit)
        await super().shutdown(sockets)


def make_server(app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000) -> Server:
    """A server, not yet running: call `run()`, or `run(sockets=[…])` with sockets bound already.

    Its own access log is off: it would write login tokens down. `common.middleware` logs requests
    without their query. What is still being sent at shutdown gets a short grace.
    """
    app.state.max_connections = allow_connections(app.state.seams.settings)
    return Server(
        uvicorn.Config(
            app,
            http=Connection,
            host=host,
            port=port,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
