"""Consent to being learnt from: off by default, to a text with a version: `/api/consent`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import yaml
from fastapi import APIRouter, Header
from sqlalchemy.orm import Session

from parley.errors import Conflict
from parley.service.chat.wire_feedback import Consent, ConsentAsk
from parley.service.common.deps import Caller, WithSeams
from parley.service.common.wire import ErrorAnswer
from parley.store import consents
from parley.store.database import writing
from parley.store.users import User

TEXT: Final = Path(__file__).parents[1] / "texts" / "consent.yaml"
FALLBACK: Final = "en"

router = APIRouter(prefix="/api/consent", tags=["consent"], responses={"default": {"model": ErrorAnswer}})
AcceptLanguage = Annotated[str, Header(max_length=200, include_in_schema=False)]


@dataclass(frozen=True, slots=True)
class ConsentText:
    """What people agree to, by language."""

    version: str
    texts: Mapping[str, str]

    def in_language(self, wanted: str | None) -> str:
        """The text in the first language of `wanted` (as in `tr-TR, en`) that there is."""
        asked = [part.partition(";")[0].strip().partition("-")[0] for part in (wanted or "").split(",")]
        return next((self.texts[name] for name in asked if name in self.texts), self.texts[FALLBACK])


@cache
def consent_text() -> ConsentText:
    """The text in force."""
    entries = yaml.safe_load(TEXT.read_text(encoding="utf-8"))
    return ConsentText(str(entries.pop("version")), entries)


def consent_answer(session: Session, user: User, *, accepted_languages: str = "") -> Consent:
    """What this person agreed to, with the text in the language that they chose or their browser names."""
    live = consents.live_grant(session, user_id=user.id)
    return Consent(
        train=live is not None,
        text_version=consent_text().version,
        granted_version=live.text_version if live else None,
        changed=consents.last_change(session, user_id=user.id),
        text=consent_text().in_language(user.language or accepted_languages),
    )


@router.get("")
def show(caller: Caller, seams: WithSeams, accept_language: AcceptLanguage = "") -> Consent:
    """Whether what this person says may be learnt from, and what they agree to if so."""
    with seams.sessions() as session:
        return consent_answer(session, caller.user, accepted_languages=accept_language)


@router.put("")
def change(
    ask: ConsentAsk, caller: Caller, seams: WithSeams, accept_language: AcceptLanguage = ""
) -> Consent:
    """Gives or withdraws consent. It can be given to the text in force alone."""
    if ask.train and ask.text_version != consent_text().version:
        raise Conflict("The text that you agree to was changed meanwhile; read it again.")
    now = int(time.time())
    with writing(seams.sessions) as session:
        if ask.train:
            consents.grant(session, user_id=caller.id, text_version=ask.text_version, now=now)
        else:
            consents.withdraw(session, user_id=caller.id, now=now)
        return consent_answer(session, caller.user, accepted_languages=accept_language)
