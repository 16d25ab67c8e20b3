"""Turns and the tree of a conversation, as the page sees them."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from parley.service.common.settings import Settings
from parley.store.generations import pending
from parley.store.turns import TreeLimits
from parley.store.users import OWNER_ID
from tests.databases import Backend, MakeUrl
from tests.store import rows

from .conftest import BASE, PPO, SFT, Service, running
from .talking import (
    Json,
    answered,
    begin,
    message,
    opened,
    posted,
    regenerate,
    reply_of,
    say,
    stop,
    text_of,
    turn,
    watched,
)

NO_ID = "00000000-0000-7000-8000-00000000dead"


def test_a_turn_is_streamed_and_kept(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)
        assert (talk["title"], talk["kind"], talk["training_use"], talk["closed"]) == (
            "",
            "chat",
            "inherit",
            False,
        )
        made = say(http, talk["id"], "hello there")
        reply_id, generation_id = reply_of(made)
        assert made["user"]["state"] == "complete"
        assert made["replies"][0]["state"] == "pending"
        events = watched(http, generation_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert events[0].data == {"type": "start", "release": SFT.name}
        assert text_of(events) == f"{SFT.name}: hello there"
        finish = events[-1].data
        assert (finish["type"], finish["state"], finish["reason"]) == ("finish", "complete", None)
        assert finish["message"] == message(http, reply_id)
        shown = opened(http, talk["id"])
    assert [(one["role"], one["content"]) for one in shown["messages"]] == [
        ("user", "hello there"),
        ("assistant", f"{SFT.name}: hello there"),
    ]
    assert shown["messages"][1]["author"] == {"kind": "model", "release": SFT.name}
    assert shown["title"] == "hello there"
    assert shown["before"] is None


def test_the_release_is_given_the_branch_and_nothing_else(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "one")
        answered(http, talk, "left", first["id"])
        answered(http, talk, "right", first["id"])
    said = [[said.text for said in conversation.messages] for conversation, _, _ in service.echo.asked]
    assert said[-1] == ["one", f"{SFT.name}: one", "right"]


def test_an_edit_is_a_sibling_and_the_newest_branch_is_selected(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "one")
        second = answered(http, talk, "two", first["id"])
        edited = answered(http, talk, "two, better", first["id"])
        shown = opened(http, talk)["messages"]
        assert [one["content"] for one in shown][2:] == ["two, better", f"{SFT.name}: two, better"]
        assert shown[2]["siblings"] == [second["parent_id"], edited["parent_id"]]
        root = answered(http, talk, "begin anew")
        assert opened(http, talk)["messages"][0]["siblings"] == [first["parent_id"], root["parent_id"]]
        assert message(http, second["id"])["content"] == f"{SFT.name}: two"


def test_a_reply_written_again_is_a_sibling(service: Service) -> None:
    service.echo.cut.append(PPO)
    with service.browser() as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "one")
        made = regenerate(http, first["id"], release=PPO.name)
        assert made["user"]["id"] == first["parent_id"]
        reply_id, generation_id = reply_of(made)
        assert watched(http, generation_id)[-1].data["message"]["siblings"] == [first["id"], reply_id]
        assert opened(http, talk)["messages"][-1]["content"] == f"{PPO.name}: one"
        assert message(http, first["id"])["siblings"] == [first["id"], reply_id]


def test_the_selected_branch_survives_and_leads_to_its_latest_leaf(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "one")
        left = answered(http, talk, "left", first["id"])
        deeper = answered(http, talk, "deeper", left["id"])
        right = answered(http, talk, "right", first["id"])
        assert opened(http, talk)["messages"][-1]["id"] == right["id"]
        answer = http.put(f"/api/conversations/{talk}/head", json={"message_id": left["parent_id"]})
        assert answer.json()["messages"][-1]["id"] == deeper["id"]
        assert opened(http, talk) == answer.json()


def test_the_same_request_again_does_nothing_twice(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        body = turn("once")
        path = f"/api/conversations/{talk}/turns"
        first = posted(http, path, body, 202)
        watched(http, reply_of(first)[1])
        again = posted(http, path, body, 202)
        assert again["user"] == first["user"]
        assert [one["id"] for one in again["replies"]] == [one["id"] for one in first["replies"]]
        assert again["replies"][0]["state"] == "complete"
        other = http.post(path, json={**body, "content": "other words"})
        assert other.status_code == 409
        written = {"client_id": "again-1"}
        second = posted(http, f"/api/messages/{reply_of(first)[0]}/regenerate", written, 202)
        repeated = posted(http, f"/api/messages/{reply_of(first)[0]}/regenerate", written, 202)
        assert repeated["replies"][0]["id"] == second["replies"][0]["id"]
        watched(http, reply_of(second)[1])
        assert len(opened(http, talk)["messages"][-1]["siblings"]) == 2
    assert len(service.echo.asked) == 2


def test_the_same_request_many_times_at_once_is_one_turn(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        body, made = turn("once"), []
        cookies = dict(http.cookies)

        def send() -> None:
            with httpx.Client(
                base_url=service.url, headers=http.headers, cookies=cookies, trust_env=False, timeout=20
            ) as other:
                made.append(posted(other, f"/api/conversations/{talk}/turns", body, 202))

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len({one["user"]["id"] for one in made}) == 1
        assert {one["replies"][0]["id"] for one in made} == {made[0]["replies"][0]["id"]}
        watched(http, reply_of(made[0])[1])
        assert len(opened(http, talk)["messages"]) == 2
    assert len(service.echo.asked) == 1


def test_two_releases_are_compared_blind(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        made = say(http, talk, "who are you", releases=[BASE.name, SFT.name])
        assert made["comparison"]["kind"] == "versus"
        assert made["comparison"]["revealed"] is None
        sides = {made["comparison"]["left"], made["comparison"]["right"]}
        assert sides == {one["id"] for one in made["replies"]}
        texts = []
        for one in made["replies"]:
            events = watched(http, one["generation_id"])
            assert events[0].data["release"] is None
            assert events[-1].data["message"]["author"]["release"] is None
            assert events[-1].data["message"]["comparison_id"] == made["comparison"]["id"]
            texts.append(text_of(events))
        assert {text.partition(":")[0] for text in texts} == {BASE.name, SFT.name}
        path = f"/api/comparisons/{made['comparison']['id']}/vote"
        assert http.put(path, json={"outcome": "left"}).status_code == 200
        shown = opened(http, talk)["messages"][-1]
        assert shown["id"] == made["comparison"]["left"]
        assert shown["author"]["release"] in (BASE.name, SFT.name)


def test_a_share_of_turns_gets_two_drafts(tmp_path: Path, backend: Backend, make_url: MakeUrl) -> None:
    with (
        make_url(backend, tmp_path) as database,
        running(tmp_path, Settings(drafts_share=1.0), database=database) as service,
        service.browser() as http,
    ):
        talk = begin(http)["id"]
        made = say(http, talk, "hello")
        assert made["comparison"]["kind"] == "drafts"
        assert len(made["replies"]) == 2
        for one in made["replies"]:
            assert watched(http, one["generation_id"])[-1].data["state"] == "complete"
        column = begin(http, kind="compare", group="g")["id"]
        assert say(http, column, "hello")["comparison"] is None
    assert len({sampling.seed for _, sampling, _ in service.echo.asked}) == 3


def test_compare_columns_answer_with_their_release_and_stay_out_of_the_history(service: Service) -> None:
    with service.browser() as http:
        column = begin(http, kind="compare", group="page-1", release=BASE.name)
        made = say(http, column["id"], "hello")
        assert watched(http, reply_of(made)[1])[0].data["release"] == BASE.name
        chats = http.get("/api/conversations").json()["conversations"]
        columns = http.get("/api/conversations", params={"kind": "compare"}).json()["conversations"]
    assert column["id"] not in [one["id"] for one in chats]
    assert (columns[0]["group"], columns[0]["release"]) == ("page-1", BASE.name)


def test_titles_are_the_first_words_and_can_be_changed(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        answered(
            http, talk, "what   is\nthe capital of a country that has a very long name indeed, my friend?"
        )
        title = opened(http, talk)["title"]
        assert title == "what is the capital of a country that has a very long name…"
        changed = http.patch(f"/api/conversations/{talk}", json={"title": " Capitals \n"})
        assert changed.json()["title"] == "Capitals"
        assert http.patch(f"/api/conversations/{talk}", json={"title": "x" * 201}).status_code == 422
        answered(http, talk, "another beginning")
        assert opened(http, talk)["title"] == "Capitals"


def test_history_comes_in_pages_latest_first(service: Service) -> None:
    with service.browser(service.person()) as http:
        made = [begin(http)["id"] for _ in range(7)]
        found: list[str] = []
        cursor: str | None = None
        for _ in range(4):
            page = http.get(
                "/api/conversations", params={"limit": 2} | ({"before": cursor} if cursor else {})
            )
            found += [one["id"] for one in page.json()["conversations"]]
            cursor = page.json()["before"]
        assert found == made[::-1]
        assert cursor is None
        assert http.get("/api/conversations", params={"before": "nonsense"}).status_code == 422


def test_a_long_conversation_comes_in_pages_oldest_first(service: Service) -> None:
    said = [f"turn {n}" for n in range(111)]
    with service.sessions.begin() as session:
        talk = rows.talk(session, OWNER_ID, *said)[0]
    with service.browser() as http:
        shown = opened(http, talk)
        above = http.get(f"/api/conversations/{talk}", params={"before": shown["before"]}).json()
    assert (len(shown["messages"]), len(above["messages"]), above["before"]) == (100, 11, None)
    assert [one["content"] for one in above["messages"] + shown["messages"]] == said


def test_a_deleted_conversation_is_gone_at_once_and_stops(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        reply_id, generation_id = reply_of(say(http, talk, "go !forever"))
        assert http.delete(f"/api/conversations/{talk}").status_code == 204
        for path in (
            f"/api/conversations/{talk}",
            f"/api/messages/{reply_id}",
            f"/api/generations/{generation_id}/events",
        ):
            assert http.get(path).status_code == 404
        assert http.delete(f"/api/conversations/{talk}").status_code == 404
        kept = begin(http)["id"]  # the desk goes on
        answered(http, kept, "still here")


# --- refusals: each a problem document with a sentence ----------------------------------------------------


def refused(answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert (problem["status"], problem["detail"]) == (status, problem["error"]["message"])
    assert words in problem["detail"]


def test_a_closed_conversation_takes_no_turns_until_it_is_open_again(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "one")
        assert http.patch(f"/api/conversations/{talk}", json={"closed": True}).json()["closed"]
        refused(http.post(f"/api/conversations/{talk}/turns", json=turn("two", first["id"])), 409, "closed")
        again = http.post(f"/api/messages/{first['id']}/regenerate", json={"client_id": "c"})
        refused(again, 409, "closed")
        assert not http.patch(f"/api/conversations/{talk}", json={"closed": False}).json()["closed"]
        answered(http, talk, "two", first["id"])


def test_unknown_and_unfit_parents_are_refused(service: Service) -> None:
    with service.browser() as http:
        talk, other = begin(http)["id"], begin(http)["id"]
        first, elsewhere = answered(http, talk, "one"), answered(http, other, "one")
        path = f"/api/conversations/{talk}/turns"
        refused(http.post(path, json=turn("x", NO_ID)), 404, "no such message")
        refused(http.post(path, json=turn("x", elsewhere["id"])), 404, "no such message")
        refused(http.post(path, json=turn("x", first["parent_id"])), 422, "follows a reply")
        again = http.post(f"/api/messages/{first['parent_id']}/regenerate", json={"client_id": "c"})
        refused(again, 422, "edit it")
        elsewhere_id = {"message_id": elsewhere["id"]}
        refused(http.put(f"/api/conversations/{talk}/head", json=elsewhere_id), 404, "no such")
        above = http.get(f"/api/conversations/{talk}", params={"before": elsewhere["id"]})
        refused(above, 404, "no such message")
        _, generation_id = reply_of(say(http, talk, "go !forever", first["id"]))
        unfinished = opened(http, talk)["messages"][-1]["id"]
        refused(http.post(path, json=turn("x", unfinished)), 409, "still being written")
        stop(http, generation_id)
        watched(http, generation_id)


def test_messages_that_are_too_long_empty_or_no_text_are_refused(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        path = f"/api/conversations/{talk}/turns"
        refused(http.post(path, json=turn("ö" * 16_385)), 413, "32 kB")
        refused(http.post(path, json=turn(" \n ")), 422, "empty")
        refused(http.post(path, json=turn("a\x00b")), 422, "NUL")
        broken = b'{"parent_id": null, "client_id": "c", "content": "half \\ud83d character"}'
        headers = {"content-type": "application/json"}
        refused(http.post(path, content=broken, headers=headers), 422, "half a character")
        answer = http.post(path, content=b'{"content": "\xff\xfe"}', headers=headers)
        assert answer.status_code in (400, 422)
        refused(http.post(path, json=turn("x" * 300_000)), 413, "262144 bytes")
        assert opened(http, talk)["messages"] == []
        whole = answered(http, talk, "ö" * 16_384)
        assert whole["content"].count("ö") == 16_384


def test_a_tree_grows_only_so_deep_and_so_wide(tmp_path: Path, backend: Backend, make_url: MakeUrl) -> None:
    settings = Settings(tree=TreeLimits(depth=4, siblings=2))
    with (
        make_url(backend, tmp_path) as database,
        running(tmp_path, settings, database=database) as service,
        service.browser() as http,
    ):
        talk = begin(http)["id"]
        path = f"/api/conversations/{talk}/turns"
        first = answered(http, talk, "one")
        second = answered(http, talk, "two", first["id"])
        refused(http.post(path, json=turn("three", second["id"])), 422, "4 messages deep")
        answered(http, talk, "two, again", first["id"])
        refused(http.post(path, json=turn("two, once more", first["id"])), 422, "2 versions")
        answered(http, talk, "another root")
        refused(http.post(path, json=turn("a third root")), 422, "2 versions")
        watched(http, reply_of(regenerate(http, second["id"]))[1])
        again = http.post(f"/api/messages/{second['id']}/regenerate", json={"client_id": "c"})
        refused(again, 422, "2 versions")


def test_a_person_waits_for_so_many_replies_at_once(service: Service) -> None:
    with service.browser(service.person()) as http, service.browser(service.person()) as other:
        talks = [begin(http)["id"] for _ in range(3)]
        pair = say(http, talks[0], "go !forever", releases=[BASE.name, SFT.name])
        single = say(http, talks[1], "go !forever")
        answer = http.post(f"/api/conversations/{talks[2]}/turns", json=turn("hello"))
        refused(answer, 429, "2 replies being written")
        assert int(answer.headers["retry-after"]) > 0
        answered(other, begin(other)["id"], "somebody else may")
        columns = [begin(http, kind="compare", group="g")["id"] for _ in range(5)]
        written = [say(http, column, "go !forever") for column in columns[:4]]
        answer = http.post(f"/api/conversations/{columns[4]}/turns", json=turn("hello"))
        refused(answer, 429, "4 replies being written")
        for made in (pair, single, *written):
            for reply in made["replies"]:
                stop(http, reply["generation_id"])
                watched(http, reply["generation_id"])
        answered(http, talks[2], "hello")


def test_two_releases_must_be_two_and_must_be_there(service: Service) -> None:
    with service.browser() as http:
        path = f"/api/conversations/{begin(http)['id']}/turns"
        refused(http.post(path, json=turn("x", releases=[SFT.name, SFT.name])), 422, "different")
        refused(http.post(path, json=turn("x", releases=["nobody"])), 404, "no release")
        refused(http.post(path, json=turn("x", releases=["a", "b", "c"])), 422, "2")
        refused(http.post("/api/conversations", json={"release": "nobody"}), 404, "no release")
        service.echo.cut.clear()
        refused(http.post(path, json=turn("x")), 503, "still being made")


@pytest.mark.parametrize("role", ["user", "admin"])
def test_somebody_elses_conversation_is_not_there(service: Service, role: str) -> None:
    with service.browser(service.person()) as http:
        talk = begin(http)["id"]
        first = answered(http, talk, "mine")
        _, generation_id = reply_of(say(http, talk, "go !forever", first["id"]))
    roles = ("user",) if role == "user" else ("user", "admin")
    with service.browser(service.person(*roles)) as other:
        body: Json = {"client_id": "c"}
        answers = [
            other.get(f"/api/conversations/{talk}"),
            other.patch(f"/api/conversations/{talk}", json={"title": "theirs"}),
            other.delete(f"/api/conversations/{talk}"),
            other.put(f"/api/conversations/{talk}/head", json={"message_id": first["id"]}),
            other.post(f"/api/conversations/{talk}/turns", json=turn("x", first["id"])),
            other.post(f"/api/messages/{first['id']}/regenerate", json=body),
            other.get(f"/api/messages/{first['id']}"),
            other.get(f"/api/generations/{generation_id}/events"),
            other.post(f"/api/generations/{generation_id}/stop"),
        ]
        own = begin(other)["id"]
        answers.append(other.post(f"/api/conversations/{own}/turns", json=turn("x", first["id"])))
        assert [answer.status_code for answer in answers] == [404] * len(answers)
        assert other.get("/api/conversations").json()["conversations"][0]["id"] == own
    with service.sessions() as session:
        assert generation_id in {one.id for one in pending(session)}


def test_me(service: Service) -> None:
    with service.browser() as http:
        me = http.get("/api/me").json()
        assert (me["id"], me["roles"], me["language"]) == (OWNER_ID, ["user", "admin"], None)
        assert me["consent"]["train"] is False
        changed = http.patch("/api/me", json={"name": "Ana", "language": "tr", "preview_seen": True}).json()
        assert (changed["name"], changed["language"], changed["preview_seen"]) == ("Ana", "tr", True)
        assert http.get("/api/me").json() == changed
        refused(http.patch("/api/me", json={"language": "xx"}), 422, "language")
        refused(http.patch("/api/me", json={"roles": ["admin"]}), 422, "not supported")
