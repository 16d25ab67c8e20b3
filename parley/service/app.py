"""The application, put together from its seams."""

from __future__ import annotations

from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from parley import __version__
from parley.ports import Responder
from parley.service.chat import pages
from parley.service.chat import routes as chat
from parley.service.common import problems
from parley.service.common.deps import Seams
from parley.service.common.generation import Generations
from parley.service.common.middleware import BodyLimit, Envelope, HostGuard
from parley.service.common.run_view import RunView
from parley.service.common.settings import Settings
from parley.service.openai import routes as openai
from parley.service.operations import routes as operations


def create_app(
    *, sessions: sessionmaker[Session], responder: Responder, run_view: RunView, settings: Settings
) -> FastAPI:
    """The whole service. `sessions`, of `store.database.open_database`, stay the caller's to close."""
    app = FastAPI(title="parley", version=__version__, docs_url=None, redoc_url=None)
    app.state.seams = Seams(
        sessions=sessions,
        responder=responder,
        generations=Generations(responder, limit=settings.max_in_flight),
        run_view=run_view,
        settings=settings,
    )
    problems.install(app)
    for router in (pages.router, chat.router, operations.router, openai.router):
        app.include_router(router)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(HostGuard, allowed=settings.allowed_hosts)
    app.add_middleware(Envelope)  # added last: outermost
    return app
