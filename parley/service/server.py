"""The web server under the application, configured so that it keeps our promises."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI

GRACE_SECONDS = 3


def make_server(app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000) -> uvicorn.Server:
    """A server, not yet running: call `run()`, or `run(sockets=[…])` with sockets bound already.

    Its own access log is off: it would write login tokens down. `common.middleware` logs requests
    without their query. Replies that are still being written at shutdown get a short grace.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
