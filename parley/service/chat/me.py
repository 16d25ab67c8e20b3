"""Who is signed in, and what they set for themselves: `/api/me`."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.orm import Session

from parley.service.chat.consent import AcceptLanguage, consent_answer
from parley.service.chat.wire import Me, MeAsk
from parley.service.common.deps import Caller, WithSeams
from parley.service.common.wire import ErrorAnswer
from parley.store.database import writing
from parley.store.users import ROLES, User, change_user

router = APIRouter(prefix="/api/me", tags=["me"], responses={"default": {"model": ErrorAnswer}})


@router.get("")
def show(caller: Caller, seams: WithSeams, accept_language: AcceptLanguage = "") -> Me:
    """Who is signed in."""
    with seams.sessions() as session:
        return _answer(session, caller.user, accept_language)


@router.patch("")
def change(ask: MeAsk, caller: Caller, seams: WithSeams, accept_language: AcceptLanguage = "") -> Me:
    """Another name or language; whether the notice of the preview was seen."""
    with writing(seams.sessions) as session:
        changed = change_user(
            session, caller.id, name=ask.name, language=ask.language, preview_seen=ask.preview_seen
        )
        return _answer(session, changed, accept_language)


def _answer(session: Session, user: User, accept_language: str) -> Me:
    return Me(
        id=user.id,
        name=user.name,
        roles=tuple(role for role in ROLES if role in user.roles),
        language=user.language,
        preview_seen=user.preview_seen,
        consent=consent_answer(session, user, accepted_languages=accept_language),
    )
