"""Simulated trainers who rank replies: they see the gold utility through noise, habits and faults.

    observed = utility + noise_sd * N(0, 1) + length_bias * ln(words) + agreement_bias * [agrees]

A careless trainer ranks at random, an adversarial one upside down. Ties: replies are sorted by the
observed utility and grouped from the best down; a reply ties with the group while it is less than
`tie_margin` below the group's *best*. (Chains of near neighbours would join what is far apart.)
Equal texts are one reply to a trainer: they share their noise and always tie.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log
from typing import Final, Literal

from parley.errors import ConfigError
from parley.labels import Ranks
from parley.microworld.gold import judge
from parley.microworld.sentences import Act, Sentences, sentences_of
from parley.microworld.situations import Situation
from parley.microworld.streams import stream
from parley.microworld.world import World

Sort = Literal["careful", "careless", "adversarial"]
NAMES: Final = ("gitte", "hamid", "ilse", "jorge", "kaja", "leila", "mads", "nuria", "orla", "piet")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """Who is on the panel and how well they see."""

    num_trainers: int = 10
    """Size of the panel, at least 1."""
    noise_sd: float = 0.15
    """Standard deviation of the noise, in units of utility; 0 or more."""
    tie_margin: float = 0.2
    """Replies closer than this, in units of utility, tie; 0 or more."""
    length_bias: float = 0.0
    """Utility per natural logarithm of the number of words."""
    agreement_bias: float = 0.0
    """Utility for agreeing with what the user claims."""
    share_careless: float = 0.0
    """Share of the panel that ranks at random."""
    share_adversarial: float = 0.0
    """Share of the panel that ranks upside down. With the above at most 1."""

    def __post_init__(self) -> None:
        if self.num_trainers < 1:
            raise ConfigError(f"num_trainers must be 1 or more, not {self.num_trainers}")
        if min(self.noise_sd, self.tie_margin, self.share_careless, self.share_adversarial) < 0:
            raise ConfigError("noise_sd, tie_margin and the shares of trainers must be 0 or more")
        if self.share_careless + self.share_adversarial > 1:
            raise ConfigError("share_careless and share_adversarial may sum to 1 at most")


@dataclass(frozen=True, slots=True)
class Trainer:
    """One named member of the panel."""

    name: str
    sort: Sort


@dataclass(frozen=True, slots=True)
class Panel:
    """The trainers who share the ranking."""

    config: TrainerConfig
    trainers: tuple[Trainer, ...]

    @classmethod
    def build(cls, config: TrainerConfig, seed: int) -> Panel:
        """A panel with the shares rounded to whole trainers; which are which the seed decides."""
        careless = round(config.share_careless * config.num_trainers)
        adversarial = min(
            round(config.share_adversarial * config.num_trainers), config.num_trainers - careless
        )
        sorts: list[Sort] = ["careful"] * (config.num_trainers - careless - adversarial)
        sorts.extend(["careless"] * careless)
        sorts.extend(["adversarial"] * adversarial)
        stream(seed, "panel").shuffle(sorts)
        return cls(config, tuple(Trainer(_name(n), sort) for n, sort in enumerate(sorts)))

    def rank(
        self, world: World, situation: Situation, replies: Sequence[str], seed: int
    ) -> tuple[Ranks, str]:
        """One trainer's ranks of the replies (1 is best), and the trainer's name."""
        trainer = stream(seed, "rank/trainer").choice(self.trainers)
        return self.rank_by(trainer, world, situation, replies, seed), trainer.name

    def rank_by(
        self, trainer: Trainer, world: World, situation: Situation, replies: Sequence[str], seed: int
    ) -> Ranks:
        """This trainer's ranks of the replies; another seed is another day."""
        texts = sorted(set(replies))  # sorted: a set's order differs between processes
        rng = stream(seed, "rank/noise")
        seen = {text: self._observe(world, situation, text, trainer, rng) for text in texts}
        ranks = grouped(seen, self.config.tie_margin)
        return Ranks(tuple(ranks[reply] for reply in replies))

    def _observe(
        self, world: World, situation: Situation, reply: str, trainer: Trainer, rng: random.Random
    ) -> float:
        noise = rng.gauss(0.0, 1.0)
        if trainer.sort == "careless":
            return noise
        config = self.config
        utility = judge(world, situation, reply).utility
        seen = utility + config.noise_sd * noise
        seen += config.length_bias * log(max(1, len(reply.split())))
        seen += config.agreement_bias * agrees(world, situation, reply)
        return -seen if trainer.sort == "adversarial" else seen


def grouped(seen: Mapping[str, float], margin: float) -> dict[str, int]:
    """Dense ranks from the best down; a group spans less than the margin from its best (0: no width)."""
    ranks: dict[str, int] = {}
    rank, best = 0, float("inf")
    for text in sorted(seen, key=lambda text: (-seen[text], text)):
        gap = round(best - seen[text], 9) if rank else margin  # rounded: 1.0 - 0.8 is a whole 0.2
        if rank == 0 or (gap > 0 and gap >= margin):
            rank, best = rank + 1, seen[text]
        ranks[text] = rank
    return ranks


def agrees(world: World, situation: Situation, reply: str) -> bool:
    """Whether the reply tells the user that they are right, states what they claim, or gives a reason for it."""
    found = (Sentences.of(world).read(sentence) for sentence in sentences_of(reply))
    return any(_is_agreement(world, situation, subject, act) for subject, act in filter(None, found))


def _is_agreement(world: World, situation: Situation, subject: str, act: Act) -> bool:
    if act.says == "admits":
        return True
    if not situation.claim:
        return False
    if act.says == "reason":
        return situation.kind in ("false_premise", "true_premise")
    first = situation.subject.partition(" ")[0]
    is_same = subject in (situation.subject, first, world.gender(situation.subject).capitalize())
    return is_same and act.says in ("fact", "explanation") and act.value == situation.claim


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How often two trainers order two replies alike."""

    alike: int
    """Pairs of replies that both order the same way."""
    pairs: int
    """Pairs of replies that neither ties."""

    @property
    def share(self) -> float:
        """From 0 to 1; 0 where there are no pairs."""
        return self.alike / self.pairs if self.pairs else 0.0


def pair_agreement(
    world: World,
    config: TrainerConfig,
    situations: Sequence[Situation],
    replies: Sequence[Sequence[str]],
    *,
    seed: int = 0,
) -> PairAgreement:
    """Each situation's replies are ranked by two trainers of the panel, drawn by seed.

    Human labellers agree on about 73% of such pairs: raise `noise_sd` until a panel does. The same
    seed draws the same trainers and noise for every `noise_sd`, so the search is smooth.
    """
    panel = Panel.build(config, seed)
    if len(panel.trainers) < 2:
        raise ConfigError("agreement is between two trainers, the panel has one; raise num_trainers")
    alike = pairs = 0
    for n, (situation, texts) in enumerate(zip(situations, replies, strict=True)):
        rng = stream(seed, f"agreement/{n}")
        one, other = (
            panel.rank_by(trainer, world, situation, texts, rng.getrandbits(48)).values
            for trainer in rng.sample(panel.trainers, 2)
        )
        for i, j in combinations(range(len(texts)), 2):
            order = (one[i] - one[j]) * (other[i] - other[j])
            alike, pairs = alike + (order > 0), pairs + (order != 0)
    return PairAgreement(alike, pairs)


def _name(number: int) -> str:
    """NAMES, then NAMES with a number."""
    lap, index = divmod(number, len(NAMES))
    return NAMES[index] if lap == 0 else f"{NAMES[index]}-{lap + 1}"
