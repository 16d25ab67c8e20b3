"""Feedback: one row a person and message, a history, and the queue that it fills."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from parley.store.candidates import CandidateRow, queue_feedback
from parley.store.feedback import (
    Feedback,
    FeedbackRow,
    Reason,
    Value,
    feedback_history,
    feedback_of,
    give_feedback,
    take_feedback_back,
)
from parley.store.messages import forget_conversation

from .rows import NOW, person, talk


def give(
    session: Session,
    user: str,
    message: str,
    value: Value,
    *reasons: Reason,
    note: str = "",
    ideal: str = "",
    now: int = NOW,
) -> Feedback:
    given = give_feedback(
        session,
        user_id=user,
        message_id=message,
        value=value,
        reasons=reasons,
        note=note,
        ideal=ideal,
        now=now,
    )
    queue_feedback(session, given, user_id=user, now=now)
    return given


def test_the_other_thumb_takes_the_place_of_the_first_with_nothing_left_of_it(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        user = person(session)
        _, _, answer = talk(session, user, "hi", "ho")
        first = give(session, user, answer, "down", "false", "harmful", note="no", ideal="hello")
        assert first.reasons == ("harmful", "false")
        second = give(session, user, answer, "up", now=NOW + 5)
        assert (second.value, second.reasons, second.note, second.ideal) == ("up", (), "", "")
        assert (second.id, second.changed) == (first.id, NOW + 5)
        assert session.scalar(select(func.count()).select_from(FeedbackRow)) == 1


def test_the_database_refuses_reasons_with_a_thumb_up(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        _, _, answer = talk(session, user, "hi", "ho")
        give(session, user, answer, "up")
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.execute(text("UPDATE feedback SET reasons = 'false'"))


def test_the_history_keeps_every_step(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        _, _, answer = talk(session, user, "hi", "ho")
        give(session, user, answer, "down", "too_long", now=1)
        give(session, user, answer, "up", now=2)
        assert take_feedback_back(session, user_id=user, message_id=answer, now=3)
        assert not take_feedback_back(session, user_id=user, message_id=answer, now=4)
        steps = feedback_history(session, user_id=user, message_id=answer)
        assert [(step.at, step.feedback and step.feedback.value) for step in steps] == [
            (1, "down"),
            (2, "up"),
            (3, None),
        ]
        assert feedback_of(session, user, [answer]) == {}


def test_two_people_have_their_own(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        _, _, answer = talk(session, ana, "hi", "ho")
        give(session, ana, answer, "down")
        give(session, ben, answer, "up")
        assert feedback_of(session, ana, [answer])[answer].value == "down"
        assert feedback_of(session, ben, [answer])[answer].value == "up"
        assert feedback_history(session, user_id=ben, message_id=answer)[0].feedback is not None


def test_it_goes_with_the_message(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, _, answer = talk(session, user, "hi", "ho")
        give(session, user, answer, "down", ideal="hello")
        forget_conversation(session, conversation, owner_id=user, now=NOW)
        for table in ("feedback", "feedback_change", "candidate"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def queued(session: Session) -> list[tuple[str, str]]:
    rows = session.scalars(select(CandidateRow).execution_options(populate_existing=True))
    return [(row.kind, row.state) for row in rows]


def test_what_it_should_have_said_waits_in_the_queue(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        _, _, answer = talk(session, user, "hi", "ho")
        give(session, user, answer, "up")
        assert queued(session) == []
        give(session, user, answer, "down")
        assert queued(session) == [("prompt", "waiting")]
        give(session, user, answer, "down", ideal="hello")
        assert queued(session) == [("demonstration", "waiting")]
        give(session, user, answer, "up")
        assert queued(session) == []


def test_other_words_go_back_into_the_queue_and_the_same_do_not(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        _, _, answer = talk(session, user, "hi", "ho")
        give(session, user, answer, "down", ideal="hello")
        session.execute(text("UPDATE candidate SET state = 'accepted', decided = 1, decided_by = 'me'"))
        give(session, user, answer, "down", "false", note="really", ideal="hello")
        assert queued(session) == [("demonstration", "accepted")]
        give(session, user, answer, "down", ideal="hello there")
        assert queued(session) == [("demonstration", "waiting")]
