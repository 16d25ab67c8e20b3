"""The chat service under many streaming clients, beside a bare Starlette endpoint that streams the same.

Each server has a process of its own, the clients share this one; both sides take turns, round by
round, so that what else the machine does falls on both. Every client asks one question; an echo
engine answers it with so many words at so many a second, and the bare endpoint sends the same words
at the same pace without storing, checking or knowing anything. A word that a client did not get, or
that is not in the stored message afterwards, ends the benchmark with an error.

    python benchmarks/chat_load.py [--quick] [--clients N] [--words N] [--rate N] [--ramp S] [--database URL] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

GOAL = 0.7
ROOT = Path(__file__).parents[1]


def main() -> None:
    arguments = _arguments()
    if arguments.serve:
        _serve(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        database = arguments.database or f"sqlite:///{folder}/parley.db"
        with _server(arguments, "parley", database) as ours, _server(arguments, "bare", database) as bare:
            rounds = [asyncio.run(_round(arguments, ours, bare)) for _ in range(arguments.rounds)]
    results = {name: _summary([one[name] for one in rounds]) for name in ("parley", "bare")}
    ratio = statistics.median(one["parley"].rate / one["bare"].rate for one in rounds)
    _show(results, ratio, arguments)
    sys.exit(ratio < GOAL)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of shorter replies instead of three")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--words", type=int, help="of each reply; default 300, with --quick 200")
    parser.add_argument("--rate", type=float, default=20.0, help="words a second, of each reply")
    parser.add_argument("--ramp", type=float, default=3.0, help="seconds within which the clients come")
    parser.add_argument("--database", default="", help="of the chat service; default: a fresh SQLite file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", choices=("parley", "bare"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.words = arguments.words or (200 if arguments.quick else 300)
    arguments.rounds = 1 if arguments.quick else 3
    return arguments


# --- the clients ------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A server's process and where it is; `cookies` let its people in, one each."""

    process: subprocess.Popen[str]
    host: str
    port: int
    cookies: list[str]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """What one client saw: when it asked, when each event came, and the words."""

    asked: float
    times: list[float] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    first_text: float = 0.0


@dataclass
class Load:
    """One round of one server."""

    clients: list[Seen]
    cpu_seconds: float

    @property
    def events(self) -> int:
        return sum(len(one.times) for one in self.clients)

    @property
    def rate(self) -> float:
        """Events a second, from the first question to the last event."""
        began = min(one.asked for one in self.clients)
        return self.events / (max(one.times[-1] for one in self.clients) - began)


async def _round(arguments: argparse.Namespace, ours: Server, bare: Server) -> dict[str, Load]:
    words = [_word(n) for n in range(arguments.words)]
    waits = [arguments.ramp * n / arguments.clients for n in range(arguments.clients)]
    await asyncio.gather(_talk(ours, 0, words, 0), _listen(bare, 0))  # what is done once is done
    return {
        "parley": await _load(ours, [_talk(ours, n, words, wait) for n, wait in enumerate(waits)], words),
        "bare": await _load(bare, [_listen(bare, wait) for wait in waits], words),
    }


def _word(n: int) -> str:
    """A word of letters that tells where it stands."""
    return "word" + "".join(chr(ord("a") + int(digit)) for digit in str(n))


async def _load(server: Server, clients: Sequence[asyncio.Future[Seen]], words: Sequence[str]) -> Load:
    before = server.cpu_seconds()
    seen = await asyncio.gather(*clients)
    said = " ".join(words)
    for one in seen:
        if "".join(one.text) != said:
            sys.exit(f"a client got {len(''.join(one.text))} characters of {len(said)}")
    return Load(list(seen), server.cpu_seconds() - before)


async def _talk(server: Server, person: int, words: Sequence[str], wait: float) -> Seen:
    """Asks a question and watches it being answered; the stored answer must be what was seen."""
    cookie = server.cookies[person]
    await asyncio.sleep(wait)
    seen = Seen(time.perf_counter())
    talk = await _posted(server, cookie, "/api/conversations", {})
    ask = {"parent_id": None, "content": " ".join(words), "client_id": "ask"}
    made = await _posted(server, cookie, f"/api/conversations/{talk['id']}/turns", ask)
    finish = await _watch(
        server, cookie, f"/api/generations/{made['replies'][0]['generation_id']}/events", seen
    )
    if finish["state"] != "complete" or finish["message"]["content"] != "".join(seen.text):
        sys.exit(f"a reply ended as {finish['state']}, or is not stored as it was seen")
    return seen


async def _listen(server: Server, wait: float) -> Seen:
    await asyncio.sleep(wait)
    seen = Seen(time.perf_counter())
    await _watch(server, "", "/events", seen)
    return seen


async def _watch(server: Server, cookie: str, path: str, seen: Seen) -> dict[str, object]:
    """Reads events until the last, which is given back."""
    reader, writer = await _sent(server, cookie, "GET", path)
    data: dict[str, object] = {}
    while data.get("type") != "finish":
        line = await reader.readline()
        if not line:
            sys.exit("a stream broke off")
        if line.startswith(b"data: "):
            seen.times.append(time.perf_counter())
            data = json.loads(line[6:])
            if text := data.get("text"):
                seen.first_text = seen.first_text or seen.times[-1]
                seen.text.append(str(text))
    writer.close()
    return data


async def _posted(server: Server, cookie: str, path: str, body: dict[str, object]) -> dict[str, object]:
    reader, writer = await _sent(server, cookie, "POST", path, json.dumps(body).encode())
    head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if b" 20" not in head.split(b"\r\n")[0]:
        sys.exit(f"{path}: {head.decode()} {answer.decode()}")
    found: dict[str, object] = json.loads(answer)
    return found


