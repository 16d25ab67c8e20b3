"""The pages themselves, their files, and signing in and out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from parley.service.common.deps import WithSeams, person
from parley.service.common.sessions import is_signed_in, sign_in, sign_out

WEB: Final = Path(__file__).parents[1] / "web"
MEDIA: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SEE_OTHER: Final = 303

router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request, seams: WithSeams) -> Response:
    """The page, for who is signed in."""
    if not is_signed_in(request, seams.sessions, seams.settings):
        return RedirectResponse("/login", SEE_OTHER)
    return HTMLResponse(_read("index.html"))


@router.get("/run")
def run_page(request: Request, seams: WithSeams) -> Response:
    """The run's page, for who is signed in."""
    if not is_signed_in(request, seams.sessions, seams.settings):
        return RedirectResponse("/login", SEE_OTHER)
    return HTMLResponse(_read("run.html"))


@router.get("/login")
def login(request: Request, seams: WithSeams, token: str = "") -> Response:
    """Redeems a link and goes on to the page, at an address without the token; else says how to get in."""
    welcome = RedirectResponse("/", SEE_OTHER)
    if token and sign_in(request, welcome, token, seams.sessions, seams.settings):
        return welcome
    if is_signed_in(request, seams.sessions, seams.settings):
        return welcome
    return HTMLResponse(_read("refused.html"), 403) if token else HTMLResponse(_read("login.html"))


@router.post("/logout", dependencies=[Depends(person)])
def logout(request: Request, seams: WithSeams) -> Response:
    """Ends this browser's session."""
    done = Response(status_code=204)
    sign_out(request, done, seams.sessions, seams.settings)
    return done


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """The files that belong to the page, by name: nothing else can be asked for."""
    files = [file for file in sorted(WEB.iterdir()) if file.suffix in MEDIA]
    return {file.name: _asset(file) for file in files}


@router.get("/assets/{name}")
def asset(name: str, request: Request) -> Response:
    """One file, without a session: there is nothing secret in it."""
    found = assets().get(name)
    if found is None:
        raise HTTPException(404)
    headers = {"etag": found.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


def _asset(file: Path) -> Asset:
    content = file.read_bytes()
    return Asset(content, MEDIA[file.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@cache
def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
