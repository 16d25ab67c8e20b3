"""Who may do what: every route × {who it belongs to, somebody else, nobody, a session that ended, a key}.

The routes are those of the application. One without a row here fails, and so does a row without a
route. Whatever a caller gets who is not the owner, none of the owner's words are in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from parley.moderation.rules import shipped_moderator
from parley.service.app import create_app

from .conftest import SFT, Service
from .talking import Json, answered, begin, posted, say, turn, watched

Caller = Literal["owner", "other", "nobody", "ended", "key"]
MARKER: Final = "swordfish"
OK: Final = range(200, 300)


@dataclass(frozen=True)
class Rule:
    """What each caller gets: a status, or a range of them."""

    owner: int | range
    other: int | range
    nobody: int | range
    ended: int | range
    key: int | range


OPEN: Final = Rule(OK, OK, OK, OK, OK)
MINE: Final = Rule(OK, 404, 401, 401, 401)
"""It belongs to one account; to another one it is as unknown as one that never was."""
EVERYBODYS: Final = Rule(OK, OK, 401, 401, 401)
"""Anybody signed in gets their own."""
ADMIN: Final = Rule(OK, 403, 401, 401, 401)
PROGRAM: Final = Rule(401, 401, 401, 401, OK)
"""A bearer key and nothing else."""
PAGE: Final = Rule(range(200, 502), range(200, 502), 303, 303, 303)
"""A page: to sign in first, or the application (501 where it was not built)."""


@dataclass(frozen=True)
class Row:
    """One route: its rule, and how the owner uses it."""

    method: str
    path: str
    rule: Rule
    body: Callable[[Json], Json] | None = None


def nothing(ids: Json) -> Json:
    del ids
    return {}


ROWS: Final = (
    Row("GET", "/openapi.json", OPEN),
    Row("GET", "/healthz", OPEN),
    Row("GET", "/readyz", OPEN),
    Row("GET", "/metrics", OPEN),
    Row("GET", "/login", Rule(303, 303, OK, OK, OK)),
    Row("GET", "/assets/{name}", OPEN),
    Row("GET", "/s/{token}", Rule(*(range(200, 502),) * 5)),
    *(
        Row("GET", path, PAGE)
        for path in ("/", "/run", "/releases", "/compare", "/settings", "/c/{conversation_id}")
    ),
    Row("GET", "/{name}", Rule(404, 404, 404, 404, 404)),
    Row("GET", "/api/shared/{token}", OPEN),
    Row("GET", "/api/run", EVERYBODYS),
    Row("GET", "/api/run/details", EVERYBODYS),
    Row("GET", "/api/releases", EVERYBODYS),
    Row("GET", "/api/releases/{name}", EVERYBODYS),
    Row("GET", "/api/releases/{name}/card", Rule(404, 404, 401, 401, 401)),
    Row("POST", "/api/releases/{name}/promote", ADMIN, nothing),
    Row("POST", "/api/releases/{name}/rollback", ADMIN, nothing),
    Row("GET", "/api/queue", ADMIN),
    Row(
        "POST",
        "/api/queue/{candidate_id}",
        ADMIN,
        lambda ids: {"accept": True, "content_hash": ids["content_hash"]},
    ),
    Row("GET", "/api/me", EVERYBODYS),
    Row("PATCH", "/api/me", EVERYBODYS, lambda _: {"preview_seen": True}),
    Row("GET", "/api/consent", EVERYBODYS),
    Row("PUT", "/api/consent", EVERYBODYS, lambda ids: {"train": True, "text_version": ids["text_version"]}),
    Row("GET", "/api/search", EVERYBODYS),
    Row("GET", "/api/shares", EVERYBODYS),
    Row("GET", "/api/conversations", EVERYBODYS),
    Row("POST", "/api/conversations", EVERYBODYS, nothing),
    Row("GET", "/api/conversations/{conversation_id}", MINE),
    Row("PATCH", "/api/conversations/{conversation_id}", MINE, lambda _: {"title": f"{MARKER} again"}),
    Row(
        "PUT",
        "/api/conversations/{conversation_id}/head",
        MINE,
        lambda ids: {"message_id": ids["message_id"]},
    ),
    Row(
        "POST",
        "/api/conversations/{conversation_id}/turns",
        MINE,
        lambda ids: turn(MARKER, ids["message_id"]),
    ),
    Row("POST", "/api/conversations/{conversation_id}/shares", MINE, nothing),
    Row("GET", "/api/messages/{message_id}", MINE),
    Row("POST", "/api/messages/{message_id}/regenerate", MINE, lambda _: {"client_id": "again"}),
    Row("PUT", "/api/messages/{message_id}/feedback", MINE, lambda _: {"value": "up"}),
    Row("GET", "/api/messages/{message_id}/feedback/history", MINE),
    Row("DELETE", "/api/messages/{message_id}/feedback", MINE),
    Row("PUT", "/api/messages/{message_id}/objection", replace(MINE, owner=409), nothing),  # no verdict
    Row("DELETE", "/api/messages/{message_id}/objection", MINE),
    Row("GET", "/api/generations/{generation_id}/events", MINE),
    Row("POST", "/api/generations/{generation_id}/stop", MINE),
    Row("GET", "/api/comparisons/{comparison_id}", MINE),
    Row("PUT", "/api/comparisons/{comparison_id}/vote", MINE, lambda _: {"outcome": "tie"}),
    Row("DELETE", "/api/shares/{share_id}", MINE),
    Row("DELETE", "/api/conversations/{conversation_id}", MINE),
    Row("GET", "/v1/models", PROGRAM),
    Row("GET", "/v1/models/{name}", PROGRAM),
    Row(
        "POST",
        "/v1/chat/completions",
        PROGRAM,
        lambda _: {"model": SFT.name, "messages": [{"role": "user", "content": "hi"}]},
    ),
    Row(
        "POST",
        "/v1/completions",
        Rule(401, 401, 401, 401, 400),  # an echo answers conversations only
        lambda _: {"model": SFT.name, "prompt": "hi"},
    ),
    Row("POST", "/logout", Rule(204, 204, 401, 401, 401)),  # the last one: who was signed in is so no more
)
ROUTES: Final = {(row.method, row.path): row for row in ROWS}


@pytest.fixture(scope="module")
def callers(shared: Service) -> Iterator[dict[Caller, httpx.Client]]:
    """Clients of all five kinds; each sends what our own page would send."""
    with ExitStack() as stack:
        owner = stack.enter_context(shared.browser())
        other = stack.enter_context(shared.browser(shared.person()))
        ended = stack.enter_context(shared.browser(shared.person()))
        cookies = dict(ended.cookies)
        assert ended.post("/logout").status_code == 204
        ended.cookies.update(cookies)
        key = stack.enter_context(shared.program())
        nobody = stack.enter_context(httpx.Client(base_url=shared.url, trust_env=False, timeout=10))
        for client in (key, nobody):
            client.headers["sec-fetch-site"] = "same-origin"
        yield {"owner": owner, "other": other, "nobody": nobody, "ended": ended, "key": key}


@pytest.fixture(scope="module")
def ids(callers: dict[Caller, httpx.Client]) -> Json:
    """Something of the owner's behind every route."""
    owner = callers["owner"]
    text_version = owner.get("/api/consent").json()["text_version"]
    owner.put("/api/consent", json={"train": True, "text_version": text_version})
    talk = begin(owner)["id"]
    reply = answered(owner, talk, f"a {MARKER}")
    pair = say(owner, begin(owner)["id"], f"a {MARKER}", releases=["micro-base", SFT.name])
    for one in pair["replies"]:
        watched(owner, one["generation_id"])
    owner.put(f"/api/messages/{reply['id']}/feedback", json={"value": "down", "ideal": f"the {MARKER}"})
    share = posted(owner, f"/api/conversations/{talk}/shares", {}, 201)
    (item,) = owner.get("/api/queue").json()["items"]
    return {
        "conversation_id": talk,
        "message_id": reply["id"],
        "generation_id": reply["generation_id"],
        "comparison_id": pair["comparison"]["id"],
        "share_id": share["id"],
        "token": share["url"].rpartition("/")[2],
        "candidate_id": item["id"],
        "content_hash": item["content_hash"],
        "text_version": text_version,
        "name": SFT.name,
    }


