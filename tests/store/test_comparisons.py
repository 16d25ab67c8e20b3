"""Two answers side by side, and the vote that is given once."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import Conflict, NotFound
from parley.store.candidates import CandidateRow, queue_vote
from parley.store.comparisons import (
    StoredComparison,
    add_comparison,
    comparisons_of,
    get_comparison,
    vote,
)

from .rows import NOW, person, say, talk


def two_answers(session: Session, *, swapped: bool = False) -> tuple[str, str, str, StoredComparison]:
    user = person(session)
    conversation, asked, first = talk(session, user, "hi", "ho")
    second = say(session, conversation, asked, "hey")
    made = add_comparison(
        session, user_id=user, kind="drafts", first=first, second=second, swapped=swapped, now=NOW
    )
    return user, first, second, made


def test_the_order_that_was_drawn_is_kept(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        _, first, second, made = two_answers(session)
        assert (made.left_id, made.right_id, made.swapped) == (first, second, False)
        user, first, second, made = two_answers(session, swapped=True)
        assert (made.left_id, made.right_id, made.swapped) == (second, first, True)
        assert get_comparison(session, made.id, user_id=user) == made


def test_both_answers_know_their_comparison(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        _, first, second, made = two_answers(session)
        assert comparisons_of(session, [first, second]) == {first: made, second: made}
        assert comparisons_of(session, []) == {}


def test_a_vote_is_given_once(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user, _, _, made = two_answers(session)
        assert vote(session, made.id, "both_bad", user_id=user, now=NOW).outcome == "both_bad"
        assert vote(session, made.id, "both_bad", user_id=user, now=NOW).outcome == "both_bad"
        with pytest.raises(Conflict, match="stays as it was given"):
            vote(session, made.id, "left", user_id=user, now=NOW)
        assert get_comparison(session, made.id, user_id=user).outcome == "both_bad"


def test_somebody_elses_comparison_is_unknown(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        _, _, _, made = two_answers(session)
        other = person(session, "Ben")
        with pytest.raises(NotFound):
            get_comparison(session, made.id, user_id=other)
        with pytest.raises(NotFound):
            vote(session, made.id, "left", user_id=other, now=NOW)


def test_a_vote_waits_in_the_queue(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user, _, _, made = two_answers(session)
        for _ in range(2):
            voted = vote(session, made.id, "right", user_id=user, now=NOW)
            queue_vote(session, voted, user_id=user, now=NOW)
        row = session.scalars(select(CandidateRow)).one()
        assert (row.kind, row.state, row.comparison_id) == ("comparison", "waiting", made.id)
