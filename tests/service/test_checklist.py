"""The security checklist, row by row: the rows that concern conversations, streams, markdown, sharing
and limits, each with the tests that show it. Rows without a test elsewhere have theirs here.

What runs in a browser (markdown, the content security policy as it is applied, no request to
foreign hosts) is in the `test_web_…` files.
"""

from __future__ import annotations

import ast
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from parley.labels import CategoryScore, Verdict
from parley.service.common.deps import SAFE_METHODS
from tests.databases import Backend, MakeUrl, only

from .conftest import BASE, SFT, Service, running
from .talking import Json, answered, begin, message, opened, posted, reply_of, say, turn, watched
from .test_matrix import ROWS

HERE: Final = Path(__file__).parent
TESTS: Final = HERE.parent

# row of the checklist → file and beginning of the names of its tests
CHECKLIST: Final = {
    "V8 object authorisation: conversations": ("service/test_matrix.py", "test_v8_object_authorisation__"),
    "V8 streams": ("service/test_checklist.py", "test_v8_streams__"),
    "V8 stale privilege": ("service/test_streams.py", "test_who_may_no_longer_see_it_is_shown_no_more"),
    "V4 key scope": ("service/test_checklist.py", "test_v4_key_scope__"),
    "V7 sessions": ("service/test_checklist.py", "test_v7_sessions__"),
    "V3 CSRF": ("service/test_checklist.py", "test_v3_csrf__"),
    "V3 Host": ("service/test_checklist.py", "test_v3_host__"),
    "V1 markdown": ("service/test_checklist.py", "test_v1_markdown__"),
    "V2 limits": ("service/test_checklist.py", "test_v2_limits__"),
    "V2 limits: any input": ("service/test_schema.py", "test_v2_limits__"),
    "V2 limits: tree": ("service/test_turns.py", "test_a_tree_grows_only_so_deep_and_so_wide"),
    "V2 limits: at once": ("service/test_turns.py", "test_a_person_waits_for_so_many_replies_at_once"),
    "V16 logs": ("service/test_checklist.py", "test_v16_logs__"),
    "V14 privacy: deletion": ("service/test_checklist.py", "test_v14_privacy__"),
    "V14 privacy: withdrawal": (
        "stages/test_store_source.py",
        "test_from_a_conversation_to_a_release_and_out_again",
    ),
    "LLM04 poisoning": ("stages/test_store_source.py", "test_llm04_poisoning__"),
    "moderation coverage": ("service/test_checklist.py", "test_moderation_coverage__"),
    "share links": ("service/test_sharing.py", "test_share_links__"),
}

HOSTILE: Final = (
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[a](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "</script><svg/onload=alert(1)>",
    "{{7*7}} ${7*7} %0d%0aSet-Cookie: a=b",
    "\u202egnp.exe \ufeff",
)


@pytest.mark.parametrize("row", CHECKLIST)
def test_each_row_has_its_test(row: str) -> None:
    file, name = CHECKLIST[row]
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name.startswith(name) for node in tree.body)


# --- V8: streams -----------------------------------------------------------------------------------------


def test_v8_streams__another_person_cannot_watch_resume_or_stop_a_known_reply(service: Service) -> None:
    service.echo.word_seconds = 0.02
    with service.browser(service.person()) as ana, service.browser(service.person("user", "admin")) as ben:
        made = say(ana, begin(ana)["id"], "one two three four five six seven eight")
        reply, generation = reply_of(made)
        path = f"/api/generations/{generation}/events"
        for headers in ({}, {"last-event-id": "1"}, {"last-event-id": "0", "accept": "text/event-stream"}):
            answer = ben.get(path, headers=headers)
            assert (answer.status_code, "one" in answer.text) == (404, False)
        assert ben.get(path, params={"after": 0}).status_code == 404
        assert ben.post(f"/api/generations/{generation}/stop", json={}).status_code == 404
        assert watched(ana, generation)[-1].data["state"] == "complete"
        assert message(ana, reply)["content"].endswith("eight")


# --- V4, V7, V3 ------------------------------------------------------------------------------------------


def test_v4_key_scope__a_key_is_taken_from_one_header_and_opens_one_door(service: Service) -> None:
    key, moderate = service.key(), service.key("moderate")
    forms = [
        {"x-api-key": key},
        {"api-key": key},
        {"cookie": f"authorization=Bearer {key}"},
        {"authorization": key},
    ]
    with httpx.Client(base_url=service.url, trust_env=False, timeout=10) as http:
        assert {http.get("/v1/models", headers=form).status_code for form in forms} == {401}
        assert http.get("/v1/models", params={"api_key": key}).status_code == 401
        both = {"authorization": f"Bearer {moderate}", "x-api-key": key}
        assert http.get("/v1/models", headers=both).status_code == 403
        for path in ("/api/conversations", "/api/me", "/api/queue"):
            assert http.get(path, headers={"authorization": f"Bearer {key}"}).status_code == 401


