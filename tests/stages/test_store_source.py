"""The store as a source: talk, consent, feedback, acceptance, snapshot, release, withdrawal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from parley.artifacts import Checkpoint, EvalReport, Run, Snapshot
from parley.dialogue import Message
from parley.labels import Ranks
from parley.numerics import NumericPlan
from parley.stages.data import (
    LINEAGE,
    DataConfig,
    demonstrations_of,
    prompts_of,
    rankings_of,
    source_of,
    take_snapshot,
)
from parley.stages.hygiene.settings import FileData, FilesData
from parley.stages.release import cut_release
from parley.stages.store_lineage import uses_of_the_store
from parley.stages.store_source import StoreData, StoreSource, without_near_duplicates
from parley.store.candidates import decide, list_candidates, queue_feedback, queue_vote
from parley.store.comparisons import Outcome, add_comparison, vote
from parley.store.consents import grant, withdraw
from parley.store.conversations import change_conversation
from parley.store.database import close_database, open_database
from parley.store.feedback import Value, give_feedback, take_feedback_back
from parley.store.messages import forget_conversation
from parley.store.training import covered, prompts
from tests.databases import Backend, MakeUrl
from tests.store.rows import NOW, person, say, talk
from tests.tiny import workspace

BLOCK = json.dumps({"action": "warn", "categories": [], "policy": "1", "message": "careful"})


@dataclass(frozen=True)
class Told:
    """A database in which people talk, and what a run would learn from it."""

    url: str
    sessions: sessionmaker[Session]
    home: Path

    def source(self, **data: int | float) -> StoreSource:
        config = StoreData(url=self.url, held_out_share=0, **data)  # type: ignore[arg-type]
        return StoreSource(config, FilesData(held_out_share=0), seed=1)

    def snapshot(self, **data: int | float) -> Snapshot:
        run = Run(self.home / "runs" / "store", seed=1, plan=NumericPlan())
        return run.once("data", take_snapshot, self.source(**data))

    def release(self, snapshot: Snapshot, stage: str) -> None:
        made = workspace(self.home / "made" / stage)
        made.file("config.json").write_text("{}")
        made.file("report.json").write_text("{}")
        policy, report = made.seal(Checkpoint, {}), made.seal(EvalReport, {})
        run = Run(self.home / "runs" / "store", seed=1, plan=NumericPlan())
        run.once(f"release {stage}", cut_release, policy, report, snapshot, (), stage, "store")


@pytest.fixture
def told(backend: Backend, make_url: MakeUrl, tmp_path: Path) -> Iterator[Told]:
    with make_url(backend, tmp_path) as url:
        opened = open_database(url)
        yield Told(url, opened, tmp_path)
        close_database(opened)


def rate(session: Session, user: str, message: str, value: Value = "down", ideal: str = "") -> None:
    said = give_feedback(
        session, user_id=user, message_id=message, value=value, reasons=(), note="", ideal=ideal, now=NOW
    )
    queue_feedback(session, said, user_id=user, now=NOW)


def choose(session: Session, user: str, conversation: str, asked: str, first: str, outcome: Outcome) -> None:
    second = say(session, conversation, asked, "the other answer")
    made = add_comparison(
        session, user_id=user, kind="drafts", first=first, second=second, swapped=True, now=NOW
    )
    voted = vote(session, made.id, outcome, user_id=user, now=NOW)
    queue_vote(session, voted, user_id=user, now=NOW)


def accept_all(session: Session, *, now: int = NOW) -> None:
    for one in list_candidates(session, state="waiting"):
        decide(session, one.id, accept=True, content_hash=one.content_hash, by="owner", now=now)


def test_from_a_conversation_to_a_release_and_out_again(told: Told) -> None:
    with told.sessions.begin() as session:
        ana = person(session)
        conversation, asked, answer = talk(session, ana, "Where does Mira live?", "In Paris.")
        grant(session, user_id=ana, text_version="1", now=NOW)
        rate(session, ana, answer, ideal="Mira lives in Oakby.")
        choose(session, ana, conversation, asked, answer, "left")
    waiting = told.snapshot()
    assert (list(demonstrations_of(waiting)), list(rankings_of(waiting))) == ([], [])
    with told.sessions.begin() as session:
        accept_all(session)
    learnt = told.snapshot()
    (shown,), (ranked,), (prompt,) = demonstrations_of(learnt), rankings_of(learnt), prompts_of(learnt)
    assert [message.text for message in shown.conversation.messages] == [
        "Where does Mira live?",
        "Mira lives in Oakby.",
    ]
    assert (shown.imitate, shown.trainer) == ((1,), ana)
    assert ranked.replies == (
        Message("assistant", "the other answer", "micro-sft"),
        Message("assistant", "In Paris.", "micro-sft"),
    )
    assert ranked.judgement == Ranks((1, 2))
    assert prompt.conversation.messages[-1].text == "Where does Mira live?"
    told.release(learnt, "sft")
    with told.sessions.begin() as session:
        withdraw(session, user_id=ana, now=NOW + 1)
    after = told.snapshot()
    assert (*demonstrations_of(after), *rankings_of(after), *prompts_of(after)) == ()
    told.release(after, "ppo-1")
    with told.sessions() as session:
        conversations, candidates = covered(session)
    (use,) = uses_of_the_store(
        told.home / "runs", conversations=conversations, candidates=candidates, person=ana
    )
    assert (use.release, use.snapshot, use.items, use.withdrawn) == ("store-sft", learnt.digest, 3, 3)


def test_the_lineage_names_person_consent_rows_and_content(told: Told) -> None:
    with told.sessions.begin() as session:
        ana = person(session)
        consent = grant(session, user_id=ana, text_version="1", now=NOW)
        conversation, asked, answer = talk(session, ana, "hi", "ho")
        rate(session, ana, answer, ideal="hello")
        accept_all(session)
        (candidate,) = list_candidates(session, state="accepted")
    snapshot = told.snapshot()
    rows = [json.loads(line) for line in snapshot.file(LINEAGE).read_text().splitlines()]
    shown, asked_row = rows
    assert shown.pop("content") != asked_row.pop("content")
    assert shown == {
        "kind": "demonstration",
        "person": ana,
        "consent": consent.id,
        "conversation": conversation,
        "messages": [asked, answer],
        "candidate": candidate.id,
        "source": candidate.source_id,
    }
    assert asked_row["messages"] == [asked]
    assert snapshot.figures["items of the store"] == 2


def texts(told: Told, **data: int | float) -> list[str]:
    return sorted(prompt.conversation.messages[-1].text for prompt in prompts_of(told.snapshot(**data)))


def test_only_what_is_consented_clean_and_there_is_told(told: Told) -> None:
    with told.sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        grant(session, user_id=ana, text_version="1", now=NOW)
        talk(session, ana, "the one that counts", "ho")
        talk(session, ben, "nobody asked Ben", "ho")
        left_out, *_ = talk(session, ana, "not this one", "ho")
        change_conversation(session, left_out, owner_id=ana, now=NOW, training_use="no")
        deleted, *_ = talk(session, ana, "not that one", "ho")
        forget_conversation(session, deleted, owner_id=ana, now=NOW)
        blocked, *_ = talk(session, ana)
        bad = say(session, blocked, None, "blocked", state="blocked")
        warned = say(session, blocked, None, "warned about", verdict=BLOCK)
        say(session, blocked, say(session, blocked, warned, "ho"), "after a warning")
        answer = say(session, blocked, bad, "ho")
        say(session, blocked, answer, "after a block")
        rate(session, ana, answer, ideal="after a block too")
        accept_all(session)
    assert texts(told) == ["the one that counts"]
    assert list(demonstrations_of(told.snapshot())) == []


def test_what_was_taken_back_after_it_was_accepted_is_not_told(told: Told) -> None:
    with told.sessions.begin() as session:
        ana = person(session)
        grant(session, user_id=ana, text_version="1", now=NOW)
        _, _, answer = talk(session, ana, "hi", "ho")
        rate(session, ana, answer, ideal="hello")
        accept_all(session)
    assert len(told.source().collected.demonstrations) == 1
    with told.sessions.begin() as session:
        take_feedback_back(session, user_id=ana, message_id=answer, now=NOW)
    assert len(told.source().collected.demonstrations) == 0


def test_a_person_counts_up_to_a_cap_and_what_was_accepted_counts_first(told: Told) -> None:
    names = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]
    with told.sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        for user in (ana, ben):
            grant(session, user_id=user, text_version="1", now=NOW)
        for name in names:
            _, _, answer = talk(session, ana, f"{name} of Ana", "ho")
            if name == "hotel":
                rate(session, ana, answer)
        talk(session, ben, "one of Ben", "ho")
        accept_all(session)
    kept = texts(told, per_person=3)
    assert len(kept) == 4
    assert {"hotel of Ana", "one of Ben"} <= set(kept)
    assert kept == texts(told, per_person=3)


def test_llm04_poisoning__who_votes_all_day_counts_up_to_the_cap(told: Told) -> None:
    with told.sessions.begin() as session:
        for name, votes in (("spammer", 30), *((f"honest {n}", 2) for n in range(9))):
            user = person(session, name)
            grant(session, user_id=user, text_version="1", now=NOW)
            for n in range(votes):
                conversation, asked, answer = talk(session, user, f"{name} asks {n}", f"answer {n}")
                outcome: Outcome = "right" if name == "spammer" else "left"
                choose(session, user, conversation, asked, answer, outcome)
    assert told.source().collected.rankings == ()  # nothing counts before somebody read it
    with told.sessions.begin() as session:
        accept_all(session)
    ranked = list(rankings_of(told.snapshot(per_person=2)))
    assert len(ranked) == 20
    assert sum(ranking.judgement == Ranks((2, 1)) for ranking in ranked) == 2


def test_near_duplicates_are_asked_once(told: Told) -> None:
    asked = [
        "Where does Mira live?",
        "where does mira live",
        "Where does Mira live now?",
        "Where does Tom live?",
        "Where",
    ]
    with told.sessions.begin() as session:
        ana = person(session)
        grant(session, user_id=ana, text_version="1", now=NOW)
        for question in asked:
            talk(session, ana, question, "ho", "And what is her pet?", "a goat")
        found = list(prompts(session, max_history=20))
        kept = [[message.content for message in prompt.history] for prompt in without_near_duplicates(found)]
    firsts = sorted(history[0] for history in kept if len(history) == 1)
    assert len(firsts) == 3
    assert {"Where", "Where does Tom live?"} < set(firsts)
    assert (
        len([history for history in kept if len(history) == 3]) == 4
    )  # two of them differ in a letter's case


def test_a_conversation_is_wholly_on_one_side_of_the_split(told: Told) -> None:
    with told.sessions.begin() as session:
        ana = person(session)
        grant(session, user_id=ana, text_version="1", now=NOW)
        for n in range(40):
            turns = [text for k in range(4) for text in (f"{k} question {n * 7919}", f"answer {k}")]
            talk(session, ana, *turns)
    source = StoreSource(StoreData(url=told.url, history=2, held_out_share=0.5), FilesData(), seed=1)
    kept, apart = source.tell().prompts, source.tell().prompts_held_out
    sides = [{prompt.conversation.messages[-1].text.split()[-1] for prompt in side} for side in (kept, apart)]
    assert not sides[0] & sides[1]
    assert all(len(side) >= 10 for side in sides)
    assert {len(prompt.conversation.messages) for prompt in source.tell().prompts} == {1, 3}


def test_a_moment_can_be_named_so_that_a_run_goes_on_while_people_talk(told: Told) -> None:
    with told.sessions.begin() as session:
        ana = person(session)
        grant(session, user_id=ana, text_version="1", now=NOW)
        _, _, answer = talk(session, ana, "hi", "ho")
        rate(session, ana, answer, ideal="hello")
    before = told.source(until=NOW).fingerprint()
    assert before == told.source(until=NOW).fingerprint()
    everything = told.source().fingerprint()
    with told.sessions.begin() as session:
        accept_all(session, now=NOW + 1)
    assert told.source(until=NOW).fingerprint() == before
    assert told.source().fingerprint() != everything


def test_files_may_tell_more_beside_the_store(told: Told, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Open?"}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "shop.jsonl").write_text(json.dumps({"messages": messages, "trainer": "shop"}))
    with told.sessions.begin() as session:
        ana = person(session)
        grant(session, user_id=ana, text_version="1", now=NOW)
        _, _, answer = talk(session, ana, "hi", "ho")
        rate(session, ana, answer, ideal="hello")
        accept_all(session)
    shop = FileData(file="shop.jsonl", format="demonstrations")
    config = DataConfig(
        source="store",
        store=StoreData(url=told.url, held_out_share=0),
        files=FilesData(root=str(tmp_path), dialogues=(shop,), held_out_share=0),
    )
    shown = list(source_of(config, 1).tell().demonstrations)
    assert [one.trainer for one in shown] == ["shop", ana]
