"""Where each release stands, and who moved it there.

A release is a directory on disk; here stands only what people decided about it: candidate, shadow,
canary (with its share of the people), live or retired. The release that answers by default is the
live one that was promoted last, so that promoting and rolling back change one row each. As long as
nobody promoted any of them, each release is live as soon as it is cut and the newest answers; from
the first promotion on, a new one waits as a candidate.

A decision holds for the content that it was made about: another release under an old name has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, Float, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from parley.errors import ConfigError, Conflict, NotFound
from parley.ports import ReleaseInfo
from parley.store.schema import Table
from parley.store.upsert import upsert

State = Literal["candidate", "shadow", "canary", "live", "retired"]
Action = Literal["promote", "rollback"]
STATES: Final[tuple[State, ...]] = get_args(State)
AFTER_ROLLBACK: Final[Mapping[State, State]] = {
    "live": "retired",
    "canary": "candidate",
    "shadow": "candidate",
}
KNOWN_STATES: Final = "state IN ('candidate', 'shadow', 'canary', 'live', 'retired')"


class ReleaseStateRow(Table):
    """One row a release that somebody decided about. `promoted` is the change that made it live."""

    __tablename__ = "release_state"
    __table_args__ = (
        CheckConstraint(KNOWN_STATES, name="release_state_known"),
        CheckConstraint("(state = 'canary') = (share IS NOT NULL)", name="release_state_share"),
        CheckConstraint("(state = 'live') = (promoted IS NOT NULL)", name="release_state_promoted"),
    )

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(10))
    share: Mapped[float | None] = mapped_column(Float)
    promoted: Mapped[int | None] = mapped_column(BigInteger)


class ReleaseChangeRow(Table):
    """One row a decision, never changed. `default_release` is who answered by default after it."""

    __tablename__ = "release_change"
    __table_args__ = (CheckConstraint("action IN ('promote', 'rollback')", name="release_change_action"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10))
    share: Mapped[float | None] = mapped_column(Float)
    default_release: Mapped[str | None] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(String(100))
    at: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a release stands; `share` is a canary's."""

    release: ReleaseInfo
    state: State
    share: float | None
    is_default: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A decision: who, when, and which release answered by default from then on."""

    name: str
    action: str
    state: str
    share: float | None
    default: str | None
    actor: str
    at: int


def standings(session: Session, releases: Sequence[ReleaseInfo]) -> tuple[Standing, ...]:
    """Where each of `releases` (all that can answer, oldest first) stands."""
    rows = _rows(session, releases)
    default = _default(rows, releases)
    return tuple(
        Standing(
            release,
            _state(rows, release),
            rows[release.name].share if release.name in rows else None,
            release.name == default,
        )
        for release in releases
    )


def answering(session: Session, releases: Sequence[ReleaseInfo], *, person: str = "") -> str | None:
    """The release that answers `person` where none is named; None where no release is live.

    A canary gets its share of the people, always the same ones: by a hash of release and person.
    """
    rows = _rows(session, releases)
    for row in rows.values():
        if person and row.share is not None and _cohort(row, person) < row.share:
            return row.name
    return _default(rows, releases)


def promote(
    session: Session,
    releases: Sequence[ReleaseInfo],
    name: str,
    *,
    actor: str,
    now: int,
    state: State = "live",
    share: float | None = None,
) -> None:
    """Moves a release to `state`; a live one answers by default from now on."""
    _check_share(state, share)
    release = _named(releases, name)
    change = _note(session, release, "promote", state, share, actor, now)
    _put(session, release, state, share, change)
    change.default_release = _default(_rows(session, releases), releases)


def roll_back(session: Session, releases: Sequence[ReleaseInfo], name: str, *, actor: str, now: int) -> None:
    """Takes a release back: a live one retires, and the one that was promoted before it answers again.

    A canary or shadow is a candidate again. `Conflict` where nothing would be left to answer, or
    where there is nothing to take back.
    """
    release = _named(releases, name)
    before = _state(_rows(session, releases), release)
    if before not in AFTER_ROLLBACK:
        raise Conflict(f"The release {name} is {before}: there is nothing to roll back.")
    state = AFTER_ROLLBACK[before]
    change = _note(session, release, "rollback", state, None, actor, now)
    _put(session, release, state, None, change)
    change.default_release = _default(_rows(session, releases), releases)
    if change.default_release is None:
        raise Conflict(f"No other release is live; promote one before {name} is rolled back.")


def changes(session: Session, name: str | None = None) -> tuple[Change, ...]:
    """The decisions about one release or about all, newest first."""
    query = select(ReleaseChangeRow).order_by(ReleaseChangeRow.id.desc())
    if name is not None:
        query = query.where(ReleaseChangeRow.name == name)
    return tuple(
        Change(row.name, row.action, row.state, row.share, row.default_release, row.actor, row.at)
        for row in session.scalars(query)
    )


def _rows(session: Session, releases: Sequence[ReleaseInfo]) -> dict[str, ReleaseStateRow]:
    """The decisions that hold for these releases."""
    digests = {release.name: release.digest for release in releases}
    wanted = select(ReleaseStateRow).order_by(ReleaseStateRow.name)
    found = session.scalars(wanted.execution_options(populate_existing=True))
    return {row.name: row for row in found if digests.get(row.name) == row.digest}


def _state(rows: Mapping[str, ReleaseStateRow], release: ReleaseInfo) -> State:
    if release.name in rows:
        return next(state for state in STATES if state == rows[release.name].state)
    return "candidate" if any(row.state == "live" for row in rows.values()) else "live"


def _default(rows: Mapping[str, ReleaseStateRow], releases: Sequence[ReleaseInfo]) -> str | None:
    promoted = {row.promoted: row.name for row in rows.values() if row.promoted is not None}
    if promoted:
        return promoted[max(promoted)]
    return next((one.name for one in reversed(releases) if _state(rows, one) == "live"), None)


def _cohort(row: ReleaseStateRow, person: str) -> float:
    """A number in [0, 1) that follows from who it is and which release is tried."""
    number = hashlib.sha256(f"{row.name}/{row.digest}/{person}".encode()).digest()[:6]
    return int.from_bytes(number, "big") / 2**48


def _named(releases: Sequence[ReleaseInfo], name: str) -> ReleaseInfo:
    for release in releases:
        if release.name == name:
            return release
    names = ", ".join(release.name for release in releases) or "none yet"
    raise NotFound(f"There is no release of that name; there are: {names}.")


def _check_share(state: State, share: float | None) -> None:
    if (state == "canary") != (share is not None):
        raise ConfigError("A share of the people belongs to a canary, and a canary needs one.")
    if share is not None and not 0 < share < 1:
        raise ConfigError(f"A canary's share is between 0 and 1, not {share:g}.")


def _note(
    session: Session,
    release: ReleaseInfo,
    action: Action,
    state: State,
    share: float | None,
    actor: str,
    now: int,
) -> ReleaseChangeRow:
    change = ReleaseChangeRow(
        name=release.name,
        digest=release.digest,
        action=action,
        state=state,
        share=share,
        default_release=None,
        actor=actor[:100],
        at=now,
    )
    session.add(change)
    session.flush()
    return change


def _put(
    session: Session, release: ReleaseInfo, state: State, share: float | None, change: ReleaseChangeRow
) -> None:
    promoted = change.id if state == "live" else None
    decided = {"digest": release.digest, "state": state, "share": share, "promoted": promoted}
    upsert(session, ReleaseStateRow, {"name": release.name, **decided}, key=("name",), change=decided)