def test_v7_sessions__signing_out_in_one_browser_leaves_no_token_that_works(service: Service) -> None:
    person = service.person()
    with service.browser(person) as http, service.browser(person) as other:
        cookie = dict(http.cookies)
        assert http.post("/logout").status_code == 204
        assert httpx.get(f"{service.url}/api/me", cookies=cookie, trust_env=False).status_code == 401
        assert other.get("/api/me").status_code == 200
        for path in ("/", "/api/me", "/api/conversations", "/api/shares"):
            assert all(value not in other.get(path).text for value in dict(other.cookies).values())


CHANGES: Final = [row for row in ROWS if row.method not in SAFE_METHODS and not row.path.startswith("/v1")]


@pytest.mark.parametrize("row", CHANGES, ids=lambda row: f"{row.method} {row.path}")
def test_v3_csrf__a_change_from_elsewhere_is_not_done(service: Service, row: object) -> None:
    assert isinstance(row, type(ROWS[0]))
    path = row.path.format_map(dict.fromkeys(NAMES, "x"))
    elsewhere = (
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null", "content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain"},
    )
    with service.browser(service.person()) as http:
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        for headers in elsewhere:
            given = {"cookie": cookie, **headers}
            answer = httpx.request(
                row.method, service.url + path, content=b"{}", headers=given, trust_env=False
            )
            assert answer.status_code == 403, headers
        assert http.get("/api/me").status_code == 200


def test_v3_csrf__v1_takes_no_cookie(service: Service) -> None:
    with service.browser() as http:
        assert http.get("/v1/models").status_code == 401
        ask = {"model": SFT.name, "messages": [{"role": "user", "content": "hi"}]}
        assert http.post("/v1/chat/completions", json=ask).status_code == 401


NAMES: Final = (
    "conversation_id",
    "message_id",
    "generation_id",
    "comparison_id",
    "share_id",
    "candidate_id",
    "name",
)
HOSTS: Final = (b"evil.example", b"127.0.0.1.evil.example", b"localhost/api", b"localhost:80:80", b"")


@only("sqlite")
def test_v3_host__no_route_answers_to_a_foreign_name(service: Service) -> None:
    parts = urlsplit(service.url)
    with service.browser() as http:
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items()).encode()
        for row in ROWS:
            path = row.path.format_map(dict.fromkeys((*NAMES, "token"), "x")).encode()
            for host in HOSTS:
                head = b"%s %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nConnection: close\r\n\r\n"
                with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as raw:
                    raw.sendall(head % (row.method.encode(), path, host, cookie))
                    answer = b"".join(iter(lambda raw=raw: raw.recv(65536), b""))  # type: ignore[misc]
                assert answer.startswith(b"HTTP/1.1 400"), (row.method, row.path, host)


# --- V1: what people and models wrote stays text ---------------------------------------------------------


def test_v1_markdown__hostile_text_comes_back_as_json_to_the_letter(service: Service) -> None:
    with service.browser(service.person()) as http:
        for payload in HOSTILE:
            talk = begin(http)["id"]
            reply = answered(http, talk, payload)
            assert http.patch(f"/api/conversations/{talk}", json={"title": payload[:200]}).status_code == 200
            said = {"value": "down", "note": payload, "ideal": payload}
            http.put(f"/api/messages/{reply['id']}/feedback", json=said)
            link = posted(http, f"/api/conversations/{talk}/shares", {}, 201)
            shown = httpx.get(link["url"].replace("/s/", "/api/shared/"), trust_env=False)
            page = httpx.get(link["url"], trust_env=False)
            conversation = http.get(f"/api/conversations/{talk}")
            for answer in (shown, conversation, http.get("/api/search", params={"q": payload})):
                assert answer.headers["content-type"].startswith("application/json")
                assert answer.headers["x-content-type-options"] == "nosniff"
            assert shown.json()["messages"][0]["content"] == payload
            assert conversation.json()["messages"][1]["content"] == f"{SFT.name}: {payload}"
            assert conversation.json()["messages"][1]["feedback"]["note"] == payload
            assert payload not in page.text


# --- V2: limits ------------------------------------------------------------------------------------------


def test_v2_limits__too_much_is_refused_with_a_sentence_and_changes_nothing(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        path = f"/api/conversations/{talk}/turns"
        cases: tuple[tuple[Json, int], ...] = (
            (turn("x" * (32 * 1024 + 1)), 413),
            (turn("é" * (16 * 1024 + 1)), 413),
            (turn("x" * 300_000), 413),
            (turn(""), 422),
            (turn("x", "unknown"), 404),
            (turn("x", releases=["a", "b", "c"]), 422),
        )
        for body, status in cases:
            answer = http.post(path, json=body)
            assert answer.status_code == status, answer.text[:200]
            assert answer.json()["detail"] == answer.json()["error"]["message"] != ""
        assert opened(http, talk)["messages"] == []
        assert http.patch(f"/api/conversations/{talk}", json={"title": "x" * 201}).status_code == 422
        assert http.post(path, json=turn("x" * 32 * 1024)).status_code == 202


def test_v2_limits__a_flood_is_told_when_to_come_back(service: Service) -> None:
    service.echo.word_seconds = 0.1
    with service.browser(service.person()) as http:
        answers = [
            http.post(f"/api/conversations/{begin(http)['id']}/turns", json=turn("a b c d")) for _ in range(6)
        ]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers[:2]] == [202, 202]
        assert refused
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        for answer in answers[:2]:
            watched(http, answer.json()["replies"][0]["generation_id"])