def routes_of(service: Service) -> set[tuple[str, str]]:
    app = create_app(
        sessions=service.sessions,
        responder=service.echo,
        moderator=shipped_moderator(),
        run_view=service.progress,
        settings=service.settings,
    )
    return {
        (method, str(context.path).replace(":path}", "}"))
        for context in iter_route_contexts(app.routes)
        for method in set(context.methods or ()) - {"HEAD"}
    }


def test_v8_object_authorisation__every_route_has_a_row(service: Service) -> None:
    assert routes_of(service) == set(ROUTES)


def ask(client: httpx.Client, row: Row, ids: Json) -> httpx.Response:
    path = "/assets/mark.svg" if row.path.startswith("/assets") else row.path.format_map(ids)
    params = {"q": MARKER} if row.path == "/api/search" else {}
    body: Any = row.body(ids) if row.body else None
    return client.request(row.method, path, json=body, params=params)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_v8_object_authorisation__matrix(
    service: Service, callers: dict[Caller, httpx.Client], ids: Json, row: Row
) -> None:
    expected = row.rule
    told = {
        "nobody": expected.nobody,
        "ended": expected.ended,
        "key": expected.key,
        "other": expected.other,
        "owner": expected.owner,
    }
    for caller, status in told.items():
        answer = ask(callers[caller], row, ids)  # type: ignore[index]
        allowed = status if isinstance(status, range) else (status,)
        assert answer.status_code in allowed, (caller, answer.status_code, answer.text[:200])
        if caller != "owner" and "shared" not in row.path:
            assert MARKER not in answer.text, caller
