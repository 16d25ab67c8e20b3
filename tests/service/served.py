"""The service over an echo in a process of its own, which a test can kill: `python -m tests.service.served`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from parley.moderation.rules import shipped_moderator
from parley.ports import Sampling
from parley.service.app import create_app
from parley.service.common.sessions import login_url
from parley.service.common.settings import Settings
from parley.service.server import make_server
from parley.store.database import close_database, open_database
from parley.store.turns import TreeLimits

ROOT = Path(__file__).parents[2]


@dataclass
class Served:
    """A server's process, and a cookie of somebody signed in to it."""

    process: subprocess.Popen[str]
    url: str
    cookies: dict[str, str]

    def client(self) -> httpx.Client:
        headers = {"sec-fetch-site": "same-origin", "origin": self.url}
        return httpx.Client(
            base_url=self.url, headers=headers, cookies=self.cookies, trust_env=False, timeout=30
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)


@contextmanager
def served(database: str, *, word_seconds: float, port: int = 0) -> Iterator[Served]:
    """A server over this database, on a free port or this one; killed at the end, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.served", database, str(word_seconds), str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        answer = httpx.get(said["link"], trust_env=False, timeout=30)
        yield Served(process, said["url"], dict(answer.cookies))
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def main() -> None:
    from .conftest import Echo, Progress

    database, word_seconds, port = sys.argv[1:]
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(port)))
        settings = Settings(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            sampling=Sampling(max_tokens=10_000),
            tree=TreeLimits(turns=1000),
        )
        sessions = open_database(database)
        app = create_app(
            sessions=sessions,
            responder=Echo(word_seconds=float(word_seconds)),
            moderator=shipped_moderator(),
            run_view=Progress(),
            settings=settings,
        )
        link = login_url(sessions, settings)
        listener.listen(200)
        print(json.dumps({"url": settings.base_url, "link": link}), flush=True)
        make_server(app).run(sockets=[listener])
        close_database(sessions)


if __name__ == "__main__":
    main()