# --- V16: logs -------------------------------------------------------------------------------------------


@only("sqlite")
def test_v16_logs__no_words_and_no_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running(tmp_path) as service, service.browser() as http:
        talk = begin(http)["id"]
        reply = answered(http, talk, "my diary")
        failed = say(http, talk, "my diary !break", reply["id"])
        watched(http, reply_of(failed)[1])
        http.patch(f"/api/conversations/{talk}", json={"title": "diary"})
        http.put(
            f"/api/messages/{reply['id']}/feedback", json={"value": "down", "note": "diary", "ideal": "diary"}
        )
        http.get("/api/search", params={"q": "diary"})
        http.post(f"/api/conversations/{talk}/turns", json={"content": "diary", "nonsense": "diary"})
        link = posted(http, f"/api/conversations/{talk}/shares", {}, 201)
        token = link["url"].rpartition("/")[2]
        for path in (f"/s/{token}", f"/api/shared/{token}", f"/api/shared/{token}x"):
            http.get(path)
        cookie = next(iter(http.cookies.values()))
    ours = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore")))
    assert "/api/shared/…" in ours
    for secret in ("diary", token, cookie):
        assert secret not in ours


# --- V14: what is deleted is gone ------------------------------------------------------------------------


@only("sqlite")
def test_v14_privacy__a_deleted_conversation_is_in_no_file_any_more(tmp_path: Path) -> None:
    with running(tmp_path) as service, service.browser() as http:
        talk = begin(http)["id"]
        reply = answered(http, talk, "the xylophone stays between us")
        http.put(
            f"/api/messages/{reply['id']}/feedback",
            json={"value": "down", "note": "xylophone", "ideal": "xylophone"},
        )
        posted(http, f"/api/conversations/{talk}/shares", {}, 201)
        assert http.delete(f"/api/conversations/{talk}").status_code == 204
        assert http.get("/api/search", params={"q": "xylophone"}).json()["hits"] == []
        with service.sessions() as session:
            session.connection().exec_driver_sql("COMMIT")
            session.connection().exec_driver_sql("VACUUM")
            session.connection().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            session.connection().exec_driver_sql("BEGIN")
            left = session.scalar(text("SELECT count(*) FROM conversation WHERE deleted IS NOT NULL"))
    assert left == 1
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"xylophone" not in written


# --- moderation coverage ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class RefusesTheBase:
    """Blocks whatever the base model says."""

    def check(self, text: str) -> Verdict:
        if BASE.name in text:
            return Verdict("block", (CategoryScore("violence", 1.0),), "test", "This cannot be shown.")
        return Verdict("allow", (), "test", "")


@pytest.fixture
def moderated(backend: Backend, make_url: MakeUrl, tmp_path: Path) -> Iterator[Service]:
    with (
        make_url(backend, tmp_path) as database,
        running(tmp_path, database=database, moderator=RefusesTheBase()) as started,
    ):
        yield started


def test_moderation_coverage__of_two_answers_exactly_the_unsafe_one_is_withheld_everywhere(
    moderated: Service,
) -> None:
    with moderated.browser() as http:
        talk = begin(http)["id"]
        made = say(http, talk, "hello", releases=[BASE.name, SFT.name])
        streams = "".join(
            str([event.data for event in watched(http, one["generation_id"])]) for one in made["replies"]
        )
        states = {message(http, one["id"])["state"]: one["id"] for one in made["replies"]}
        assert set(states) == {"blocked", "complete"}
        bad, good = states["blocked"], states["complete"]
        assert message(http, bad)["content"] == ""
        assert (
            http.put(
                f"/api/comparisons/{made['comparison']['id']}/vote", json={"outcome": "left"}
            ).status_code
            == 409
        )
        assert http.put(f"/api/messages/{bad}/feedback", json={"value": "up"}).status_code == 409
        shared = [
            httpx.get(
                posted(http, f"/api/conversations/{talk}/shares", {"message_id": leaf}, 201)["url"].replace(
                    "/s/", "/api/shared/"
                ),
                trust_env=False,
            )
            for leaf in (good, bad)
        ]
        found = http.get("/api/search", params={"q": "micro"}).json()["hits"]
        surfaces = [streams, *(one.text for one in shared), http.get(f"/api/conversations/{talk}").text]
    assert [hit["message_id"] for hit in found] == [good]
    assert all(f"{BASE.name}:" not in surface for surface in surfaces)
    assert [len(one.json()["messages"]) for one in shared] == [2, 1]
