"""The pages: signing in and out, rendered here and without script; and the web application's built files."""

from __future__ import annotations

import gzip
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
APP: Final = WEB / "app"  # made by `web/assemble.py`; not there under PARLEY_SKIP_WEB=1
MEDIA: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SEE_OTHER: Final = 303
COMPRESSED_FROM: Final = 1_000  # bytes
FOREVER: Final = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)
lost = APIRouter(include_in_schema=False)  # after every other router


@router.get("/")
@router.get("/c/{conversation_id}")
@router.get("/run")
@router.get("/releases")
@router.get("/compare")
@router.get("/settings")
def page(request: Request, seams: WithSeams) -> Response:
    """The application, for who is signed in; it finds the screen by its address."""
    if not is_signed_in(request, seams.sessions, seams.settings):
        return RedirectResponse("/login", SEE_OTHER)
    return _application()


@router.get("/s/{token}")
def shared_page(token: str) -> Response:
    """The application for whoever has a share's link; no search engine may keep it."""
    answer = _application()
    answer.headers["x-robots-tag"] = "noindex, nofollow"
    return answer


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
    """A file of the pages. One with its digest in its name never changes."""

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str
    lasts: bool


@cache
def assets() -> dict[str, Asset]:
    """The files that belong to the pages, by name: nothing else can be asked for."""
    built = [*(APP / "assets").iterdir()] if APP.is_dir() else []
    own = [file for file in sorted(WEB.iterdir()) if file.suffix in MEDIA]
    files = {file.name: file for file in (*sorted(built), *own) if file.suffix in MEDIA}
    return {name: _asset(file, lasts=file.parent != WEB) for name, file in files.items()}


@router.get("/assets/{name}")
def asset(name: str, request: Request) -> Response:
    """One file, without a session: there is nothing secret in it."""
    found = assets().get(name)
    if found is None:
        raise HTTPException(404)
    headers = {
        "etag": found.etag,
        "cache-control": FOREVER if found.lasts else "no-cache",
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    if found.compressed and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


@lost.get("/{name}")
def nowhere(name: str, request: Request) -> Response:
    """An address that somebody mistyped: the application says so to people, a problem to programs."""
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(404)
    answer = _application()
    answer.status_code = 404
    return answer


def _asset(file: Path, *, lasts: bool) -> Asset:
    content = file.read_bytes()
    compressed = gzip.compress(content, mtime=0) if len(content) >= COMPRESSED_FROM else None
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(content, compressed, MEDIA[file.suffix], etag, lasts)


def _application() -> Response:
    index = APP / "index.html"
    if not index.exists():
        return HTMLResponse(_read("unbuilt.html"), 501)
    return HTMLResponse(_read("app/index.html"))


@cache
def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
