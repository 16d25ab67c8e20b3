"""Links that strangers can open, and finding what was said."""

from __future__ import annotations

import secrets
import time

import httpx
import pytest
from sqlalchemy import text

from parley.errors import NotFound
from parley.store.shares import open_share

from .conftest import BASE, SFT, Service
from .talking import Json, answered, begin, posted, regenerate, reply_of, say, watched


def share(http: httpx.Client, conversation: str, **body: object) -> Json:
    return posted(http, f"/api/conversations/{conversation}/shares", dict(body), 201)


def stranger(service: Service, made: Json) -> httpx.Response:
    """What somebody without an account gets."""
    token = made["url"].rpartition("/")[2]
    return httpx.get(f"{service.url}/api/shared/{token}", trust_env=False, timeout=10)


def test_a_stranger_sees_the_branch_as_it_was(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "hello")
        made = share(http, talk)
        answered(http, talk, "said later", first["id"])
        answered(http, talk, "said on another branch")
        http.patch(f"/api/conversations/{talk}", json={"title": "A new title"})
    shown = stranger(service, made)
    assert shown.status_code == 200
    assert "noindex" in shown.headers["x-robots-tag"]
    assert shown.json() == {
        "title": "hello",
        "created": made["created"],
        "messages": [
            {"role": "user", "content": "hello", "release": None},
            {"role": "assistant", "content": f"{SFT.name}: hello", "release": SFT.name},
        ],
    }
    page = httpx.get(made["url"], trust_env=False, timeout=10)
    assert "noindex" in page.headers["x-robots-tag"]


def test_share_links__revoked_is_gone_at_once(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        answered(http, talk, "hello")
        made = share(http, talk)
        assert stranger(service, made).status_code == 200
        assert http.delete(f"/api/shares/{made['id']}").status_code == 204
        gone = stranger(service, made)
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "gone")
        (listed,) = http.get("/api/shares").json()["shares"]
    assert listed["revoked"] is not None
    assert "hello" not in gone.text


def test_share_links__a_link_expires(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        answered(http, talk, "hello")
        month, forever = share(http, talk), share(http, talk, days=None)
        assert month["expires"] == month["created"] + 30 * 24 * 3600
        assert forever["expires"] is None
        with service.sessions.begin() as session:
            past = {"past": int(time.time()) - 1, "id": month["id"]}
            session.execute(text("UPDATE share SET expires = :past WHERE id = :id"), past)
    assert stranger(service, month).status_code == 410
    assert stranger(service, forever).status_code == 200


def test_share_links__guesses_open_nothing(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        answered(http, talk, "hello")
        made = share(http, talk)
        token = made["url"].rpartition("/")[2]
        near = [token[:-1], f"{token}x", token.swapcase(), made["id"], talk, "%2e%2e", "%00", "*"]
        statuses = {http.get(f"/api/shared/{guess}").status_code for guess in near}
    assert statuses <= {404, 422}
    with service.sessions() as session:
        for _ in range(1_000):
            with pytest.raises(NotFound):
                open_share(session, secrets.token_urlsafe(16), now=0)


def test_share_links__what_was_blocked_failed_or_is_unfinished_is_not_shown(service: Service) -> None:
    service.echo.word_seconds = 0.02
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "hello")
        failed = say(http, talk, "please !break this", first["id"])
        watched(http, reply_of(failed)[1])
        made = share(http, talk)
        pending = say(http, talk, "one two three four five six", first["id"])
        unfinished = share(http, talk)
        watched(http, reply_of(pending)[1])
    contents = [one["content"] for one in stranger(service, made).json()["messages"]]
    assert contents[:2] == ["hello", f"{SFT.name}: hello"]
    assert len(contents) == 3
    assert len(stranger(service, unfinished).json()["messages"]) == 3


def test_a_branch_that_is_not_selected_can_be_shared(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk, other = begin(http)["id"], begin(http)["id"]
        first = answered(http, talk, "hello")
        again = regenerate(http, first["id"], release=BASE.name)
        watched(http, reply_of(again)[1])
        made = share(http, talk, message_id=first["id"])
        assert (
            http.post(f"/api/conversations/{other}/shares", json={"message_id": first["id"]}).status_code
            == 404
        )
        assert 400 <= http.post(f"/api/conversations/{other}/shares", json={}).status_code < 500
    assert stranger(service, made).json()["messages"][1]["release"] == SFT.name


def test_a_shared_link_does_not_tell_what_is_blind(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        made = say(http, talk, "hello", releases=[BASE.name, SFT.name])
        for reply in made["replies"]:
            watched(http, reply["generation_id"])
        link = share(http, talk)
    assert [one["release"] for one in stranger(service, link).json()["messages"]] == [None, None]


def test_a_deleted_conversation_takes_its_links_along(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        answered(http, talk, "hello")
        made = share(http, talk)
        assert http.delete(f"/api/conversations/{talk}").status_code == 204
        assert http.get("/api/shares").json() == {"shares": []}
    assert stranger(service, made).status_code == 404


# --- search ----------------------------------------------------------------------------------------------


def hits(http: httpx.Client, q: str, **more: str) -> Json:
    answer = http.get("/api/search", params={"q": q, **more})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_what_was_said_is_found_with_its_place(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        reply = answered(http, talk, "Where does Işıl live?")
        found = hits(http, "isil liv")["hits"]
    assert {(hit["role"], hit["message_id"] is None) for hit in found} == {
        ("user", False),
        ("assistant", False),
        (None, True),
    }
    assert [hit["message_id"] for hit in found if hit["role"] == "assistant"] == [reply["id"]]
    asked = next(hit for hit in found if hit["role"] == "user")
    assert asked["snippet"] == [
        {"text": "Where does ", "hit": False},
        {"text": "Işıl", "hit": True},
        {"text": " ", "hit": False},
        {"text": "live", "hit": True},
        {"text": "?", "hit": False},
    ]
    assert all(hit["conversation_id"] == talk for hit in found)


def test_search_is_the_callers_own(service: Service) -> None:
    with service.browser(service.person()) as ana, service.browser(service.person()) as ben:
        answered(ana, begin(ana)["id"], "a pangolin")
        assert hits(ben, "pangolin") == {"hits": [], "before": None}


def test_pages_of_hits_follow_each_other(service: Service) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        parent = None
        for n in range(12):
            parent = answered(http, talk, f"aardvark number {n}", parent)["id"]
        first = hits(http, "aardvark")
        rest = hits(http, "aardvark", before=first["before"])
    ids = [hit["message_id"] for page in (first, rest) for hit in page["hits"]]
    assert (len(first["hits"]), rest["before"]) == (20, None)
    assert len(ids) == len(set(ids)) == 25  # 12 questions, 12 answers, one title


def test_hostile_searches_are_answered(service: Service) -> None:
    with service.browser(service.person()) as http:
        for q in ("", " ", '"', "a" * 400, "' OR 1=1", "\x00", "owner:*", "%", "💥", "NEAR(a b)", "a\u0000b"):
            assert http.get("/api/search", params={"q": q}).status_code == 200, q
        for params in ({}, {"q": "a" * 401}, {"q": "a", "before": "x"}, {"q": "a", "before": "-1"}):
            assert 400 <= http.get("/api/search", params=params).status_code < 500
