"""Thumbs and what comes with them, consent, votes, the queue: as the page sends and gets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from parley.service.common.settings import Settings
from tests.databases import Backend, MakeUrl

from .conftest import BASE, SFT, Service, running
from .talking import Json, answered, begin, message, opened, posted, reply_of, say, watched

DOWN = {"value": "down", "reasons": ["false", "too_long"], "note": "wrong town", "ideal": "Oakby."}


def put(http: httpx.Client, path: str, body: Json, status: int = 200) -> Json:
    answer = http.put(path, json=body)
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


def got(http: httpx.Client, path: str) -> Json:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def rated(http: httpx.Client, body: Json) -> str:
    """An answer of which this was said."""
    reply: str = answered(http, begin(http)["id"], "Where does Mira live?")["id"]
    put(http, f"/api/messages/{reply}/feedback", body)
    return reply


# --- feedback --------------------------------------------------------------------------------------------


def test_feedback_is_kept_with_the_message(service: Service) -> None:
    with service.browser(service.person()) as http:
        reply = rated(http, DOWN)
        said = message(http, reply)["feedback"]
        assert {name: said[name] for name in DOWN} == DOWN
        assert opened(http, message(http, reply)["conversation_id"])["messages"][1]["feedback"] == said


def test_the_other_thumb_clears_the_reasons_and_taking_back_clears_all(service: Service) -> None:
    with service.browser(service.person()) as http:
        reply = rated(http, DOWN)
        up = put(http, f"/api/messages/{reply}/feedback", {"value": "up"})
        assert (up["reasons"], up["note"], up["ideal"]) == ([], "", "")
        for _ in range(2):
            assert http.delete(f"/api/messages/{reply}/feedback").status_code == 204
        assert message(http, reply)["feedback"] is None
        history = got(http, f"/api/messages/{reply}/feedback/history")["entries"]
    assert [entry["feedback"] and entry["feedback"]["value"] for entry in history] == ["down", "up", None]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"value": "up", "reasons": ["false"]}, "reasons are for a thumb down"),
        ({"value": "sideways"}, "value"),
        ({"value": "down", "reasons": ["ugly"]}, "reasons"),
        ({"value": "down", "note": "x" * 4_001}, "note"),
        ({"value": "down", "ideal": "a\x00b"}, "NUL"),
        ({"value": "down", "stars": 5}, "stars"),
        ({}, "value"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused_with_a_sentence(
    service: Service, body: Json, says: str
) -> None:
    with service.browser(service.person()) as http:
        reply = rated(http, DOWN)
        answer = http.put(f"/api/messages/{reply}/feedback", json=body)
        assert 400 <= answer.status_code < 500
        assert says in answer.json()["error"]["message"]
        assert message(http, reply)["feedback"]["value"] == "down"


def test_only_a_finished_answer_can_be_rated(service: Service) -> None:
    service.echo.word_seconds = 0.05
    with service.browser(service.person()) as http:
        made = say(http, begin(http)["id"], "one two three")
        reply, generation = reply_of(made)
        assert http.put(f"/api/messages/{reply}/feedback", json=DOWN).status_code == 409
        asked = made["user"]["id"]
        assert 400 <= http.put(f"/api/messages/{asked}/feedback", json=DOWN).status_code < 500
        watched(http, generation)
        assert http.put(f"/api/messages/{reply}/feedback", json=DOWN).status_code == 200


# --- consent ---------------------------------------------------------------------------------------------


def test_consent_is_off_until_the_text_in_force_was_agreed_to(service: Service) -> None:
    with service.browser(service.person()) as http:
        first = got(http, "/api/consent")
        assert (first["train"], first["granted_version"], first["changed"]) == (False, None, None)
        put(http, "/api/consent", {"train": True, "text_version": "0"}, 409)
        given = put(http, "/api/consent", {"train": True, "text_version": first["text_version"]})
        assert (given["train"], given["granted_version"]) == (True, first["text_version"])
        assert got(http, "/api/me")["consent"]["train"] is True
        withdrawn = put(http, "/api/consent", {"train": False, "text_version": "0"})
        assert (withdrawn["train"], withdrawn["granted_version"]) == (False, None)
        assert withdrawn["changed"] >= given["changed"]


def test_the_text_is_in_the_persons_language(service: Service) -> None:
    with service.browser(service.person()) as http:
        assert "May we learn" in got(http, "/api/consent")["text"]
        http.headers["accept-language"] = "tr-TR,tr;q=0.9,en;q=0.8"
        assert "öğrenebilir miyiz" in got(http, "/api/consent")["text"]
        assert http.patch("/api/me", json={"language": "en"}).status_code == 200
        assert "May we learn" in got(http, "/api/consent")["text"]


# --- the queue -------------------------------------------------------------------------------------------


def waiting(http: httpx.Client, person: str, state: str = "waiting") -> list[Json]:
    items: list[Json] = []
    after: str | None = ""
    while after is not None:
        page = got(http, f"/api/queue?state={state}" + (f"&after={after}" if after else ""))
        items += page["items"]
        after = page["after"]
    return [item for item in items if item["person"] == person]


def consent(http: httpx.Client, train: bool = True) -> None:
    put(http, "/api/consent", {"train": train, "text_version": got(http, "/api/consent")["text_version"]})


def test_what_it_should_have_said_is_decided_by_the_owner(service: Service) -> None:
    ana = service.person()
    with service.browser(ana) as http, service.browser() as owner:
        rated(http, DOWN)
        assert waiting(owner, ana) == []  # Ana said nothing of learning yet
        consent(http)
        (item,) = waiting(owner, ana)
        assert (item["kind"], item["ideal"], item["reasons"]) == (
            "demonstration",
            "Oakby.",
            ["false", "too_long"],
        )
        assert [turn["content"] for turn in item["history"]] == ["Where does Mira live?"]
        assert item["answers"][0]["release"] == SFT.name
        decision = {"accept": True, "content_hash": item["content_hash"]}
        assert owner.post(f"/api/queue/{item['id']}", json=decision).status_code == 204
        assert waiting(owner, ana) == []
        (accepted,) = waiting(owner, ana, "accepted")
        assert accepted["decided_by"] is not None
        consent(http, train=False)
        assert waiting(owner, ana, "accepted") == []
        assert owner.post(f"/api/queue/{item['id']}", json=decision).status_code == 404


def test_words_that_changed_since_they_were_read_are_not_accepted(service: Service) -> None:
    ana = service.person()
    with service.browser(ana) as http, service.browser() as owner:
        consent(http)
        reply = rated(http, DOWN)
        (item,) = waiting(owner, ana)
        put(http, f"/api/messages/{reply}/feedback", {**DOWN, "ideal": "Something else."})
        decision = {"accept": True, "content_hash": item["content_hash"]}
        assert owner.post(f"/api/queue/{item['id']}", json=decision).status_code == 409
        assert waiting(owner, ana)[0]["ideal"] == "Something else."


# --- votes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drafting(
    backend: Backend, make_url: MakeUrl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that writes two drafts for every turn."""
    home: Path = tmp_path_factory.mktemp("drafting")
    settings = replace(Settings(), drafts_share=1.0)
    with make_url(backend, home) as database, running(home, settings, database=database) as started:
        yield started


