"""Health, readiness, metrics, and how far the run is."""

from __future__ import annotations

from math import isfinite
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import TypeAdapter

from parley.service.common.deps import WithSeams, person
from parley.service.common.run_view import RunDetails, RunStatus
from parley.service.operations.wire import Health, Readiness, RunAnswer, StageAnswer
from parley.store.database import is_readable

DETAILS: Final = TypeAdapter(RunDetails)
NOT_MODIFIED: Final = 304

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def healthz() -> Health:
    """The process is alive."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}})
def readyz(seams: WithSeams, response: Response) -> Readiness:
    """At least one release answers and the database can be read."""
    reason = _why_not_ready(seams)
    if reason:
        response.status_code = 503
    return Readiness(ready=not reason, reason=reason)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(seams: WithSeams) -> Response:
    """Queue, batch size, tokens and times, in Prometheus' text format. Engines are asked at once."""
    return Response(seams.meter.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/api/run", dependencies=[Depends(person)])
def run(seams: WithSeams) -> RunAnswer:
    """How far the run is, stage by stage."""
    return _answer(seams.run_view.status())


@router.get(
    "/api/run/details",
    dependencies=[Depends(person)],
    response_model=RunDetails,
    responses={NOT_MODIFIED: {"description": "Nothing changed since that `etag`"}},
)
def run_details(request: Request, seams: WithSeams) -> Response:
    """What the run has measured. Ask again with `if-none-match`: nothing is sent where nothing changed."""
    details = seams.run_view.details()
    headers = {"etag": f'"{details.revision}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(DETAILS.dump_json(details), media_type="application/json", headers=headers)


def _why_not_ready(seams: WithSeams) -> str:
    if seams.generations.is_closing:
        return "the server is being stopped"
    if not is_readable(seams.sessions):
        return "the database cannot be read"
    return "" if seams.responder.releases() else "there is no release yet"


def _answer(status: RunStatus) -> RunAnswer:
    stages = tuple(
        StageAnswer(
            name=stage.name,
            label=stage.label,
            state=stage.state,
            done=stage.done,
            total=stage.total,
            seconds=stage.seconds,
            remaining_seconds=stage.remaining_seconds,
            figures={name: value if isfinite(value) else None for name, value in stage.figures.items()},
        )
        for stage in status.stages
    )
    return RunAnswer(
        recipe=status.recipe,
        state=status.state,
        stages=stages,
        remaining_seconds=status.remaining_seconds,
        message=status.message,
    )
