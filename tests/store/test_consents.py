"""Consent: off by default, versioned, for the account and for one conversation."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from parley.store.consents import (
    consented,
    grant,
    grants,
    last_change,
    live_grant,
    set_for_conversation,
    withdraw,
)
from parley.store.conversations import ConversationRow, change_conversation
from parley.store.messages import forget_conversation

from .rows import NOW, person, talk


def allowed(session: Session) -> dict[str, str]:
    """Conversations that may be learnt from, with the grant that covers each."""
    return {row.conversation_id: row.consent_id for row in session.execute(consented())}


def use(session: Session, user: str, conversation: str, training_use: str) -> None:
    session.execute(
        update(ConversationRow).where(ConversationRow.id == conversation).values(training_use=training_use)
    )
    set_for_conversation(
        session,
        user_id=user,
        conversation_id=conversation,
        training_use=training_use,
        text_version="1",
        now=NOW,
    )


def test_it_is_off_until_it_is_given_and_off_again_when_withdrawn(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, *_ = talk(session, user, "hi", "ho")
        assert allowed(session) == {}
        assert last_change(session, user_id=user) is None
        given = grant(session, user_id=user, text_version="1", now=1)
        assert allowed(session) == {conversation: given.id}
        withdraw(session, user_id=user, now=2)
        assert allowed(session) == {}
        assert live_grant(session, user_id=user) is None
        assert last_change(session, user_id=user) == 2


def test_every_grant_stays_with_its_version_and_its_times(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        first = grant(session, user_id=user, text_version="1", now=1)
        assert grant(session, user_id=user, text_version="1", now=2) == first
        grant(session, user_id=user, text_version="2", now=3)
        withdraw(session, user_id=user, now=4)
        withdraw(session, user_id=user, now=5)
        told = [(one.text_version, one.granted, one.withdrawn) for one in grants(session, user_id=user)]
    assert told == [("1", 1, 3), ("2", 3, 4)]


def test_a_conversation_can_be_left_out(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        shown, *_ = talk(session, user, "hi", "ho")
        hidden, *_ = talk(session, user, "a secret", "ho")
        grant(session, user_id=user, text_version="1", now=1)
        use(session, user, hidden, "no")
        assert set(allowed(session)) == {shown}
        use(session, user, hidden, "inherit")
        assert set(allowed(session)) == {shown, hidden}


def test_a_conversation_can_be_given_alone(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        given, *_ = talk(session, user, "hi", "ho")
        talk(session, user, "a secret", "ho")
        use(session, user, given, "yes")
        own = live_grant(session, user_id=user, conversation_id=given)
        assert own is not None
        assert allowed(session) == {given: own.id}
        grant(session, user_id=user, text_version="1", now=1)
        assert len(allowed(session)) == 2
        withdraw(session, user_id=user, now=2)
        assert allowed(session) == {given: own.id}
        use(session, user, given, "inherit")
        assert allowed(session) == {}


def test_yes_without_a_grant_is_no_consent(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, *_ = talk(session, user, "hi", "ho")
        change_conversation(session, conversation, owner_id=user, now=NOW, training_use="yes")
        assert allowed(session) == {}


def test_one_persons_consent_is_nobody_elses(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        mine, *_ = talk(session, ana, "hi", "ho")
        talk(session, ben, "hi", "ho")
        grant(session, user_id=ana, text_version="1", now=1)
        assert set(allowed(session)) == {mine}


def test_what_was_deleted_is_not_learnt_from(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, *_ = talk(session, user, "hi", "ho")
        grant(session, user_id=user, text_version="1", now=1)
        forget_conversation(session, conversation, owner_id=user, now=NOW)
        assert allowed(session) == {}