def versus(http: httpx.Client, content: str = "hello") -> Json:
    """A turn that two releases answer, once both are through."""
    made = say(http, begin(http)["id"], content, releases=[BASE.name, SFT.name])
    for reply in made["replies"]:
        watched(http, reply["generation_id"])
    return made


def test_two_drafts_of_one_release_are_compared(drafting: Service) -> None:
    with drafting.browser() as http:
        made = say(http, begin(http)["id"], "hello")
        for reply in made["replies"]:
            watched(http, reply["generation_id"])
        pair = made["comparison"]
        assert (pair["kind"], pair["outcome"], pair["revealed"]) == ("drafts", None, None)
        assert {pair["left"], pair["right"]} == {reply["id"] for reply in made["replies"]}
        assert all(message(http, reply["id"])["comparison_id"] == pair["id"] for reply in made["replies"])
        voted = put(http, f"/api/comparisons/{pair['id']}/vote", {"outcome": "right"})
        assert (voted["outcome"], voted["revealed"]) == ("right", [SFT.name, SFT.name])
        shown = opened(http, made["user"]["conversation_id"])["messages"]
    assert shown[-1]["id"] == pair["right"]


def test_the_order_is_drawn(drafting: Service) -> None:
    with drafting.browser() as http:
        first_left = 0
        for _ in range(20):
            made = say(http, begin(http)["id"], "hello")
            first_left += made["comparison"]["left"] == made["replies"][0]["id"]
            for reply in made["replies"]:
                watched(http, reply["generation_id"])
    assert 0 < first_left < 20  # a fair coin fails this once in half a million


