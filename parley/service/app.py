"""The application, put together from its seams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from parley import __version__
from parley.ports import Completer, Moderator, Responder
from parley.service.chat import (
    comparisons,
    consent,
    conversations,
    feedback,
    me,
    objections,
    pages,
    search,
    shares,
    turns,
)
from parley.service.common import problems
from parley.service.common.deps import Seams
from parley.service.common.generation import Generations
from parley.service.common.meter import Meter
from parley.service.common.middleware import BodyLimit, Door, Envelope, HostGuard
from parley.service.common.release_view import NoReleaseView, ReleaseView
from parley.service.common.run_view import RunView
from parley.service.common.settings import Settings
from parley.service.common.threaded import Threaded
from parley.service.common.tracing import NoTracer, Tracer
from parley.service.openai import completions
from parley.service.openai import routes as openai
from parley.service.operations import queue, releases
from parley.service.operations import routes as operations
from parley.service.replies.desk import Desk


def create_app(
    *,
    sessions: sessionmaker[Session],
    responder: Responder,
    moderator: Moderator,
    run_view: RunView,
    settings: Settings,
    release_view: ReleaseView | None = None,
    completer: Completer | None = None,
    tracer: Tracer | None = None,
) -> FastAPI:
    """The whole service. `sessions`, of `store.database.open_database`, stay the caller's to close.

    Programs are answered by `completer`; where there is none, by the responder, and then without
    anything about tokens.
    """
    completer = completer or Threaded(responder)
    meter = Meter(completer.loads)
    desk = Desk(sessions, responder, moderator, settings, meter)
    app = FastAPI(
        title="parley",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(desk),
    )
    app.state.seams = Seams(
        sessions=sessions,
        responder=responder,
        moderator=moderator,
        desk=desk,
        generations=Generations(
            completer, limit=settings.max_in_flight, limit_of_key=settings.max_in_flight_of_key
        ),
        run_view=run_view,
        settings=settings,
        release_view=release_view or NoReleaseView(),
        meter=meter,
        tracer=tracer or NoTracer(),
    )
    problems.install(app)
    for router in (pages.router, operations.router, openai.router, completions.router):
        app.include_router(router)
    for part in (me, conversations, turns):
        app.include_router(part.router)
    for part in (feedback, objections, consent, comparisons, shares, search, releases, queue):
        app.include_router(part.router)
    app.include_router(pages.lost)
    app.add_middleware(Door, limit=settings.max_in_flight, limit_of_key=settings.max_in_flight_of_key)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(HostGuard, allowed=settings.allowed_hosts)
    app.add_middleware(Envelope, meter=meter)  # added last: outermost
    return app


def _lifespan(desk: Desk) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(desk.open)
        yield
        await run_in_threadpool(desk.close)

    return lifespan
