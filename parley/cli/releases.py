"""`parley release list | show | promote | rollback`, and what the service sees of releases' directories."""

from __future__ import annotations

import argparse
import getpass
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from parley.cli import show_json
from parley.cli.paths import home, runs
from parley.errors import ArtifactError, NotFound
from parley.reports.card import ReleaseCard, collect_card, render_card
from parley.service.common.release_view import Parent, ReleaseDetails
from parley.stages.release import FoundRelease, find_releases
from parley.stages.store_lineage import uses_of_the_store
from parley.store import releases as store
from parley.store.database import close_database, database_url, open_database, writing
from parley.store.releases import Standing
from parley.store.training import covered


class FileReleaseView:
    """The releases of all runs below a directory. A sealed release never changes: each is read once."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._read: dict[Path, ReleaseCard] = {}

    def details(self, name: str) -> ReleaseDetails:
        """What one release is made of. `NotFound` where its directory has no readable card."""
        card = self._card(name)
        return ReleaseDetails(
            name=card.name,
            checkpoint=card.checkpoint,
            data=card.data,
            parents=tuple(Parent(digest, release) for digest, release in card.parents.items()),
            figures=card.figures,
            seed=card.seed,
            commit=card.commit,
            finished=card.finished,
        )

    def card(self, name: str) -> str:
        """Its card, a whole HTML page. `NotFound` likewise."""
        return render_card(self._card(name))

    def _card(self, name: str) -> ReleaseCard:
        path = next((found.path for found in find_releases(self._runs) if found.info.name == name), None)
        try:
            if path is not None and path not in self._read:
                self._read[path] = collect_card(path)
        except (ArtifactError, KeyError, TypeError, ValueError):
            path = None
        if path is None:
            raise NotFound(f"There is no readable card of the release {name}.")
        return self._read[path]


def answering_directory() -> Path:
    """The directory of the release that answers where none is named. `NotFound` where there is none."""
    found = find_releases(runs())
    if not found:
        raise NotFound("there is no release yet: run a recipe, or name a directory by --checkpoint")
    with _store() as sessions, sessions() as session:
        name = store.answering(session, [one.info for one in found])
    if name is None:
        raise NotFound("no release is live: promote one, or name a directory by --checkpoint")
    return next(one.path for one in found if one.info.name == name)


def list_releases(arguments: argparse.Namespace) -> int:
    """Every release with its state; the one that answers by default is marked."""
    found = find_releases(runs())
    with _store() as sessions, sessions() as session:
        standings = _standings(session, found)
    rows = [_row(standing, found) for standing in standings]
    if arguments.json:
        show_json({"releases": rows})
    else:
        _print_table(rows)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """One release: state, figures, lineage, and who decided what."""
    found = find_releases(runs())
    with _store() as sessions, sessions() as session:
        standing = _named(_standings(session, found), arguments.name)
        changes = store.changes(session, arguments.name)
    made = FileReleaseView(runs()).details(arguments.name)
    shown = {
        **_row(standing, found),
        "checkpoint": made.checkpoint,
        "data": made.data,
        "parents": {parent.digest: parent.release for parent in made.parents},
        "figures": dict(made.figures),
        "seed": made.seed,
        "commit": made.commit,
        "history": [_change(change) for change in changes],
    }
    if arguments.json:
        show_json(shown)
    else:
        _print_details(shown)
    return 0


def promote(arguments: argparse.Namespace) -> int:
    """Makes a release live and the one that answers by default, or moves it to another state."""

    def change(session: Session, found: Sequence[FoundRelease]) -> str:
        store.promote(
            session,
            [one.info for one in found],
            arguments.name,
            actor=_actor(),
            now=int(time.time()),
            state=arguments.to,
            share=arguments.share,
        )
        return str(arguments.name)

    return _decide(change, arguments)


def roll_back(arguments: argparse.Namespace) -> int:
    """Takes a release back, the one that answers by default where none is named."""

    def change(session: Session, found: Sequence[FoundRelease]) -> str:
        releases = [one.info for one in found]
        name = arguments.name or store.answering(session, releases)
        if name is None:
            raise NotFound("no release is live, so there is none to roll back")
        store.roll_back(session, releases, name, actor=_actor(), now=int(time.time()))
        return str(name)

    return _decide(change, arguments)


def used(arguments: argparse.Namespace) -> int:
    """Which releases learnt from what people told the service, and how much of that is withdrawn since."""
    with _store() as sessions, sessions() as session:
        conversations, candidates = covered(session)
    found = uses_of_the_store(
        runs(), conversations=conversations, candidates=candidates, person=arguments.person or ""
    )
    if arguments.json:
        show_json({"releases": [asdict(use) for use in found]})
    elif not found:
        print("no release learnt from what people told the service")
    else:
        for use in found:
            print(f"{use.release}  {use.items} items, {use.withdrawn} withdrawn since  {use.snapshot[:12]}")
    return 0


def _decide(change: Callable[[Session, Sequence[FoundRelease]], str], arguments: argparse.Namespace) -> int:
    found = find_releases(runs())
    with _store() as sessions, writing(sessions) as session:
        name = change(session, found)
        standings = _standings(session, found)
    default = next((one.release.name for one in standings if one.is_default), None)
    state = _named(standings, name).state
    if arguments.json:
        show_json({"release": name, "state": state, "default": default})
    else:
        print(f"{name} is {state}; {default or 'no release'} answers by default")
    return 0


@contextmanager
def _store() -> Iterator[sessionmaker[Session]]:
    sessions = open_database(database_url(home()))
    try:
        yield sessions
    finally:
        close_database(sessions)


def _actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _standings(session: Session, found: Sequence[FoundRelease]) -> tuple[Standing, ...]:
    return store.standings(session, [one.info for one in found])


def _named(standings: Sequence[Standing], name: str) -> Standing:
    for standing in standings:
        if standing.release.name == name:
            return standing
    names = ", ".join(one.release.name for one in standings) or "none yet"
    raise NotFound(f"there is no release '{name}'; there are: {names}")


def _row(standing: Standing, found: Sequence[FoundRelease]) -> dict[str, Any]:
    release = standing.release
    directory = next(one.path for one in found if one.info is release)
    return {
        "name": release.name,
        "stage": release.stage,
        "run": release.run,
        "created": release.created,
        "state": standing.state,
        "share": standing.share,
        "is_default": standing.is_default,
        "digest": release.digest,
        "directory": str(directory),
    }


def _change(change: store.Change) -> dict[str, Any]:
    return {
        "action": change.action,
        "state": change.state,
        "share": change.share,
        "default": change.default,
        "by": change.actor,
        "at": change.at,
    }


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        print("no release yet")
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        mark = "*" if row["is_default"] else " "
        print(
            f"{mark} {row['name']:<{width}}  {_state(row):<12}  {_moment(row['created'])}  {row['digest'][:12]}"
        )


def _print_details(shown: Mapping[str, Any]) -> None:
    print(f"{shown['name']}  {_state(shown)}{', answers by default' if shown['is_default'] else ''}")
    print(f"directory   {shown['directory']}")
    print(
        f"digest      {shown['digest'][:12]}   checkpoint {shown['checkpoint'][:12]}   data {shown['data'][:12]}"
    )
    parents = [release or digest[:12] for digest, release in shown["parents"].items()]
    print(f"came from   {', '.join(parents) or 'nothing before it'}")
    for name, value in shown["figures"].items():
        print(f"  {name:<32} {value:.4g}")
    for change in shown["history"]:
        print(f"{_moment(change['at'])}  {change['action']} → {_state(change)}  by {change['by']}")


def _state(row: Mapping[str, Any]) -> str:
    return f"{row['state']} {100 * row['share']:g}%" if row["share"] else str(row["state"])


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
