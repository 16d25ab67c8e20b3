"""Replies belong to the server: who watches, comes back, leaves or stops, loses nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from parley.dialogue import Conversation
from parley.ports import Delta, Finish, ReleaseInfo, Sampling
from parley.service.common.settings import Settings
from parley.service.replies.desk import ABANDONED, CLOSING
from parley.store.database import close_database, open_database, writing
from parley.store.generations import EventRow, GenerationRow
from parley.store.messages import MessageRow
from parley.store.users import revoke_role
from tests.databases import Backend, MakeUrl, only

from .conftest import SFT, Service, running, wait_until
from .talking import begin, message, opened, reply_of, say, stop, text_of, watched, watching

Place = tuple[Path, str]


@pytest.fixture
def place(tmp_path: Path, backend: Backend, make_url: MakeUrl) -> Iterator[Place]:
    """A home and the URL of its database, for tests that start services of their own."""
    with make_url(backend, tmp_path) as database:
        yield tmp_path, database


def started(http: httpx.Client, content: str) -> tuple[str, str]:
    """The ids of the reply to a message: its own and its generation's."""
    return reply_of(say(http, begin(http)["id"], content))


def ended(http: httpx.Client, message_id: str) -> bool:
    return bool(message(http, message_id)["state"] != "pending")


