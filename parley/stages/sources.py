"""Where a recipe's data comes from: what a source is, and the micro-world as one.

A `Source` tells everything once; `data.take_snapshot` seals it. Files of people's words are a source in
`stages.files`, what people told the service is one in `stages.store_source`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from parley.config import check_bounds, plain
from parley.dialects import instruct
from parley.labels import Demonstration, Document, Prompt, Ranking
from parley.microworld.dialogues import demonstrations, instruction_rows
from parley.microworld.documents import documents
from parley.microworld.users import scripted_prompt, scripts
from parley.microworld.world import World, WorldConfig
from parley.stages.hygiene.findings import Findings


@dataclass(frozen=True, slots=True)
class Told:
    """What a source told us; `hygiene` says what of people's files was left out."""

    documents: Iterable[Document]
    documents_held_out: Iterable[Document]
    demonstrations: Iterable[Demonstration]
    demonstrations_held_out: Iterable[Demonstration]
    rankings: Iterable[Ranking]
    rankings_held_out: Iterable[Ranking]
    prompts: Iterable[Prompt]
    prompts_held_out: Iterable[Prompt]
    hygiene: Findings | None = None


class Source(Protocol):
    """Somebody who tells us something."""

    def fingerprint(self) -> Mapping[str, Any]:
        """What the content of the snapshot is a function of."""
        ...

    def tell(self) -> Told:
        """Everything, as of now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroworldData:
    """How much the micro-world tells."""

    world: WorldConfig = field(default_factory=WorldConfig)
    """Size of the world and how its facts are split."""
    documents: int = 60_000
    """Documents for pretraining."""
    demonstrations: int = 9_000
    """Both-sides dialogues by trainers."""
    instructions: int = 1_000
    """Instruction rows turned into dialogue."""
    prompts: int = 6_000
    """Scripts of simulated users whose last turns PPO answers."""

    def __post_init__(self) -> None:
        check_bounds(
            self, documents=(1, inf), demonstrations=(1, inf), instructions=(0, inf), prompts=(1, inf)
        )


@dataclass(frozen=True, slots=True)
class MicroworldSource:
    """The embedded world with exact truth; a function of its numbers and a seed."""

    data: MicroworldData
    seed: int

    def fingerprint(self) -> Mapping[str, Any]:
        """The numbers and the seed."""
        return {"microworld": plain(self.data), "seed": self.seed}

    @property
    def world(self) -> World:
        """The world itself."""
        return World.build(self.data.world, self.seed)

    def tell(self) -> Told:
        """Documents, demonstrations with instruction rows among them, prompts; nobody ranked yet."""
        world, data, seed = self.world, self.data, self.seed
        train = scripts(world, data.prompts, seed, split="train")
        unseen = scripts(world, 330, seed, split="validation")
        return Told(
            documents(world, data.documents, seed),
            documents(world, max(20, data.documents // 50), seed + 1),
            [*demonstrations(world, data.demonstrations, seed), *self._instructions(world)],
            demonstrations(world, max(20, data.demonstrations // 20), seed + 1),
            (),
            (),
            [scripted_prompt(world, script) for script in train],
            [scripted_prompt(world, script) for script in unseen],
        )

    def _instructions(self, world: World) -> Iterator[Demonstration]:
        for row in instruction_rows(world, self.data.instructions, self.seed):
            yield from instruct.to_dialogue(row)