def test_a_versus_is_blind_until_the_vote(service: Service) -> None:
    with service.browser(service.person()) as http:
        made = versus(http)
        pair = made["comparison"]
        shown = [message(http, reply["id"]) for reply in made["replies"]]
        assert [one["author"]["release"] for one in shown] == [None, None]
        assert opened(http, made["user"]["conversation_id"])["messages"][1]["author"]["release"] is None
        voted = put(http, f"/api/comparisons/{pair['id']}/vote", {"outcome": "tie"})
        assert set(voted["revealed"]) == {BASE.name, SFT.name}
        assert voted == got(http, f"/api/comparisons/{pair['id']}")
        left, right = (message(http, voted[side])["author"]["release"] for side in ("left", "right"))
        assert [left, right] == voted["revealed"]


def test_a_vote_is_given_once_and_for_what_can_be_read(service: Service) -> None:
    with service.browser(service.person()) as http:
        made = say(http, begin(http)["id"], "hello !break it", releases=[BASE.name, SFT.name])
        path = f"/api/comparisons/{made['comparison']['id']}/vote"
        for reply in made["replies"]:
            watched(http, reply["generation_id"])
        assert http.put(path, json={"outcome": "left"}).status_code == 409
        path = f"/api/comparisons/{versus(http)['comparison']['id']}/vote"
        put(http, path, {"outcome": "both_bad"})
        put(http, path, {"outcome": "both_bad"})
        assert http.put(path, json={"outcome": "left"}).status_code == 409
        assert http.put(path, json={"outcome": "up"}).status_code in (400, 422)


def test_a_vote_waits_in_the_queue(service: Service) -> None:
    ana = service.person()
    with service.browser(ana) as http, service.browser() as owner:
        consent(http)
        pair = versus(http)["comparison"]
        put(http, f"/api/comparisons/{pair['id']}/vote", {"outcome": "left"})
        (item,) = waiting(owner, ana)
    assert (item["kind"], item["outcome"]) == ("comparison", "left")
    assert [answer["id"] for answer in item["answers"]] == [pair["left"], pair["right"]]


def test_a_conversation_alone_can_be_given(service: Service) -> None:
    ana = service.person()
    with service.browser(ana) as http, service.browser() as owner:
        reply = rated(http, DOWN)
        rated(http, DOWN)
        path = f"/api/conversations/{message(http, reply)['conversation_id']}"
        assert http.patch(path, json={"training_use": "yes"}).status_code == 200
        assert [item["answers"][0]["id"] for item in waiting(owner, ana)] == [reply]
        assert http.patch(path, json={"training_use": "no"}).status_code == 200
        assert waiting(owner, ana) == []


def test_the_owner_alone_decides(service: Service) -> None:
    with service.browser(service.person("user", "trainer")) as http:
        assert http.get("/api/queue").status_code == 403
        decision = {"accept": True, "content_hash": "x"}
        assert http.post("/api/queue/anything", json=decision).status_code == 403
        assert posted(http, "/api/conversations", {}, 201)
