"""`parley serve`, and the keys and links that let people in."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from parley.artifacts import write_atomically
from parley.cli import show_json
from parley.cli.engines import checkpoint_responder, engine_named, is_server, server_responder
from parley.cli.paths import home, runs
from parley.cli.progress import FileRunView
from parley.cli.releases import FileReleaseView
from parley.cli.tracing import tracing
from parley.engine.remote import RemoteResponder
from parley.engine.responder import CheckpointResponder
from parley.errors import ConfigError, NotFound
from parley.moderation.rules import shipped_moderator
from parley.numerics import NumericPlan
from parley.ports import ReleaseInfo
from parley.service.app import create_app
from parley.service.common.run_view import RunView
from parley.service.common.sessions import login_url
from parley.service.common.settings import LOOPBACK, Settings
from parley.service.server import make_server
from parley.stages.release import find_releases
from parley.store import keys
from parley.store.database import close_database, database_url, open_database

PORTS_TRIED: Final = 20
DRAFTS_SHARE: Final = 0.05  # of turns that are answered twice, for the person to say which is better
MAX_DAYS: Final = 3650
SERVER: Final = "server.json"  # where the running service says its address
Catalog = Callable[[], Sequence[tuple[ReleaseInfo, Path]]]


def serve(arguments: argparse.Namespace) -> int:
    """The service alone, until Ctrl-C."""
    engine = engine_named(arguments.engine)
    if is_server(engine):
        if arguments.checkpoint is not None:
            raise ConfigError("--checkpoint is for engines of our own; a server serves what it has loaded")
        catalog, release = None, arguments.release or ""
    else:
        catalog, release = _catalog(arguments.release, arguments.checkpoint)
    if arguments.host in ("0.0.0.0", "::"):
        print(
            "answering on every address, but only to requests for a loopback name: name one by --host",
            flush=True,
        )
    serve_until_stopped(
        host=arguments.host,
        port=arguments.port,
        view=FileRunView(runs(), ""),
        announce=lambda link: print(f"parley is at {link}", flush=True),
        catalog=catalog,
        release=release,
        engine=engine,
    )
    return 0


def serve_until_stopped(
    *,
    host: str,
    port: int,
    view: RunView,
    announce: Callable[[str], None],
    catalog: Catalog | None = None,
    release: str = "",
    engine: str | None = None,
) -> None:
    """Bind, say where, answer until a signal comes. A taken port: the next free one.

    `release` answers where none is named, whatever was promoted.
    """
    listener = _listen(host, port)
    url = _url(host, listener.getsockname()[1])
    settings = Settings(base_url=url, hosts=(host,), release=release, drafts_share=DRAFTS_SHARE)
    sessions = open_database(database_url(home()))
    responder, completer = _answering(engine_named(engine), catalog or _all_releases)
    try:
        with tracing() as tracer:
            app = create_app(
                sessions=sessions,
                responder=responder,
                completer=completer,
                moderator=shipped_moderator(),
                run_view=view,
                settings=settings,
                release_view=FileReleaseView(runs()),
                tracer=tracer,
            )
            write_atomically(home() / SERVER, json.dumps({"url": url, "pid": os.getpid()}))
            announce(login_url(sessions, settings))
            make_server(app).run(sockets=[listener])
    finally:
        responder.close()
        (home() / SERVER).unlink(missing_ok=True)
        close_database(sessions)


def _answering(
    engine: str, catalog: Catalog
) -> tuple[CheckpointResponder | RemoteResponder, CheckpointResponder | None]:
    """Who answers people, and who answers programs with all that is known of tokens."""
    if is_server(engine):
        return server_responder(engine), None
    responder = checkpoint_responder(engine, catalog, NumericPlan())
    return responder, responder


def link(arguments: argparse.Namespace) -> int:
    """Print a fresh one-time link to the service that runs in this home."""
    del arguments
    try:
        found = json.loads((home() / SERVER).read_text(encoding="utf-8"))
        url = str(found["url"])
        os.kill(int(found["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        raise NotFound("nothing is served from this home: start `parley up` or `parley serve`") from None
    sessions = open_database(database_url(home()))
    settings = Settings(base_url=url)
    print(login_url(sessions, settings))
    close_database(sessions)
    return 0


def create_key(arguments: argparse.Namespace) -> int:
    """Print a new bearer key, this once."""
    lifetime = _lifetime_seconds(arguments.days)
    label = arguments.label.encode("utf-8", "replace").decode()
    sessions = open_database(database_url(home()))
    with sessions.begin() as session:
        made = keys.create_key(
            session,
            scope=arguments.scope,
            label=label,
            now=int(time.time()),
            lifetime_seconds=lifetime,
        )
    close_database(sessions)
    if arguments.json:
        show_json({"key": made.secret, "scope": made.key.scope, "expires": made.key.expires})
    else:
        print(made.secret)
    return 0


def _lifetime_seconds(days: float | None) -> int | None:
    if days is None:
        return None
    if not 0 < days <= MAX_DAYS:
        raise ConfigError(f"--days is more than 0 and at most {MAX_DAYS}, not {days:g}")
    return math.ceil(days * 24 * 60 * 60)


def _catalog(release: str | None, checkpoint: Path | None) -> tuple[Catalog, str]:
    """What can answer, one directory or all releases; and which answers where none is named, if that was said."""
    if checkpoint is not None:
        if not (checkpoint / "config.json").is_file():
            raise ConfigError(f"{checkpoint} is no checkpoint directory: it has no config.json")
        info = ReleaseInfo(checkpoint.name, "checkpoint", "", int(time.time()))
        return lambda: [(info, checkpoint)], info.name
    if release is not None and release not in {info.name for info, _ in _all_releases()}:
        names = ", ".join(info.name for info, _ in _all_releases()) or "none yet"
        raise NotFound(f"there is no release '{release}'; there are: {names}")
    return _all_releases, release or ""


def _all_releases() -> Sequence[tuple[ReleaseInfo, Path]]:
    return [(found.info, found.path) for found in find_releases(runs())]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (*range(port, port + PORTS_TRIED), 0) if port else (0,):
        # named as TCP, or asyncio does not know that it is and lets small pieces wait (Nagle)
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OverflowError:
            raise ConfigError(f"--port {port}: ports go from 0 to 65535") from None
        except OSError as error:
            listener.close()
            if candidate and error.errno == errno.EADDRINUSE:
                continue
            raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror})") from None
        return listener
    raise ConfigError(f"no free port from {port} on")


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown if host not in ('0.0.0.0', '::') else LOOPBACK[0]}:{port}"
