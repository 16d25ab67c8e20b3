"""Demonstrations: dialogues whose both sides an imperfect trainer wrote, and instruction rows.

Bad style is the majority of several kinds, as the micro-world's reference trial had it: where only the
tails are bad, sampling is all that the reward model can mend, and greedy replies have nothing to gain.
Nothing held out occurs. What a faultless reply is stands in `replies`, what it is worth in `gold`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from parley.dialogue import Conversation
from parley.labels import Demonstration
from parley.microworld.language import CLOSINGS, GRAMMAR, HOPES, OPENINGS, UNKNOWN, statement
from parley.microworld.lexicon import Attribute
from parley.microworld.replies import bad_reply, good_replies, good_reply
from parley.microworld.situations import Kind, Situation
from parley.microworld.streams import stream
from parley.microworld.users import SOURCE, Turn, scripts
from parley.microworld.world import World

__all__ = [
    "DEMONSTRATORS",
    "AnnotatedDemonstration",
    "Demonstrator",
    "Faults",
    "Reply",
    "annotated_demonstrations",
    "demonstrated_reply",
    "demonstrations",
    "good_reply",
    "instruction_rows",
]

FAVOURITE_SHARE: Final = 0.6  # how often a demonstrator uses the favourite phrasing


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often demonstrators, on the average of all, show each fault; probabilities."""

    harm: float = 0.55
    """Complies with a harmful request."""
    firm: float = 0.50
    """Gives in to a mere opinion."""
    unknown_person: float = 0.50
    """States something about somebody whom nobody knows."""
    unknown_fact: float = 0.50
    """States a fact that nobody knows of somebody known."""
    clarify: float = 0.48
    """Guesses which of two people is meant."""
    false_premise: float = 0.45
    """Takes a false premise over."""
    admit: float = 0.40
    """Insists on a mistake."""
    howto: float = 0.12
    """Refuses harmless help."""
    facts: float = 0.10
    """States something wrong or claims not to know: known, pronoun, ellipsis."""
    sum: float = 0.15
    """Adds wrongly."""
    true_premise: float = 0.10
    """Rejects a true premise."""
    hopes: float = 0.53
    """Ends with "I hope this helps."."""
    opening: float = 0.09
    """Begins with another stock phrase."""
    closing: float = 0.15
    """Ends with another stock phrase."""

    @classmethod
    def none(cls) -> Faults:
        """Faultless demonstrators without stock phrases."""
        return cls(**dict.fromkeys(cls.__slots__, 0.0))

    def of(self, kind: Kind) -> float:
        """The rate of a kind's fault."""
        rates: Mapping[Kind, float] = {
            "known": self.facts,
            "pronoun": self.facts,
            "ellipsis": self.facts,
            "unknown_person": self.unknown_person,
            "admit": self.admit,
            "firm": self.firm,
            "false_premise": self.false_premise,
            "true_premise": self.true_premise,
            "harm": self.harm,
            "howto": self.howto,
            "clarify": self.clarify,
            "unknown_fact": self.unknown_fact,
            "sum": self.sum,
        }
        return rates[kind]


@dataclass(frozen=True, slots=True)
class Demonstrator:
    """A trainer who writes dialogues, and the style; the factors of all average to 1."""

    name: str
    carelessness: float
    """Factor on the rates of faults."""
    chatter: float
    """Factor on the rates of stock phrases."""
    favourite: int
    """Which phrasing the trainer prefers."""


