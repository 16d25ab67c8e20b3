"""Where releases stand: what answers by default, promoting, rolling back, canaries, history."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import ConfigError, Conflict, NotFound
from parley.ports import ReleaseInfo
from parley.store.database import writing
from parley.store.releases import State, answering, changes, promote, roll_back, standings

BASE = ReleaseInfo("micro-base", "base", "micro", 1, "d1")
SFT = ReleaseInfo("micro-sft", "sft", "micro", 2, "d2")
PPO = ReleaseInfo("micro-ppo-1", "ppo-1", "micro", 3, "d3")
ALL = (BASE, SFT, PPO)


def states(session: Session, releases: tuple[ReleaseInfo, ...] = ALL) -> dict[str, tuple[str, bool]]:
    return {one.release.stage: (one.state, one.is_default) for one in standings(session, releases)}


def move(sessions: sessionmaker[Session], name: str, to: State = "live", share: float | None = None) -> None:
    with writing(sessions) as session:
        promote(session, ALL, name, actor="ana", now=10, state=to, share=share)


def back(sessions: sessionmaker[Session], name: str) -> None:
    with writing(sessions) as session:
        roll_back(session, ALL, name, actor="ana", now=20)


def test_until_somebody_decides_each_release_is_live_and_the_newest_answers(
    sessions: sessionmaker[Session],
) -> None:
    with sessions() as session:
        assert states(session) == {"base": ("live", False), "sft": ("live", False), "ppo-1": ("live", True)}
        assert states(session, (BASE,)) == {"base": ("live", True)}
        assert answering(session, ()) is None


def test_what_was_promoted_answers_and_a_new_release_waits(sessions: sessionmaker[Session]) -> None:
    move(sessions, "micro-sft")
    with sessions() as session:
        assert states(session) == {
            "base": ("candidate", False),
            "sft": ("live", True),
            "ppo-1": ("candidate", False),
        }


def test_rolling_back_brings_what_was_promoted_before(sessions: sessionmaker[Session]) -> None:
    for name in ("micro-base", "micro-sft", "micro-ppo-1"):
        move(sessions, name)
    back(sessions, "micro-ppo-1")
    with sessions() as session:
        assert states(session)["ppo-1"] == ("retired", False)
        assert answering(session, ALL) == "micro-sft"
    back(sessions, "micro-sft")
    with sessions() as session:
        assert answering(session, ALL) == "micro-base"


def test_the_last_live_release_is_not_rolled_back(sessions: sessionmaker[Session]) -> None:
    for name in ("micro-ppo-1", "micro-sft"):
        back(sessions, name)
    with pytest.raises(Conflict, match="No other release is live"):
        back(sessions, "micro-base")
    with sessions() as session:
        assert answering(session, ALL) == "micro-base"
        assert len(changes(session)) == 2


def test_rolling_back_twice_is_refused(sessions: sessionmaker[Session]) -> None:
    back(sessions, "micro-ppo-1")
    with pytest.raises(Conflict, match="retired"):
        back(sessions, "micro-ppo-1")


def test_a_canary_gets_its_share_of_the_people_and_always_the_same(sessions: sessionmaker[Session]) -> None:
    move(sessions, "micro-sft")
    move(sessions, "micro-ppo-1", "canary", 0.2)
    with sessions() as session:
        given = [answering(session, ALL, person=f"person {n}") for n in range(2_000)]
        again = [answering(session, ALL, person=f"person {n}") for n in range(100)]
        assert states(session)["ppo-1"] == ("canary", False)
    share = given.count("micro-ppo-1") / len(given)
    assert set(given) == {"micro-sft", "micro-ppo-1"}
    assert 0.16 < share < 0.24  # 4.5 standard deviations
    assert given[:100] == again
    back(sessions, "micro-ppo-1")
    with sessions() as session:
        assert answering(session, ALL, person=f"person {given.index('micro-ppo-1')}") == "micro-sft"
        assert states(session)["ppo-1"] == ("candidate", False)


@pytest.mark.parametrize(
    ("state", "share"), [("canary", None), ("live", 0.5), ("canary", 0.0), ("canary", 1.0)]
)
def test_a_share_is_a_canarys_and_a_part(
    sessions: sessionmaker[Session], state: State, share: float | None
) -> None:
    with pytest.raises(ConfigError, match="canary"):
        move(sessions, "micro-sft", state, share)


def test_an_unknown_release_is_named_with_those_that_are(sessions: sessionmaker[Session]) -> None:
    with pytest.raises(NotFound, match="micro-base, micro-sft, micro-ppo-1"):
        move(sessions, "micro-ppo-9")


def test_another_release_under_an_old_name_was_never_promoted(sessions: sessionmaker[Session]) -> None:
    move(sessions, "micro-sft")
    move(sessions, "micro-ppo-1")
    again = (BASE, SFT, replace(PPO, digest="another"))
    with sessions() as session:
        assert answering(session, again) == "micro-sft"
        assert states(session, again)["ppo-1"] == ("candidate", False)


def test_a_promoted_release_that_is_not_there_any_more_does_not_answer(
    sessions: sessionmaker[Session],
) -> None:
    move(sessions, "micro-ppo-1")
    with sessions() as session:
        assert answering(session, (BASE, SFT)) == "micro-sft"


def test_the_history_says_who_when_and_what_answered_then(sessions: sessionmaker[Session]) -> None:
    move(sessions, "micro-base")
    move(sessions, "micro-sft")
    back(sessions, "micro-sft")
    with sessions() as session:
        told = [(one.name, one.action, one.state, one.default, one.actor, one.at) for one in changes(session)]
        assert len(changes(session, "micro-base")) == 1
    assert told == [
        ("micro-sft", "rollback", "retired", "micro-base", "ana", 20),
        ("micro-sft", "promote", "live", "micro-sft", "ana", 10),
        ("micro-base", "promote", "live", "micro-base", "ana", 10),
    ]
