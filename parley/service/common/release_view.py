"""The seam through which the service sees what a release is made of. `cli` reads it from its directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from parley.errors import NotFound


@dataclass(frozen=True, slots=True)
class Parent:
    """A checkpoint that a release came from; `release` is its release's name, "" where none is known."""

    digest: str
    release: str


@dataclass(frozen=True, slots=True)
class ReleaseDetails:
    """Where a release came from and what it was measured to do. `finished` is in seconds since 1970."""

    name: str
    checkpoint: str
    """Digest of the weights."""
    data: str
    """Digest of the snapshot that it learnt from."""
    parents: tuple[Parent, ...]
    figures: Mapping[str, float]
    seed: int
    commit: str
    finished: int


class ReleaseView(Protocol):
    """What lies in the releases' directories."""

    def details(self, name: str) -> ReleaseDetails:
        """What one release is made of. `NotFound` where its directory has no readable card."""
        ...

    def card(self, name: str) -> str:
        """Its card, a whole HTML page without scripts. `NotFound` likewise."""
        ...


class NoReleaseView:
    """Nothing is known of any release but that it answers."""

    def details(self, name: str) -> ReleaseDetails:
        """`NotFound`."""
        raise _nothing_known(name)

    def card(self, name: str) -> str:
        """`NotFound`."""
        raise _nothing_known(name)


def _nothing_known(name: str) -> NotFound:
    return NotFound(f"Nothing is known of the release {name} but that it answers.")
