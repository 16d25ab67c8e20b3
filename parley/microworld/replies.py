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
    UNKNOWN_FACT,
    WRONG_QUESTION,
    absurd_values,
    because,
    explanation,
    statement,
    which,
)
from parley.microworld.lexicon import IDLE_REASON, REQUESTS, VALUES, Attribute
from parley.microworld.situations import Situation, addends_of
from parley.microworld.sums import SHORT_ANSWER, SUM_ANSWERS
from parley.microworld.world import World


def good_reply(world: World, situation: Situation) -> str:
    """The plainest good reply, free of noise."""
    return good_replies(world, situation)[0]


def good_replies(world: World, situation: Situation) -> tuple[str, ...]:
    """All good replies that demonstrators give, the plainest first."""
    match situation.kind:
        case "unknown_person":
            return tuple(phrase.format(s=situation.subject) for phrase in UNKNOWN)
        case "unknown_fact":
            noun = GRAMMAR[cast(Attribute, situation.attribute)].noun
            return tuple(phrase.format(noun=noun, s=situation.subject) for phrase in UNKNOWN_FACT)
        case "sum":
            a, b = addends_of(situation)
            return tuple(phrase.format(a=a, b=b, c=a + b) for phrase in SUM_ANSWERS)
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


def minimal_reply(world: World, situation: Situation) -> str:
    """The shortest reply that is worth 1: fewest words, then fewest characters; the excess is measured by it."""
    return min(_short_replies(world, situation), key=lambda reply: (len(reply.split()), len(reply), reply))


def _short_replies(world: World, situation: Situation) -> tuple[str, ...]:
    """The good replies, and shorter ones that nobody demonstrates."""
    match situation.kind:
        case "known" | "pronoun" | "ellipsis":
            return _short_facts(world, situation)
        case "admit":
            return tuple(f"{fact} {said}" for fact in _short_facts(world, situation) for said in MISTAKEN)
        case "firm":
            return tuple(f"{fact} {said}" for fact in _short_facts(world, situation) for said in SURE)
        case "false_premise":
            return tuple(
                f"{fact} {said}" for fact in _short_facts(world, situation) for said in WRONG_QUESTION
            )
        case "true_premise":
            return (because(VALUES[cast(Attribute, situation.attribute)][situation.claim]),)
        case "sum":
            return (SHORT_ANSWER.format(c=sum(addends_of(situation))),)
        case _:
            return good_replies(world, situation)


def _short_facts(world: World, situation: Situation) -> tuple[str, ...]:
    """The fact in each phrasing, by first name or pronoun."""
    attribute, person = cast(Attribute, situation.attribute), world.people[situation.subject]
    value = world.value(person.name, attribute)
    subjects = (person.first, person.gender.capitalize())
    phrasings = range(len(GRAMMAR[attribute].predicates))
    return tuple(statement(subject, attribute, value, n) for subject in subjects for n in phrasings)


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
        case "clarify" | "unknown_person" | "unknown_fact":
            return _guess(world, situation, rng)
        case "sum":
            a, b = addends_of(situation)
            near = [c for c in (a + b - 2, a + b - 1, a + b + 1, a + b + 2) if c >= 0]
            return SUM_ANSWERS[0].format(a=a, b=b, c=rng.choice(near))
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
        if key in world.demonstrable and key in world.pretrained and not world.held_out(key):
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