async def _sent(
    server: Server, cookie: str, method: str, path: str, body: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=2**20)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nConnection: close\r\n"
        f"Sec-Fetch-Site: same-origin\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    return reader, writer


# --- the servers ------------------------------------------------------------------------------------------


@contextmanager
def _server(arguments: argparse.Namespace, what: str, database: str) -> Iterator[Server]:
    command = [sys.executable, __file__, "--serve", what, "--database", database]
    for name in ("clients", "words", "rate"):
        command += [f"--{name}", str(getattr(arguments, name))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    parts = urlsplit(said["url"])
    try:
        yield Server(process, parts.hostname or "", parts.port or 0, said["cookies"])
    finally:
        process.terminate()
        process.wait()


def _serve(arguments: argparse.Namespace) -> None:
    import socket

    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        (_serve_parley if arguments.serve == "parley" else _serve_bare)(arguments, url, listener)


def _serve_parley(arguments: argparse.Namespace, url: str, listener: object) -> None:
    from parley.dialogue import Conversation
    from parley.moderation.rules import shipped_moderator
    from parley.ports import Delta, Finish, ReleaseInfo, Sampling
    from parley.service.app import create_app
    from parley.service.common.run_view import RunDetails, RunStatus
    from parley.service.common.settings import Settings
    from parley.service.server import make_server
    from parley.store.database import open_database, writing
    from parley.store.logins import create_login_link, redeem
    from parley.store.schema import new_id
    from parley.store.users import create_user

    class Echo:
        """Says the last message again, word by word, at a pace."""

        def releases(self) -> Sequence[ReleaseInfo]:
            return (ReleaseInfo("echo", "echo", "", 0),)

        def stream(
            self, conversation: Conversation, sampling: Sampling, *, release: str
        ) -> Iterator[Delta | Finish]:
            words = conversation.messages[-1].text.split(" ")
            due = time.monotonic()
            for n, word in enumerate(words):
                due += 1 / arguments.rate
                time.sleep(max(0.0, due - time.monotonic()))
                yield Delta(f" {word}" if n else word)
            yield Finish("stop", len(words), len(words))

    class NoRun:
        def status(self) -> RunStatus:
            return RunStatus("", "none", (), None, "")

        def details(self) -> RunDetails:
            raise NotImplementedError

    settings = Settings(base_url=url, max_replies=10_000, sampling=Sampling(max_tokens=10**6))
    sessions = open_database(arguments.database)
    cookies = []
    now = int(time.time())
    with writing(sessions) as session:
        for _ in range(arguments.clients):
            person = create_user(session, user_id=new_id(), name="", roles=("user",), now=now).id
            link = create_login_link(session, user_id=person, now=now, lifetime_seconds=60)
            secret = redeem(session, link, now=now, lifetime_seconds=3600)
            cookies.append(f"{settings.session_cookie}={secret}")
    print(json.dumps({"url": url, "cookies": cookies}), flush=True)
    app = create_app(
        sessions=sessions,
        responder=Echo(),
        moderator=shipped_moderator(),
        run_view=NoRun(),
        settings=settings,
    )
    make_server(app).run(sockets=[listener])


def _serve_bare(arguments: argparse.Namespace, url: str, listener: object) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def words() -> AsyncIterator[str]:
        yield 'id: 0\ndata: {"type": "start"}\n\n'
        due = time.monotonic()
        for n in range(arguments.words):
            due += 1 / arguments.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            text = f" {_word(n)}" if n else _word(n)
            yield f'id: {n + 1}\ndata: {{"type": "delta", "text": "{text}"}}\n\n'
        yield f'id: {arguments.words + 1}\ndata: {{"type": "finish"}}\n\n'

    async def events(_request: Request) -> StreamingResponse:
        return StreamingResponse(words(), media_type="text/event-stream")

    print(json.dumps({"url": url, "cookies": []}), flush=True)
    app = Starlette(routes=[Route("/events", events)])
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_config=None)).run(sockets=[listener])


# --- the table --------------------------------------------------------------------------------------------


def _summary(rounds: Sequence[Load]) -> dict[str, float]:
    clients = [one for load in rounds for one in load.clients]
    first = [1000 * (one.times[0] - one.asked) for one in clients]
    text = [1000 * (one.first_text - one.asked) for one in clients]
    gaps = [1000 * (b - a) for one in clients for a, b in zip(one.times, one.times[1:], strict=False)]
    return {
        "events a second": statistics.median(load.rate for load in rounds),
        "first event p50 ms": _quantile(first, 0.5),
        "first event p95 ms": _quantile(first, 0.95),
        "first text p50 ms": _quantile(text, 0.5),
        "first text p95 ms": _quantile(text, 0.95),
        "event spacing p50 ms": _quantile(gaps, 0.5),
        "event spacing p95 ms": _quantile(gaps, 0.95),
        "server CPU ms for 1000 events": 1e6
        * sum(load.cpu_seconds for load in rounds)
        / sum(load.events for load in rounds),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _show(results: dict[str, dict[str, float]], ratio: float, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps({**results, "ratio": ratio, "clients": arguments.clients}))
        return
    print(
        f"{arguments.clients} clients, {arguments.words} words each at {arguments.rate:g} a second; nothing lost"
    )
    print(f"{'':32}{'parley':>10}{'bare':>10}")
    for name, value in results["parley"].items():
        print(f"{name:32}{value:>10.1f}{results['bare'][name]:>10.1f}")
    print(f"{'events, parley to bare':32}{ratio:>10.2f}   (goal: at least {GOAL})")


if __name__ == "__main__":
    main()