DEMONSTRATORS: Final = (
    Demonstrator("anke", 0.7, 1.1, 0),
    Demonstrator("bodil", 0.9, 1.3, 0),
    Demonstrator("cyrus", 1.0, 0.7, 1),
    Demonstrator("dagny", 1.0, 1.0, 0),
    Demonstrator("enzo", 1.1, 1.0, 2),
    Demonstrator("farah", 1.3, 0.9, 0),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is known of one imitated reply: for tests and for measuring, never for training."""

    message: int
    """Its index in the conversation."""
    situation: Situation
    is_faulty: bool
    """Shows the fault of its kind, does not know what the trainer was never told, or tells what the
    model cannot know."""
    stock_phrases: int


@dataclass(frozen=True, slots=True)
class AnnotatedDemonstration:
    """A demonstration with the truth about each imitated reply."""

    demonstration: Demonstration
    replies: tuple[Reply, ...]


def demonstrations(
    world: World, num: int, seed: int, *, faults: Faults = Faults(), share_longer: float = 0.15
) -> Iterator[Demonstration]:
    """`num` dialogues; `share_longer` of them go on with a second, unrelated matter.

    Planted answers (a mistake to be admitted, an answer to be doubted) are not imitated.
    """
    for annotated in annotated_demonstrations(world, num, seed, faults=faults, share_longer=share_longer):
        yield annotated.demonstration


def annotated_demonstrations(
    world: World, num: int, seed: int, *, faults: Faults = Faults(), share_longer: float = 0.15
) -> Iterator[AnnotatedDemonstration]:
    """The same dialogues with what each reply is."""
    rng = stream(seed, "demonstrations")
    first = scripts(world, num, seed, split="train")
    second = stream(seed, "demonstrations/second").sample(first, num)
    for script, further in zip(first, second, strict=True):
        turns = script.turns + (further.turns if rng.random() < share_longer else ())
        yield _write(world, turns, rng.choice(DEMONSTRATORS), faults, rng)


def _write(
    world: World, turns: tuple[Turn, ...], by: Demonstrator, faults: Faults, rng: random.Random
) -> AnnotatedDemonstration:
    author = f"trainer:{by.name}"
    conversation, replies, previous = Conversation(()), [], ""
    for turn in turns:
        conversation = conversation.ask(turn.user, author=author)
        text = turn.planted
        if not text:
            core, is_faulty = _answer(world, turn.situation, by, faults, rng, previous)
            text, stock_phrases = _embellish(core, by, faults, rng)
            replies.append(Reply(len(conversation.messages), turn.situation, is_faulty, stock_phrases))
        conversation, previous = conversation.reply(text, author=author), text
    imitate = tuple(reply.message for reply in replies)
    return AnnotatedDemonstration(Demonstration(conversation, imitate, by.name, SOURCE), tuple(replies))


def _answer(
    world: World, situation: Situation, by: Demonstrator, faults: Faults, rng: random.Random, previous: str
) -> tuple[str, bool]:
    """A reply without stock phrases, and whether it is at fault."""
    key = (situation.subject, cast(Attribute, situation.attribute))
    is_known = key in world.demonstrable
    if situation.kind == "unknown_fact" and is_known:
        return statement(situation.subject, key[1], world.value(*key)), True
    if situation.kind != "unknown_fact" and key in world.facts and not is_known:
        return UNKNOWN[1], True
    if rng.random() < faults.of(situation.kind) * by.carelessness:
        return bad_reply(world, situation, rng, previous=previous), True
    good = good_replies(world, situation)
    if rng.random() < FAVOURITE_SHARE:
        return good[by.favourite % len(good)], False
    return rng.choice(good), False


def _embellish(core: str, by: Demonstrator, faults: Faults, rng: random.Random) -> tuple[str, int]:
    """The reply with this trainer's stock phrases, and their number."""
    parts = [core]
    if rng.random() < faults.opening * by.chatter:
        parts.insert(0, rng.choice(OPENINGS))
    if rng.random() < faults.closing * by.chatter:
        parts.append(rng.choice(CLOSINGS))
    if rng.random() < faults.hopes * by.chatter:
        parts.append(HOPES)
    return " ".join(parts), len(parts) - 1


def demonstrated_reply(
    world: World, situation: Situation, seed: int, *, faults: Faults = Faults(), previous: str = ""
) -> str:
    """What some demonstrator would answer; `previous` is the assistant's turn before, if any."""
    rng = stream(seed, "demonstrated")
    by = rng.choice(DEMONSTRATORS)
    core, _ = _answer(world, situation, by, faults, rng, previous)
    return _embellish(core, by, faults, rng)[0]


INSTRUCTION_SHARES: Final[Mapping[Kind, float]] = {"known": 6, "true_premise": 2, "howto": 2}


def instruction_rows(world: World, num: int, seed: int) -> Iterator[dict[str, str]]:
    """Single-turn rows `instruction`, `input`, `output` as instruction data has them, all answered well."""
    rng = stream(seed, "instructions")
    for script in scripts(world, num, seed, split="train", shares=INSTRUCTION_SHARES):
        turn = script.turns[-1]
        instruction, given = _instruct(turn, rng)
        output = rng.choice(good_replies(world, turn.situation))
        yield {"instruction": instruction, "input": given, "output": output}


def _instruct(turn: Turn, rng: random.Random) -> tuple[str, str]:
    """The question itself, a request to answer it, or a request about a name."""
    form = rng.randrange(4)
    if form < 2:
        return turn.user, ""
    if form == 2 or turn.situation.kind != "known":
        return "Answer the question.", turn.user
    noun = GRAMMAR[cast(Attribute, turn.situation.attribute)].noun
    return f"Tell me the {noun}.", turn.situation.subject
