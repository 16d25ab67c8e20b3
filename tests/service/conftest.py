"""The real application on a loopback port, over a responder that echoes."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy.orm import Session, sessionmaker

from parley.dialogue import Conversation
from parley.errors import ConfigError, NotFound
from parley.moderation.rules import shipped_moderator
from parley.ports import Completer, Delta, Finish, Moderator, ReleaseInfo, Responder, Sampling
from parley.service.app import create_app
from parley.service.common.release_view import ReleaseView
from parley.service.common.run_view import RunDetails, RunStatus, RunView, StageView
from parley.service.common.sessions import login_url
from parley.service.common.settings import Settings
from parley.service.common.tracing import Tracer
from parley.service.server import Server, make_server
from parley.store.database import close_database, database_url, open_database
from parley.store.keys import Scope, create_key
from parley.store.schema import new_id
from parley.store.users import Role, create_user
from tests.databases import Backend, MakeUrl

from .visiting import Visit, chromium_path, visiting

BASE = ReleaseInfo("micro-base", "base", "micro", 1_700_000_000)
SFT = ReleaseInfo("micro-sft", "sft", "micro", 1_700_000_100)
PPO = ReleaseInfo("micro-ppo-1", "ppo-1", "micro", 1_700_000_200)


@dataclass
class Echo:
    """Says which release it is and repeats the last message, word by word; some words make trouble."""

    cut: list[ReleaseInfo] = field(default_factory=lambda: [BASE, SFT])
    word_seconds: float = 0.0
    asked: list[tuple[Conversation, Sampling, str]] = field(default_factory=list)
    closed: int = 0

    def reset(self) -> None:
        self.cut, self.word_seconds, self.asked, self.closed = [BASE, SFT], 0.0, [], 0

    def releases(self) -> Sequence[ReleaseInfo]:
        return tuple(self.cut)

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        self.asked.append((conversation, sampling, release))
        last = conversation.messages[-1]
        if last.role != "user":
            raise ConfigError("the last message must be the user's")
        if release not in [one.name for one in self.cut]:
            raise NotFound(f"no release {release}")
        return self._say(last.text, sampling, release)

    def _say(self, said: str, sampling: Sampling, release: str) -> Iterator[Delta | Finish]:
        try:
            words = f"{release}: {said}".split(" ")
            yield Delta(words[0])
            for spoken, word in enumerate(words[1:], start=1):
                if spoken == sampling.max_tokens:
                    yield Finish("length", 3, spoken)
                    return
                time.sleep(self.word_seconds)
                if word == "!break":
                    raise RuntimeError(f"could not say {said}")
                while word == "!forever":
                    time.sleep(0.01)
                    yield Delta(" more")
                yield Delta(f" {word}")
            yield Finish("stop", 3, len(words))
        finally:
            self.closed += 1


NO_RUN = RunStatus("", "none", (), None, "")
NO_DETAILS = RunDetails("none", "", "", None, {}, (), (), (), (), ())


def stage(name: str, state: str, done: int = 0, **figures: float) -> StageView:
    remaining = 12.4 if state == "running" else None
    assert state in ("waiting", "running", "done", "failed")
    return StageView(name, name.upper(), state, done, 100, 41.2, remaining, figures)  # type: ignore[arg-type]


@dataclass
class Progress:
    """A run whose status the test sets; or an error, which it then raises."""

    now: RunStatus | Exception = NO_RUN
    files: RunView | None = None  # a view of real files, which then tells all

    def reset(self) -> None:
        self.now, self.files = NO_RUN, None

    def status(self) -> RunStatus:
        if isinstance(self.now, Exception):
            raise self.now
        return self.files.status() if self.files else self.now

    def details(self) -> RunDetails:
        return self.files.details() if self.files else NO_DETAILS


@dataclass(frozen=True)
class Service:
    """A running service and what is behind it."""

    url: str
    settings: Settings
    sessions: sessionmaker[Session]
    echo: Echo
    progress: Progress
    home: Path
    servers: list[Server] = field(default_factory=list)

    def stop(self) -> None:
        """As a signal to the process would."""
        self.servers[0].should_exit = True

    def key(self, scope: Scope = "chat", lifetime_seconds: int | None = None, age_seconds: int = 0) -> str:
        now = int(time.time()) - age_seconds
        with self.sessions.begin() as session:
            new = create_key(session, scope=scope, label="test", now=now, lifetime_seconds=lifetime_seconds)
        return new.secret

    def link(self, user_id: str | None = None) -> str:
        return login_url(self.sessions, self.settings, user_id=user_id)

    def person(self, *roles: Role) -> str:
        """The id of a new account with these roles."""
        with self.sessions.begin() as session:
            made = create_user(
                session, user_id=new_id(), name="", roles=roles or ("user",), now=int(time.time())
            )
        return made.id

    @contextmanager
    def browser(self, user_id: str | None = None) -> Iterator[httpx.Client]:
        """A client, signed in as the owner or as somebody else, that sends what our own page sends."""
        headers = {"sec-fetch-site": "same-origin", "origin": self.url}
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=10) as client:
            assert client.get(self.link(user_id)).status_code == 303
            yield client

    @contextmanager
    def program(self, key: str | None = None) -> Iterator[httpx.Client]:
        """A client with a bearer key."""
        headers = {"authorization": f"Bearer {key or self.key()}"}
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=10) as client:
            yield client


@contextmanager
def running(
    home: Path,
    settings: Settings | None = None,
    *,
    database: str = "",
    moderator: Moderator | None = None,
    responder: Responder | None = None,
    release_view: ReleaseView | None = None,
    completer: Completer | None = None,
    tracer: Tracer | None = None,
    send_buffer: int = 0,
) -> Iterator[Service]:
    """The service on a free port, over the database of its home or another; stopped at the end.

    `send_buffer`: bytes of an answer that the system takes for a client that does not read.
    """
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        if send_buffer:  # connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        service = Service(
            url,
            replace(settings or Settings(), base_url=url),
            open_database(database or database_url(home, {})),
            Echo(),
            Progress(),
            home,
        )
        app = create_app(
            sessions=service.sessions,
            responder=responder or service.echo,
            moderator=moderator or shipped_moderator(),
            run_view=service.progress,
            settings=service.settings,
            release_view=release_view,
            completer=completer,
            tracer=tracer,
        )
        server = make_server(app)
        service.servers.append(server)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield service
        finally:
            server.should_exit = True
            thread.join(timeout=15)
            close_database(service.sessions)
    assert not thread.is_alive()


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Waits for something to come true, and says so if it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def shared(
    backend: Backend, make_url: MakeUrl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service for all tests of a file: starting and stopping takes longer than most of them."""
    home = tmp_path_factory.mktemp("shared")
    with make_url(backend, home) as database, running(home, database=database) as started:
        yield started


@pytest.fixture
def service(shared: Service) -> Service:
    """The service with its echo and its run as at first. Its keys and sessions stay: make your own."""
    shared.echo.reset()
    shared.progress.reset()
    return shared


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        path = chromium_path(playwright)
        launched = playwright.chromium.launch(executable_path=path, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """Somebody new, with the owner's rights, on the first page."""
    with visiting(browser, service, user_id=service.person("user", "admin")) as opened:
        yield opened
