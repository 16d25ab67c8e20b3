"""Who calls, and may they: what routes depend on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import Forbidden, NotFound
from parley.ports import ReleaseInfo, Responder
from parley.service.common.generation import Generations
from parley.service.common.problems import NothingToAnswer, NotSignedIn, UnknownKey
from parley.service.common.run_view import RunView
from parley.service.common.sessions import is_signed_in
from parley.service.common.settings import Settings
from parley.store.keys import ApiKey, Scope, find_key

bearer: Final = HTTPBearer(auto_error=False, description="A key made with `parley key create`")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Seams:
    """What `create_app` was given, for the routes."""

    sessions: sessionmaker[Session]
    responder: Responder
    generations: Generations
    run_view: RunView
    settings: Settings

    def release(self, name: str | None) -> ReleaseInfo:
        """The release of this name, or the newest."""
        releases = self.responder.releases()
        if not releases:
            raise NothingToAnswer("There is no release yet: the assistant is still being made.")
        if name is None:
            return releases[-1]
        found = next((release for release in releases if release.name == name), None)
        if found is None:
            names = ", ".join(release.name for release in releases)
            raise NotFound(f"There is no release of that name; there are: {names}.")
        return found


def seams(request: Request) -> Seams:
    """What `create_app` was given."""
    return cast(Seams, request.app.state.seams)


WithSeams = Annotated[Seams, Depends(seams)]


def key_with(scope: Scope) -> Callable[..., ApiKey]:
    """Who: the caller's key, which must be live. May they: it must be of this scope."""

    def key(
        seams: WithSeams, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> ApiKey:
        if credentials is None:
            raise UnknownKey("No API key was given; send it as 'Authorization: Bearer KEY'.")
        with seams.sessions() as session:
            found = find_key(session, credentials.credentials, now=int(time.time()))
        if found is None:
            raise UnknownKey("The API key is unknown, expired or revoked.")
        if found.scope != scope:
            raise Forbidden(f"The API key is for '{found.scope}'; this needs a key for '{scope}'.")
        return found

    return key


def person(request: Request, seams: WithSeams) -> None:
    """Who: somebody signed in. May they: a change must come from our own page."""
    if not is_signed_in(request, seams.sessions, seams.settings):
        raise NotSignedIn("You are not signed in; open the link that `parley link` prints.")
    if request.method not in SAFE_METHODS:
        refuse_other_origins(request, seams.settings)


def refuse_other_origins(request: Request, settings: Settings) -> None:
    """`Forbidden` unless the browser says that our own page sent this.

    A browser's `Sec-Fetch-Site` decides where it is sent; else `Origin` must be ours. A request
    with neither is refused: programs have `/v1`.
    """
    site = request.headers.get("sec-fetch-site")
    ours = f"{'https' if settings.secure else 'http'}://{request.headers['host']}".lower()
    is_ours = request.headers.get("origin") == ours if site is None else site == "same-origin"
    if not is_ours:
        raise Forbidden("This was not sent by the page itself, so it was not done.")
