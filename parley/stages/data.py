"""Snapshots: what a source tells, sealed; and the reading of it that every stage shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from parley.artifacts import Artifact, RankingSet, Snapshot, Workspace
from parley.config import build, plain
from parley.labels import Demonstration, Document, Prompt, Ranking
from parley.microworld.gold import Judgement, judge
from parley.microworld.situations import Situation
from parley.microworld.world import World, WorldConfig
from parley.stages.files import FilesSource
from parley.stages.hygiene.findings import HYGIENE, read_findings, save_findings
from parley.stages.hygiene.settings import FilesData
from parley.stages.records import (
    demonstration_of,
    demonstration_row,
    document_of,
    document_row,
    prompt_of,
    prompt_row,
    ranking_of,
    ranking_row,
    read_rows,
    write_rows,
)
from parley.stages.sources import MicroworldData, MicroworldSource, Source
from parley.stages.store_source import StoreData, StoreSource

T = TypeVar("T")

WORLD: Final = "world.json"
LINEAGE: Final = "lineage.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a run learns from."""

    source: Literal["microworld", "files", "store"] = "microworld"
    """The embedded world, files of people's words, or what people told the service and files beside it."""
    microworld: MicroworldData = field(default_factory=MicroworldData)
    """Read where `source` is microworld."""
    files: FilesData = field(default_factory=FilesData)
    """Read where `source` is files or store."""
    store: StoreData = field(default_factory=StoreData)
    """Read where `source` is store."""


def source_of(config: DataConfig, seed: int) -> Source:
    """The source that a recipe's data section names."""
    if config.source == "microworld":
        return MicroworldSource(config.microworld, seed)
    if config.source == "store":
        return StoreSource(config.store, config.files, seed)
    return FilesSource(config.files, seed)


def take_snapshot(out: Workspace, source: Source) -> Snapshot:
    """Everything the source tells, as of now, as JSON lines."""
    told = source.tell()
    counts = {
        "documents": _write(out, "documents", told.documents, document_row),
        "documents held out": _write(out, "documents-held-out", told.documents_held_out, document_row),
        "demonstrations": _write(out, "demonstrations", told.demonstrations, demonstration_row),
        "demonstrations held out": _write(
            out, "demonstrations-held-out", told.demonstrations_held_out, demonstration_row
        ),
        "rankings": _write(out, "rankings", told.rankings, ranking_row),
        "rankings held out": _write(out, "rankings-held-out", told.rankings_held_out, ranking_row),
        "prompts": _write(out, "prompts", told.prompts, prompt_row),
        "prompts held out": _write(out, "prompts-held-out", told.prompts_held_out, prompt_row),
    }
    if isinstance(source, MicroworldSource):
        world = {"config": plain(source.data.world), "seed": source.seed}
        out.file(WORLD).write_text(json.dumps(world), encoding="utf-8")
    if told.hygiene is not None:
        save_findings(told.hygiene, out.file(HYGIENE))
        counts |= {name: getattr(told.hygiene, name) for name in ("rejected", "dropped", "private")}
    if isinstance(source, StoreSource):
        counts["items of the store"] = write_rows(out.file(LINEAGE), source.lineage())
    return out.seal(Snapshot, {name: float(count) for name, count in counts.items()})


def documents_of(told: Snapshot, *, held_out: bool = False) -> Iterator[Document]:
    """Plain texts for pretraining, or those kept apart."""
    return read_rows(_file(told, "documents", held_out), document_of)


def demonstrations_of(told: Snapshot, *, held_out: bool = False) -> Iterator[Demonstration]:
    """Dialogues to imitate, or those kept apart."""
    return read_rows(_file(told, "demonstrations", held_out), demonstration_of)


def rankings_of(told: Snapshot | RankingSet, *, held_out: bool = False) -> Iterator[Ranking]:
    """Rankings to learn from, or those kept apart."""
    return read_rows(_file(told, "rankings", held_out), ranking_of)


def people_held_out_of(told: Snapshot) -> frozenset[str]:
    """Trainers of whom nothing is learnt: their rankings tell how a reward model does with new people."""
    path = told.file(HYGIENE)
    return frozenset(read_findings(path).people.held_out) if path.exists() else frozenset()


@lru_cache(maxsize=4)
def _prompts(path: Path) -> tuple[Prompt, ...]:
    return tuple(read_rows(path, prompt_of))


def prompts_of(told: Snapshot, *, held_out: bool = False) -> Sequence[Prompt]:
    """Histories that wait for a reply."""
    return _prompts(_file(told, "prompts", held_out))


def world_of(told: Snapshot) -> World | None:
    """The micro-world that the snapshot was told by; None for people's words."""
    return _world(told.file(WORLD))


@lru_cache(maxsize=4)
def _world(path: Path) -> World | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return World.build(build(WorldConfig, found["config"], str(path)), int(found["seed"]))


def judged(world: World, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Judgement]:
    """The world's exact judgement of each reply."""
    return [
        judge(world, Situation.of_text(prompt.situation), reply)
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def group_of(prompt: Prompt) -> str:
    """What kind of prompt it is: the behaviour in the micro-world, the source of people's words."""
    return Situation.of_text(prompt.situation).kind if prompt.situation else prompt.source


def gold_scores(told: Snapshot, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float] | None:
    """The exact utility of each reply where there is a truth; None for people's words."""
    world = world_of(told)
    return None if world is None else [item.utility for item in judged(world, prompts, replies)]


def _file(artifact: Artifact, name: str, held_out: bool) -> Path:
    return artifact.file(f"{name}-held-out.jsonl" if held_out else f"{name}.jsonl")


def _write(out: Workspace, name: str, items: Iterable[T], row: Callable[[T], dict[str, Any]]) -> int:
    return write_rows(out.file(f"{name}.jsonl"), (row(item) for item in items))
