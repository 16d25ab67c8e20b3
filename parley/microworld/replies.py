"""What good and bad demonstrators answer: the good one scores exactly 1, the bad one shows the fault.

`good_replies` holds the phrasings that people use; `gold` accepts some more.
"""

from __future__ import annotations

import random
from typing import cast

from parley.microworld.language import (
    GRAMMAR,
    MISTAKEN,
    REFUSALS,
    SURE,
    UNKNOWN,
    WRONG_QUESTION,
    absurd_values,
    explanation,
    statement,
    which,
)
from parley.microworld.lexicon import IDLE_REASON, REQUESTS, VALUES, Attribute
from parley.microworld.situations import Situation
from parley.microworld.world import World


def good_reply(world: World, situation: Situation) -> str:
    """The plainest good reply, free of noise."""
    return good_replies(world, situation)[0]


def good_replies(world: World, situation: Situation) -> tuple[str, ...]:
    """All good replies that demonstrators give, the plainest first."""
    match situation.kind:
        case "unknown_person":
            return tuple(phrase.format(s=situation.subject) for phrase in UNKNOWN)
        case "clarify":
            return (which(situation.subject),)
        case "harm":
            return REFUSALS
        case "howto":
            return REQUESTS["howto"][situation.request]
        case "admit":
            return tuple(f"{fact} {MISTAKEN[0]}" for fact in _facts(world, situation))
        case "firm":
            return tuple(f"{fact} {SURE[0]}" for fact in _facts(world, situation))
        case "false_premise":
            return tuple(f"{fact} {WRONG_QUESTION[0]}" for fact in _facts(world, situation))
        case "true_premise":
            return _explanations(world, situation)
        case "known" | "pronoun" | "ellipsis":
            return _facts(world, situation)


def _facts(world: World, situation: Situation) -> tuple[str, ...]:
    attribute = cast(Attribute, situation.attribute)
    value = world.value(situation.subject, attribute)
    phrasings = range(len(GRAMMAR[attribute].predicates))
    return tuple(statement(_reference(world, situation), attribute, value, n) for n in phrasings)


def _explanations(world: World, situation: Situation) -> tuple[str, ...]:
    attribute = cast(Attribute, situation.attribute)
    value = world.value(situation.subject, attribute)
    reason = VALUES[attribute][value]
    return tuple(f"{situation.subject} {explanation(attribute, value, reason, n)}." for n in range(2))


def _reference(world: World, situation: Situation) -> str:
    """A follow-up with a pronoun is answered with a pronoun."""
    return world.gender(situation.subject).capitalize() if situation.kind == "pronoun" else situation.subject


def bad_reply(world: World, situation: Situation, rng: random.Random, *, previous: str) -> str:
    """The typical fault of a demonstrator; `previous` is the last answer in the conversation, or ""."""
    match situation.kind:
        case "harm":
            return rng.choice(REQUESTS["harm"][situation.request])
        case "howto":
            return rng.choice(REFUSALS)
        case "admit":
            return f"{previous} {SURE[0]}"
        case "firm":
            return f"{_claim(situation)} {MISTAKEN[0]}"
        case "false_premise":
            attribute = cast(Attribute, situation.attribute)
            return f"{situation.subject} {explanation(attribute, situation.claim, IDLE_REASON)}."
        case "true_premise":
            fact = good_reply(world, Situation("known", situation.subject, situation.attribute))
            return f"{fact} {WRONG_QUESTION[0]}"
        case "clarify" | "unknown_person":
            return _guess(world, situation, rng)
        case "known" | "pronoun" | "ellipsis":
            return UNKNOWN[1] if rng.random() < 0.5 else _guess(world, situation, rng)


def _claim(situation: Situation) -> str:
    return statement(situation.subject, cast(Attribute, situation.attribute), situation.claim)


def _guess(world: World, situation: Situation, rng: random.Random) -> str:
    """A wrong value; about one of two people the right one, where the trainer may tell it."""
    attribute = cast(Attribute, situation.attribute)
    if situation.kind == "clarify":
        subject = rng.choice(world.shared[situation.subject]).name
        key = (subject, attribute)
        if key in world.demonstrable and not world.held_out(key):
            return statement(subject, attribute, world.value(subject, attribute))
        return statement(subject, attribute, wrong_value(world, subject, attribute, rng))
    wrong = wrong_value(world, situation.subject, attribute, rng)
    return statement(_reference(world, situation), attribute, wrong)


def wrong_value(
    world: World, subject: str, attribute: Attribute, rng: random.Random, *, absurd_share: float = 0.0
) -> str:
    """A value that is false of the subject, and with the given probability absurd by category."""
    if rng.random() < absurd_share:
        return rng.choice(absurd_values(attribute))
    truths = {world.value(person.name, attribute) for person in world.bearers(subject)}
    return rng.choice([value for value in world.values[attribute] if value not in truths])
