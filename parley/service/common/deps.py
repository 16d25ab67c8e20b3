"""Who calls, and may they: what routes depend on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import Forbidden
from parley.ports import Moderator, ReleaseInfo, Responder
from parley.service.common.generation import Generations
from parley.service.common.meter import Meter
from parley.service.common.problems import NoSuchRelease, NothingToAnswer, NotSignedIn, UnknownKey
from parley.service.common.release_view import ReleaseView
from parley.service.common.run_view import RunView
from parley.service.common.sessions import Person, signed_in
from parley.service.common.settings import Settings
from parley.service.common.tracing import Tracer
from parley.service.replies.desk import Desk
from parley.store.keys import ApiKey, Scope, find_key
from parley.store.releases import answering
from parley.store.users import Role

bearer: Final = HTTPBearer(auto_error=False, description="A key made with `parley key create`")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Seams:
    """What `create_app` was given, for the routes."""

    sessions: sessionmaker[Session]
    responder: Responder
    moderator: Moderator
    generations: Generations
    desk: Desk
    run_view: RunView
    settings: Settings
    release_view: ReleaseView
    meter: Meter
    tracer: Tracer

    def release(self, name: str | None, *, person: str = "") -> ReleaseInfo:
        """The release of this name, or the one that answers this person where none is named."""
        releases = self.responder.releases()
        if not releases:
            raise NothingToAnswer("There is no release yet: the assistant is still being made.")
        if name is None:
            name = self.settings.release or self._answering(releases, person)
        found = next((release for release in releases if release.name == name), None)
        if found is None:
            names = ", ".join(release.name for release in releases)
            raise NoSuchRelease(f"There is no release of that name; there are: {names}.")
        return found

    def _answering(self, releases: Sequence[ReleaseInfo], person: str) -> str:
        with self.sessions() as session:
            name = answering(session, releases, person=person)
        if name is None:
            raise NothingToAnswer("No release is live at the moment; the owner can promote one.")
        return name


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


def person(request: Request, seams: WithSeams) -> Person:
    """Who: somebody signed in. May they: a change must come from our own page."""
    found = signed_in(request, seams.sessions, seams.settings)
    if found is None:
        raise NotSignedIn("You are not signed in; open the link that `parley link` prints.")
    if request.method not in SAFE_METHODS:
        refuse_other_origins(request, seams.settings)
    return found


Caller = Annotated[Person, Depends(person)]


def holder_of(role: Role) -> Callable[..., Person]:
    """Who: somebody signed in. May they: they must have this role."""

    def holder(caller: Caller) -> Person:
        if role not in caller.user.roles:
            raise Forbidden(f"This needs the role '{role}', which your account does not have.")
        return caller

    return holder


Admin = Annotated[Person, Depends(holder_of("admin"))]


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