def test_two_viewers_see_the_same(service: Service) -> None:
    service.echo.word_seconds = 0.01
    seen: list[list[str]] = []
    with service.browser() as http:
        _, generation_id = started(http, "one two three four five six seven eight nine ten")

        def view() -> None:
            with service.browser() as other:
                seen.append([str(event) for event in watched(other, generation_id)])

        threads = [threading.Thread(target=view) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        text = text_of(watched(http, generation_id))
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert text.endswith("nine ten")


def test_who_comes_back_gets_the_rest_and_only_the_rest(service: Service) -> None:
    service.echo.word_seconds = 0.02
    said = " ".join(f"word{n}" for n in range(60))
    with service.browser() as http:
        reply_id, generation_id = started(http, said)
        with watching(http, generation_id) as events:
            first = [next(events) for _ in range(4)]
        time.sleep(0.3)  # away, while it goes on
        rest = watched(http, generation_id, last=first[-1].seq)
        assert [event.seq for event in first + rest] == list(range(1, rest[-1].seq + 1))
        assert text_of(first + rest) == message(http, reply_id)["content"] == f"{SFT.name}: {said}"
        late = watched(http, generation_id, last=first[-1].seq)
        assert [(event.seq, event.data) for event in late] == [(event.seq, event.data) for event in rest]
        path = f"/api/generations/{generation_id}/events"
        assert http.get(path, headers={"last-event-id": str(rest[-1].seq)}).status_code == 204
        assert http.get(path, params={"after": rest[-1].seq}).status_code == 204
        garbled = http.get(path, headers={"last-event-id": "a few"})
        assert garbled.text.startswith("id: 1\n")


def test_a_viewer_who_leaves_stops_nothing(service: Service) -> None:
    service.echo.word_seconds = 0.02
    with service.browser() as http:
        reply_id, generation_id = started(http, "one two three four five six seven eight nine ten")
        with watching(http, generation_id) as events:
            next(events)
        wait_until(lambda: ended(http, reply_id))
        assert message(http, reply_id)["state"] == "complete"
        assert message(http, reply_id)["content"].endswith("nine ten")


def test_nobody_watching_at_all_loses_nothing(service: Service) -> None:
    with service.browser() as http:
        reply_id, _ = started(http, "just write it down")
        wait_until(lambda: ended(http, reply_id))
        assert message(http, reply_id)["content"] == f"{SFT.name}: just write it down"


def test_stop_from_another_tab(service: Service) -> None:
    with service.browser() as http, service.browser() as tab:
        reply_id, generation_id = started(http, "go !forever")
        with watching(http, generation_id) as events:
            seen = [next(events) for _ in range(3)]
            stop(tab, generation_id)
            seen += list(events)
        assert seen[-1].data["state"] == "stopped"
        assert seen[-1].data["message"]["content"] == text_of(seen)
        assert text_of(seen).startswith(f"{SFT.name}: go more")
        wait_until(lambda: service.echo.closed == 1)
        stop(tab, generation_id)  # once more changes nothing
        assert message(tab, reply_id)["state"] == "stopped"


def test_a_reply_that_breaks_off_keeps_its_text_and_says_so(service: Service) -> None:
    with service.browser() as http:
        _, generation_id = started(http, "as far as this !break never")
        finish = watched(http, generation_id)[-1].data
    assert (finish["state"], finish["message"]["content"]) == ("failed", f"{SFT.name}: as far as this")
    assert "kept" in finish["reason"]
    assert "could not say" not in str(finish)
    assert finish["message"]["error"] == finish["reason"]


def test_a_reply_that_is_cut_says_so(place: Place) -> None:
    home, database = place
    with (
        running(home, Settings(sampling=Sampling(max_tokens=4)), database=database) as service,
        service.browser() as http,
    ):
        _, generation_id = started(http, "one two three four five")
        assert watched(http, generation_id)[-1].data["state"] == "length"


def test_a_quiet_stream_is_kept_alive(place: Place) -> None:
    home, database = place
    with running(home, Settings(ping_seconds=0.1), database=database) as service, service.browser() as http:
        service.echo.word_seconds = 0.7
        _, generation_id = started(http, "slow words")
        with http.stream("GET", f"/api/generations/{generation_id}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
            assert list(answer.iter_lines()).count(": ping") >= 3


@pytest.mark.parametrize("how", ["signed out", "suspended"])
def test_who_may_no_longer_see_it_is_shown_no_more(place: Place, how: str) -> None:
    home, database = place
    settings = Settings(recheck_seconds=0.2)
    with running(home, settings, database=database) as service:
        person = service.person()
        with service.browser(person) as http, service.browser(person) as tab:
            reply_id, generation_id = started(http, "go !forever")
            with watching(tab, generation_id) as events:
                next(events)
                if how == "signed out":
                    assert tab.post("/logout").status_code == 204
                else:
                    with service.sessions.begin() as session:
                        revoke_role(session, person, "user")
                end, last = time.monotonic() + 5, None
                for last in events:  # noqa: B007 - the last one is what is asked for
                    assert time.monotonic() < end, "the stream goes on"
            assert last is None or last.type != "finish"
            assert tab.get(f"/api/generations/{generation_id}/events").status_code == 401
            if how == "signed out":  # the reply is the person's, not the tab's
                assert not ended(http, reply_id)
                stop(http, generation_id)
                watched(http, generation_id)


def test_no_token_is_lost_however_viewers_come_and_go(service: Service) -> None:
    service.echo.word_seconds = 0.004
    said = " ".join(f"w{n}" for n in range(250))
    lost: list[str] = []

    def wander(generation_id: str, seed: int) -> None:
        dice = random.Random(seed)
        with service.browser() as http:
            text, last, is_over = "", 0, False
            while not is_over:
                with watching(http, generation_id, last=last) as events:
                    for event in events:
                        if event.seq != last + 1:
                            lost.append(f"{last} then {event.seq}")
                        last, is_over = event.seq, event.type == "finish"
                        text += event.data.get("text", "")
                        if dice.random() < 0.2:
                            break
                time.sleep(dice.random() * 0.05)
            if text != f"{SFT.name}: {said}":
                lost.append(text)

    with service.browser() as http:
        _, generation_id = started(http, said)
        threads = [threading.Thread(target=wander, args=(generation_id, seed)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert lost == []


def test_events_are_pruned_and_the_text_stays(place: Place) -> None:
    home, database = place
    with running(home, Settings(), database=database) as service, service.browser() as http:
        reply_id, generation_id = started(http, "remember this")
        watched(http, generation_id)
        with writing(service.sessions) as session:
            row = session.get_one(GenerationRow, generation_id)
            row.finished, last = 1, row.last_seq
    with running(home, Settings(), database=database) as service, service.browser() as http:
        wait_until(lambda: counted_events(service) == 0)
        finish = watched(http, generation_id, last=2)
        assert [(event.seq, event.type) for event in finish] == [(last, "finish")]
        assert finish[0].data["message"]["content"] == f"{SFT.name}: remember this"
        assert message(http, reply_id)["state"] == "complete"


def counted_events(service: Service) -> int:
    with service.sessions() as session:
        return session.scalar(select(func.count()).select_from(EventRow)) or 0


def test_a_server_that_is_asked_to_stop_ends_what_it_writes(place: Place) -> None:
    home, database = place
    with running(home, Settings(), database=database) as service, service.browser() as http:
        reply_id, generation_id = started(http, "go !forever")
        seen: list[str] = []

        def view() -> None:
            with service.browser() as other, watching(other, generation_id) as events:
                seen.extend(f"{event.type} {event.data.get('state', '')}" for event in events)

        thread = threading.Thread(target=view)
        thread.start()
        wait_until(lambda: len(seen) > 3)
    thread.join(timeout=10)
    assert seen[-1] == "finish stopped"
    with running(home, Settings(), database=database) as service, service.browser() as http:
        kept = message(http, reply_id)
        assert (kept["state"], kept["error"]) == ("stopped", CLOSING)
        assert kept["content"].startswith(f"{SFT.name}: go more more")
        assert text_of(watched(http, generation_id)) == kept["content"]


class Stuck:
    """Says a word, and then nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def releases(self) -> Sequence[ReleaseInfo]:
        return (SFT,)

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        yield Delta("a word")
        self.go.wait(timeout=30)
        yield Delta(" too late")
        yield Finish("stop", 1, 2)


def test_a_writer_that_is_stuck_cannot_hold_a_stop(place: Place) -> None:
    home, database = place
    settings, stuck = Settings(stop_grace_seconds=0.2, window_hold=0), Stuck()
    with (
        running(home, settings, database=database, responder=stuck) as service,
        service.browser() as http,
    ):
        reply_id, generation_id = started(http, "hello")
        stop(http, generation_id)
        finish = watched(http, generation_id)[-1].data
        stuck.go.set()
        assert (finish["state"], finish["message"]["content"]) == ("stopped", "a word")
        time.sleep(0.2)
        assert message(http, reply_id)["content"] == "a word"


def test_another_process_shows_and_stops_what_this_one_writes(place: Place) -> None:
    home, database = place
    with (
        running(home, Settings(), database=database) as writer,
        running(home, Settings(), database=database) as other,
        writer.browser() as http,
        other.browser() as tab,
    ):
        _, generation_id = started(http, "go !forever")
        with watching(tab, generation_id) as events:
            seen = [next(events) for _ in range(4)]
            stop(tab, generation_id)
            seen += list(events)
        assert seen[-1].data["state"] == "stopped"
        assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
        assert text_of(seen) == seen[-1].data["message"]["content"]


def test_what_a_silent_process_wrote_is_ended_by_another(place: Place) -> None:
    home, database = place
    settings = Settings(heartbeat_seconds=0.1, reap_seconds=1)
    with running(home, settings, database=database) as service, service.browser() as http:
        talk = begin(http)["id"]
        reply_id, generation_id = reply_of(say(http, talk, "keep this much"))
        watched(http, generation_id)
        with writing(service.sessions) as session:  # as if it were being written elsewhere, until long ago
            row = session.get_one(GenerationRow, generation_id)
            row.state, row.writer, row.heartbeat, row.finished = "pending", "elsewhere:1:x", 5, None
            last = session.get_one(EventRow, (generation_id, row.last_seq))
            assert last.kind == "finish"
            session.delete(last)
            reply = session.get_one(MessageRow, reply_id)
            reply.state, reply.content = "pending", ""
        wait_until(lambda: ended(http, reply_id))
        kept = message(http, reply_id)
        assert (kept["state"], kept["error"]) == ("failed", ABANDONED)
        assert kept["content"] == f"{SFT.name}: keep this much"
        assert opened(http, talk)["messages"][-1] == kept


@only("sqlite")
def test_a_database_that_is_held_by_another_only_delays(place: Place) -> None:
    home, database = place
    with running(home, Settings(), database=database) as service, service.browser() as http:
        service.echo.word_seconds = 0.02
        said = " ".join(f"word{n}" for n in range(60))
        reply_id, generation_id = started(http, said)
        other = open_database(database)
        with watching(http, generation_id) as events:
            seen = [next(events) for _ in range(3)]
            with writing(other):
                time.sleep(1.0)
            seen += list(events)
        close_database(other)
        assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
        assert text_of(seen) == message(http, reply_id)["content"] == f"{SFT.name}: {said}"
