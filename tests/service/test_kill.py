"""`kill -9` in the middle of 50 streams: nothing is lost, nothing is half there, every stream ends."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx

from parley.service.replies.desk import ABANDONED, CLOSING
from tests.databases import Backend, MakeUrl, only

from .conftest import SFT, wait_until
from .served import Served, served
from .talking import Event, Json, begin, message, opened, reply_of, say, text_of, turn, watched, watching

STREAMS = 50
WORDS = (8, 2000)  # some replies are finished before the kill


def view(server: Served, generation_id: str, seen: list[Event]) -> None:
    """Keeps every event until the server is gone."""
    try:
        with server.client() as http, watching(http, generation_id) as events:
            for event in events:
                seen.append(event)
    except httpx.HTTPError:
        pass


def is_under_way(seen: list[Event]) -> bool:
    return len(seen) >= 4 or (bool(seen) and seen[-1].type == "finish")


def keep_asking(server: Served, conversation_id: str, tried: list[Json], taken: list[Json]) -> None:
    """Takes turns until the server is gone; what was sent, and what was answered."""
    try:
        with server.client() as http:
            for n in range(60):
                time.sleep(0.05)
                tried.append(turn(f"question {n}"))
                answer = http.post(f"/api/conversations/{conversation_id}/turns", json=tried[-1])
                if answer.status_code != 202:  # it is being stopped, and says so
                    assert answer.status_code == 429, answer.text
                    return
                taken.append(answer.json())
    except httpx.HTTPError:
        pass


def test_the_server_is_killed_in_the_middle(tmp_path: Path, backend: Backend, make_url: MakeUrl) -> None:
    with make_url(backend, tmp_path) as database:
        go_away_in_the_middle(database, signal.SIGKILL, ABANDONED)


@only("sqlite")
def test_the_server_is_asked_to_stop_in_the_middle(
    tmp_path: Path, backend: Backend, make_url: MakeUrl
) -> None:
    with make_url(backend, tmp_path) as database:
        go_away_in_the_middle(database, signal.SIGTERM, CLOSING)


def go_away_in_the_middle(database: str, sign: signal.Signals, sentence: str) -> None:
    seen: dict[str, list[Event]] = {}
    made: list[Json] = []
    tried: list[Json] = []
    taken: list[Json] = []
    with served(database, word_seconds=0.02) as server:
        with server.client() as http:
            asking = begin(http)["id"]
            for n in range(STREAMS):
                said = " ".join(f"w{n}-{i}" for i in range(WORDS[n % 5 > 0]))
                made.append(say(http, begin(http)["id"], said))
        threads = [threading.Thread(target=keep_asking, args=(server, asking, tried, taken))]
        for one in made:
            generation_id = reply_of(one)[1]
            seen[generation_id] = []
            threads.append(threading.Thread(target=view, args=(server, generation_id, seen[generation_id])))
        for thread in threads:
            thread.start()
        wait_until(lambda: all(map(is_under_way, seen.values())), 60)
        wait_until(lambda: len(taken) > 2, 60)
        server.process.send_signal(sign)
        server.process.wait(timeout=20)
        for thread in threads:
            thread.join(timeout=30)
    with served(database, word_seconds=0) as server, server.client() as http:
        for one in made:
            check_reply(http, one, seen[reply_of(one)[1]], sentence)
        check_turns(http, asking, tried, taken)


def check_reply(http: httpx.Client, made: Json, seen: list[Event], sentence: str) -> None:
    """It ended in a stated state, with every token that was shown; and the stream can be read on."""
    reply_id, generation_id = reply_of(made)
    kept = message(http, reply_id)
    said = f"{SFT.name}: {made['user']['content']}"
    if kept["state"] == "complete":
        assert kept["content"] == said
    else:
        assert kept["state"] == ("failed" if sentence == ABANDONED else "stopped")
        assert kept["error"] == sentence
        assert said.startswith(kept["content"])
    assert kept["content"].startswith(text_of(seen))
    if seen and seen[-1].type == "finish":
        assert seen[-1].data["message"]["content"] == kept["content"]
        return
    rest = watched(http, generation_id, last=seen[-1].seq)
    assert [event.seq for event in seen + rest] == list(range(1, rest[-1].seq + 1))
    assert rest[-1].data["message"] == kept
    assert text_of(seen + rest) == kept["content"]
    assert text_of(watched(http, generation_id)) == kept["content"]


def check_turns(http: httpx.Client, conversation_id: str, tried: list[Json], taken: list[Json]) -> None:
    """A turn that was answered is there; one that was not is there as a whole or not at all."""
    roots = opened(http, conversation_id)["messages"][0]["siblings"]
    assert len(taken) <= len(roots) <= len(tried)
    assert [one["user"]["id"] for one in taken] == roots[: len(taken)]
    for user_id in roots:
        http.put(f"/api/conversations/{conversation_id}/head", json={"message_id": user_id})
        user, reply = opened(http, conversation_id)["messages"]
        assert user["state"] == "complete"
        assert reply["state"] in ("complete", "failed", "stopped")
        if reply["state"] == "complete":
            assert reply["content"] == f"{SFT.name}: {user['content']}"
    for sent in tried[len(taken) :]:  # the page asks again, and it is one turn
        again = http.post(f"/api/conversations/{conversation_id}/turns", json=sent).json()
        time.sleep(0.2)
        assert message(http, again["user"]["id"])["content"] == sent["content"]
