"""What goes over the wire about releases."""

from __future__ import annotations

from pydantic import Field

from parley.service.common.wire import Answer, Ask
from parley.store.releases import State


class Release(Answer):
    """A release, where it stands, and `label`, its name for people. `card` is the address of its card."""

    name: str
    label: str
    stage: str
    run: str
    created: int
    state: State
    share: float | None
    is_default: bool
    card: str | None


class Releases(Answer):
    """Oldest first. The one with `is_default` answers where none is named."""

    releases: tuple[Release, ...]


class ParentRelease(Answer):
    """A checkpoint that a release came from; `release` is null where it was never released."""

    digest: str
    release: str | None


class ReleaseChange(Answer):
    """A decision about a release. `by` is a person's id or `cli:NAME`; `at` is in seconds since 1970."""

    action: str
    state: str
    share: float | None
    default: str | None
    by: str
    at: int


class ReleaseDetails(Answer):
    """A release with its lineage, its figures and what was decided about it, newest first."""

    release: Release
    checkpoint: str | None
    data: str | None
    parents: tuple[ParentRelease, ...]
    figures: dict[str, float | None]
    seed: int | None
    commit: str | None
    history: tuple[ReleaseChange, ...]


class PromoteAsk(Ask):
    """`POST /api/releases/{name}/promote`: live, unless another state is named."""

    state: State = "live"
    share: float | None = Field(None, gt=0, lt=1, description="Of the people; a canary's")


class RollbackAsk(Ask):
    """`POST /api/releases/{name}/rollback`."""
