"""What moderation lets through, warns about, takes back; and what happens when it does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.dialogue import Conversation
from parley.labels import CategoryScore, Verdict
from parley.moderation.rules import shipped_moderator
from parley.ports import Delta, Finish, ReleaseInfo, Sampling
from parley.service.common.settings import Settings
from parley.service.replies.reply import UNCHECKED
from parley.service.replies.window import Unchecked, Window, Withheld, judge
from parley.store.generations import GenerationRow, events_after
from tests.databases import Backend, MakeUrl

from .conftest import SFT, Service, running
from .talking import begin, message, opened, reply_of, say, text_of, turn, watched

BAD = "Sure: here is how to make a bomb at home, step by step."


@dataclass
class Scripted:
    """Says its lines in turn, word by word."""

    lines: list[str]
    asked: list[Conversation] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def releases(self) -> Sequence[ReleaseInfo]:
        return (SFT,)

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        with self._lock:
            self.asked.append(conversation)
            line = self.lines.pop(0)
        return self._say(line)

    def _say(self, line: str) -> Iterator[Delta | Finish]:
        for n, word in enumerate(line.split(" ")):
            threading.Event().wait(0.01)
            yield Delta(f" {word}" if n else word)
        yield Finish("stop", 1, n + 1)


@dataclass
class Moody:
    """The shipped rules, until it breaks."""

    calls_left: int

    def check(self, text: str) -> Verdict:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise OSError("the classifier is away")
        return shipped_moderator().check(text)


@pytest.fixture
def place(tmp_path: Path, backend: Backend, make_url: MakeUrl) -> Iterator[tuple[Path, str]]:
    with make_url(backend, tmp_path) as database:
        yield tmp_path, database


def test_a_blocked_message_is_not_sent_and_can_be_edited(service: Service) -> None:
    with service.browser() as http:
        talk = begin(http)["id"]
        made = say(http, talk, "How do I make a bomb?")
        assert made["replies"] == []
        assert made["user"]["state"] == "blocked"
        assert made["user"]["verdict"]["action"] == "block"
        assert made["user"]["verdict"]["categories"][0]["name"] == "illicit/violent"
        assert made["user"]["error"] == made["user"]["verdict"]["message"]
        shown = opened(http, talk)
        assert shown["messages"] == [made["user"]]
        assert shown["title"] == ""
        assert service.echo.asked == []
        edited = say(http, talk, "How do I make a bath bomb?")
        watched(http, reply_of(edited)[1])
        assert edited["user"]["siblings"] == [made["user"]["id"], edited["user"]["id"]]
        answer = http.post(f"/api/conversations/{talk}/turns", json=turn("go on", made["user"]["id"]))
        assert answer.status_code == 422


def test_a_warned_message_is_sent_with_its_warning(service: Service) -> None:
    with service.browser() as http:
        made = say(http, begin(http)["id"], "I want to die")
        assert (made["user"]["state"], made["user"]["verdict"]["action"]) == ("complete", "warn")
        events = watched(http, reply_of(made)[1])
        assert [event.type for event in events].count("notice") == 1  # the echo says it again
        finish = events[-1].data
        assert (finish["state"], finish["message"]["verdict"]["action"]) == ("complete", "warn")


def test_a_reply_that_turns_unsafe_is_taken_back_before_the_word_is_seen(place: tuple[Path, str]) -> None:
    home, database = place
    lines = [f"{'A harmless word. ' * 12}{BAD} {'More of it. ' * 20}", "fine"]
    scripted = Scripted(lines)
    with running(home, database=database, responder=scripted) as service, service.browser() as http:
        talk = begin(http)["id"]
        reply_id, generation_id = reply_of(say(http, talk, "hello"))
        seen = watched(http, generation_id)
        shown = text_of(seen)
        assert shown.startswith("A harmless word. ")
        assert "how to" not in shown
        assert [event.type for event in seen[-2:]] == ["withdraw", "finish"]
        assert seen[-2].data["verdict"]["categories"][0]["name"] == "illicit/violent"
        finish = seen[-1].data
        assert (finish["state"], finish["message"]["content"]) == ("blocked", "")
        assert finish["message"]["verdict"] == seen[-2].data["verdict"]
        late = watched(http, generation_id)
        assert [event.type for event in late] == ["start", "withdraw", "finish"]
        with service.sessions() as session:
            kept = session.get_one(GenerationRow, generation_id)
            assert kept.withheld is not None
            assert "make a bomb" in kept.withheld
            assert [event.kind for event in events_after(session, generation_id, 0)] == [
                "start",
                "withdraw",
                "finish",
            ]
        body = http.get(f"/api/conversations/{talk}").text + http.get(f"/api/messages/{reply_id}").text
        assert "harmless" not in body
        following = say(http, talk, "and now?", reply_id)
        watched(http, reply_of(following)[1])
    assert [said.text for said in scripted.asked[-1].messages] == ["hello", "and now?"]


def test_of_two_drafts_the_unsafe_one_is_withheld(place: tuple[Path, str]) -> None:
    home, database = place
    with (
        running(
            home, Settings(drafts_share=1.0), database=database, responder=Scripted([BAD, "Good day."])
        ) as it,
        it.browser() as http,
    ):
        made = say(http, begin(http)["id"], "hello")
        ends = [watched(http, one["generation_id"])[-1].data for one in made["replies"]]
    assert sorted((end["state"], end["message"]["content"]) for end in ends) == [
        ("blocked", ""),
        ("complete", "Good day."),
    ]


def test_a_regenerated_reply_is_checked_too(place: tuple[Path, str]) -> None:
    home, database = place
    with running(home, database=database, responder=Scripted(["Good day.", BAD])) as it, it.browser() as http:
        first = reply_of(say(http, begin(http)["id"], "hello"))
        watched(http, first[1])
        again = http.post(f"/api/messages/{first[0]}/regenerate", json={"client_id": "c"}).json()
        assert watched(http, reply_of(again)[1])[-1].data["state"] == "blocked"


def test_a_message_that_cannot_be_checked_is_not_sent(place: tuple[Path, str]) -> None:
    home, database = place
    with running(home, database=database, moderator=Moody(0)) as service, service.browser() as http:
        talk = begin(http)["id"]
        answer = http.post(f"/api/conversations/{talk}/turns", json=turn("hello"))
        assert answer.status_code == 503
        assert "could not be checked" in answer.json()["detail"]
        assert answer.headers["retry-after"]
        assert "classifier is away" not in answer.text
        assert opened(http, talk)["messages"] == []
        assert service.echo.asked == []


def test_a_reply_that_cannot_be_checked_shows_no_more(place: tuple[Path, str]) -> None:
    home, database = place
    with running(home, database=database, moderator=Moody(3)) as service, service.browser() as http:
        service.echo.word_seconds = 0.05
        said = " ".join(f"word{n}" for n in range(40))
        reply_id, generation_id = reply_of(say(http, begin(http)["id"], said))
        seen = watched(http, generation_id)
        kept = message(http, reply_id)
    assert (kept["state"], kept["error"]) == ("failed", UNCHECKED)
    assert kept["content"] == text_of(seen)
    assert len(kept["content"]) < 60


# --- the window itself ------------------------------------------------------------------------------------


@dataclass
class Forbidding:
    """Blocks any text with the word, and counts what it was asked."""

    word: str
    seen: list[str] = field(default_factory=list)

    def check(self, text: str) -> Verdict:
        self.seen.append(text)
        found = self.word in text
        scores = (CategoryScore("word", 1.0),) if found else ()
        return Verdict("block" if found else "allow", scores, "test", "No." if found else "")


pieces = st.lists(st.text("ab ", min_size=1, max_size=6), max_size=30)


@settings(deadline=None, database=None)
@given(pieces, st.integers(0, 12), st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_window_shows_all_of_it_or_none_of_the_word(
    said: list[str], hold: int, advance: list[bool]
) -> None:
    moderator = Forbidding("abba")
    window = Window(moderator, hold=hold, context=8)
    whole, shown, is_blocked = "".join(said), "", False
    try:
        for piece, now in zip(said, advance, strict=False):
            window.add(piece)
            shown += window.advance().text if now else ""
        shown += window.close().text
    except Withheld:
        is_blocked = True
    assert is_blocked == ("abba" in whole)
    assert whole.startswith(shown)
    if is_blocked and hold >= 3:  # all of the word but its last letter waits, so nothing of it is seen
        assert len(shown) <= whole.find("abba")
    if not is_blocked:
        assert shown == whole


def test_a_window_looks_at_little_again() -> None:
    moderator = Forbidding("never")
    window = Window(moderator, hold=10, context=20)
    for _ in range(1000):
        window.add("word ")
        window.advance()
    assert max(map(len, moderator.seen)) <= 20 + 10 + 5


def test_a_verdict_that_does_not_come_is_no_verdict() -> None:
    with pytest.raises(Unchecked):
        judge(Moody(0), "hello")
