"""The releases: which there are, where they stand, promoting and rolling back: `/api/releases`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import isfinite
from typing import Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from parley.errors import NotFound
from parley.ports import ReleaseInfo
from parley.service.chat.labels import labels
from parley.service.common.deps import Admin, Seams, WithSeams, person
from parley.service.common.release_view import ReleaseDetails as Made
from parley.service.common.release_view import ReleaseView
from parley.service.common.wire import ErrorAnswer, Id
from parley.service.operations.wire_releases import (
    ParentRelease,
    PromoteAsk,
    Release,
    ReleaseChange,
    ReleaseDetails,
    Releases,
    RollbackAsk,
)
from parley.store import releases as store
from parley.store.database import writing

CARD_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)

router = APIRouter(
    prefix="/api/releases",
    tags=["releases"],
    dependencies=[Depends(person)],
    responses={"default": {"model": ErrorAnswer}},
)


@router.get("")
def list_releases(seams: WithSeams) -> Releases:
    """The releases that can answer, oldest first."""
    with seams.sessions() as session:
        return _releases(session, seams)


@router.get("/{name}")
def details(name: Id, seams: WithSeams) -> ReleaseDetails:
    """One release: where it stands, what it came from, what it was measured to do, who decided what."""
    with seams.sessions() as session:
        release = _named(_releases(session, seams), name)
        history = store.changes(session, name)
    made = _made(seams.release_view, name)
    return ReleaseDetails(
        release=release,
        checkpoint=made.checkpoint if made else None,
        data=made.data if made else None,
        parents=_parents(made) if made else (),
        figures=_figures(made) if made else {},
        seed=made.seed if made else None,
        commit=made.commit if made else None,
        history=tuple(_change(one) for one in history),
    )


@router.get(
    "/{name}/card", response_class=HTMLResponse, responses={200: {"description": "The card, without scripts"}}
)
def card(name: Id, seams: WithSeams) -> Response:
    """The release's card, a page of its own that may do nothing but be read."""
    _info(seams.responder.releases(), name)
    headers = {"content-security-policy": CARD_POLICY}
    return HTMLResponse(seams.release_view.card(name), headers=headers)


@router.post("/{name}/promote")
def promote(name: Id, ask: PromoteAsk, caller: Admin, seams: WithSeams) -> Releases:
    """Makes a release live and the one that answers by default, or moves it to the state named."""
    with writing(seams.sessions) as session:
        store.promote(
            session,
            seams.responder.releases(),
            name,
            actor=caller.id,
            now=int(time.time()),
            state=ask.state,
            share=ask.share,
        )
        return _releases(session, seams)


@router.post("/{name}/rollback")
def roll_back(name: Id, ask: RollbackAsk, caller: Admin, seams: WithSeams) -> Releases:
    """Takes a release back: the one that was live before it answers again, from the next turn on."""
    del ask
    with writing(seams.sessions) as session:
        store.roll_back(session, seams.responder.releases(), name, actor=caller.id, now=int(time.time()))
        return _releases(session, seams)


def _releases(session: Session, seams: Seams) -> Releases:
    found = seams.responder.releases()
    standings = store.standings(session, found)
    default = seams.settings.release
    return Releases(
        releases=tuple(
            Release(
                name=standing.release.name,
                label=label,
                stage=standing.release.stage,
                run=standing.release.run,
                created=standing.release.created,
                state=standing.state,
                share=standing.share,
                is_default=standing.release.name == default if default else standing.is_default,
                card=_card_address(seams.release_view, standing.release.name),
            )
            for standing, label in zip(standings, labels(found), strict=True)
        )
    )


def _card_address(view: ReleaseView, name: str) -> str | None:
    return f"/api/releases/{name}/card" if _made(view, name) else None


def _made(view: ReleaseView, name: str) -> Made | None:
    try:
        return view.details(name)
    except NotFound:
        return None


def _named(releases: Releases, name: str) -> Release:
    for release in releases.releases:
        if release.name == name:
            return release
    raise NotFound("There is no release of that name.")


def _info(releases: Sequence[ReleaseInfo], name: str) -> ReleaseInfo:
    for release in releases:
        if release.name == name:
            return release
    raise NotFound("There is no release of that name.")


def _parents(made: Made) -> tuple[ParentRelease, ...]:
    return tuple(ParentRelease(digest=one.digest, release=one.release or None) for one in made.parents)


def _figures(made: Made) -> dict[str, float | None]:
    return {name: value if isfinite(value) else None for name, value in made.figures.items()}


def _change(change: store.Change) -> ReleaseChange:
    return ReleaseChange(
        action=change.action,
        state=change.state,
        share=change.share,
        default=change.default,
        by=change.actor,
        at=change.at,
    )
