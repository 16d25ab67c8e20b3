"""Shared links: a copy of what was there, for whoever has the token, until it ends."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import Gone, NotFound
from parley.store.messages import forget_conversation
from parley.store.shares import Share, SharedTurn, create_share, list_shares, open_share, revoke_share

from .rows import NOW, person, talk

TURNS = (SharedTurn("user", "hi", None), SharedTurn("assistant", "ho ☕", "micro-sft"))


def share(session: Session, user: str, lifetime_seconds: int | None = None) -> tuple[str, Share]:
    conversation, _, leaf = talk(session, user, "hi", "ho ☕", title="Greetings")
    made = create_share(
        session,
        user_id=user,
        conversation_id=conversation,
        leaf_id=leaf,
        title="Greetings",
        turns=TURNS,
        now=NOW,
        lifetime_seconds=lifetime_seconds,
    )
    return conversation, made


def test_a_link_shows_what_was_there(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        _, made = share(session, person(session))
        shown = open_share(session, made.token, now=NOW)
    assert (shown.title, shown.created, shown.turns) == ("Greetings", NOW, TURNS)


def test_tokens_are_128_random_bits_and_not_shown_by_accident(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        made = [share(session, user)[1] for _ in range(20)]
    assert len({one.token for one in made}) == 20
    assert all(re.fullmatch(r"[\w-]{22}", one.token) for one in made)
    assert made[0].token not in repr(made[0])


def test_a_link_that_was_taken_back_shows_nothing_and_keeps_nothing(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        user = person(session)
        _, made = share(session, user)
        revoke_share(session, made.id, user_id=user, now=NOW + 1)
        revoke_share(session, made.id, user_id=user, now=NOW + 2)
        with pytest.raises(Gone, match="taken back"):
            open_share(session, made.token, now=NOW)
        assert list_shares(session, user_id=user)[0].revoked == NOW + 1
        assert session.scalar(text("SELECT turns FROM share")) == "[]"


def test_a_link_expires(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        _, made = share(session, person(session), lifetime_seconds=60)
        open_share(session, made.token, now=NOW + 59)
        with pytest.raises(Gone, match="expired"):
            open_share(session, made.token, now=NOW + 60)


def test_a_token_must_be_right_to_the_letter(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        _, made = share(session, person(session))
        for token in ("", "x", made.token[:-1], made.token.swapcase(), f"{made.token}x", "%", made.id):
            with pytest.raises(NotFound):
                open_share(session, token, now=NOW)


def test_only_who_made_a_link_sees_and_ends_it(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        _, made = share(session, ana)
        _, later = share(session, ana)
        assert [one.id for one in list_shares(session, user_id=ana)] == [later.id, made.id]
        assert list_shares(session, user_id=ben) == ()
        with pytest.raises(NotFound):
            revoke_share(session, made.id, user_id=ben, now=NOW)
        assert open_share(session, made.token, now=NOW)


def test_it_goes_with_the_conversation(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, made = share(session, user)
        forget_conversation(session, conversation, owner_id=user, now=NOW)
        with pytest.raises(NotFound):
            open_share(session, made.token, now=NOW)
