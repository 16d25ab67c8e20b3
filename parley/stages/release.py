"""Releases: a checkpoint with a name and a card, ready to answer people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.artifacts import (
    MANIFEST,
    Checkpoint,
    EvalReport,
    Release,
    RewardCheckpoint,
    Snapshot,
    Workspace,
    read_manifest,
)
from parley.errors import ArtifactError
from parley.ports import ReleaseInfo

CARD: Final = "card.json"


def cut_release(
    out: Workspace,
    policy: Checkpoint,
    report: EvalReport,
    told: Snapshot,
    parents: tuple[Checkpoint | RewardCheckpoint, ...],
    stage: str,
    recipe: str,
) -> Release:
    """A directory that opens in transformers as it is, with `card.json`: name, parents, data, figures."""
    name = f"{recipe}-{stage}"
    for path in policy.path.iterdir():
        if path.is_file() and path.name not in (MANIFEST, "metrics.jsonl") and not path.name.startswith("."):
            shutil.copyfile(path, out.file(path.name))
    shutil.copyfile(report.file("report.json"), out.file("report.json"))
    card = {
        "name": name,
        "stage": stage,
        "checkpoint": policy.digest,
        "parents": list(dict.fromkeys(parent.digest for parent in parents)),
        "data": told.digest,
        "report": report.digest,
        "figures": dict(report.figures),
    }
    out.file(CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    return out.seal(Release, report.figures)


@dataclass(frozen=True, slots=True)
class FoundRelease:
    """A sealed release on disk."""

    info: ReleaseInfo
    path: Path


def find_releases(runs: Path) -> Sequence[FoundRelease]:
    """The sealed releases of all runs below a directory, oldest first."""
    found = (_read(manifest.parent) for manifest in runs.glob(f"*/release-*/{MANIFEST}"))
    ordered = sorted((item for item in found if item), key=lambda item: (item.info.created, item.info.name))
    newest = {item.info.name: item for item in ordered}  # a recipe that was changed cuts a name again
    return [item for item in ordered if newest[item.info.name] is item]


def _read(path: Path) -> FoundRelease | None:
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        manifest = read_manifest(path)
        created, digest = int(manifest["finished"]), str(manifest["digest"])
    except (OSError, ValueError, KeyError, ArtifactError):
        return None
    return FoundRelease(ReleaseInfo(card["name"], card["stage"], path.parent.name, created, digest), path)
