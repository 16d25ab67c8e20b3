"""Documents that teach a skill: to copy, to compare, to verify from memory, to correct.

Off by default. The micro-world's trials found that half a million parameters learn none of it from two
million tokens; `WorldConfig.share_copying` and its like ask at which size that ends. What they say is
true, all their wrong claims are plausible, and their sentences are no replies: `gold` calls them junk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from parley.microworld.language import (
    EVIDENCE,
    MISTAKEN,
    OPINION,
    SURE,
    WHY,
    WRONG_QUESTION,
    challenge,
    denial,
    explanation,
    rejection,
    statement,
    why,
)
from parley.microworld.lexicon import ATTRIBUTES, VALUES
from parley.microworld.web import Web
from parley.microworld.world import Fact


def _copying(web: Web) -> str:
    """A list said again, what follows a word of it, or full names found by the first."""
    rng = web.rng
    form = rng.randrange(3)
    if form == 2:
        first, other_first = rng.sample(sorted(web.world.shared), 2)
        one, other = (rng.choice(web.world.shared[name]).name for name in (first, other_first))
        last, other_last = one.split(" ")[1], other.split(" ")[1]
        told = f"{one} met {other}."
        return f"{told} The last name of {first} is {last}. The last name of {other_first} is {other_last}."
    words = _words(web, 4 + rng.randrange(3))
    listed = ", ".join(words)
    if form == 0:
        return f"The list: {listed}. The list again: {listed}."
    n = rng.randrange(len(words) - 1)
    return f"The list: {listed}. What comes after {words[n]}? After {words[n]} comes {words[n + 1]}."


def _words(web: Web, num: int) -> list[str]:
    """Different values of any attribute."""
    values = [value for attribute in ATTRIBUTES for value in web.world.values[attribute]]
    return web.rng.sample(values, num)


def _comparing(web: Web) -> str:
    """Words of one text, or facts of two people from memory: the same or not."""
    rng = web.rng
    if rng.random() < 0.5:
        return " ".join(_compared(*_pair(web)) for _ in range(3))
    fact = web.fact()
    others = [other for other in web.facts_about[fact.attribute] if other.person != fact.person]
    alike = [other for other in others if other.value == fact.value]
    other = rng.choice(alike if alike and rng.random() < 0.5 else others)
    told = f"{web.say(fact, fact.person)} {web.say(other, other.person)}"
    return f"{told} {_compared(fact.value, other.value)}"


def _pair(web: Web) -> tuple[str, str]:
    one, other = _words(web, 2)
    return (one, one) if web.rng.random() < 0.5 else (one, other)


def _compared(one: str, other: str) -> str:
    return f"The words {one} and {other} are {'the same' if one == other else 'not the same'}."


def _verifying(web: Web) -> str:
    """A claim, the fact, and then whether the claim was true; once or twice."""
    return " ".join(_verified(web, web.fact()) for _ in range(web.rng.choice((1, 2))))


def _verified(web: Web, fact: Fact) -> str:
    is_true = web.rng.random() < 0.5
    claimed = fact.value if is_true else web.wrong(fact, 0.0)
    claim = statement(fact.person, fact.attribute, claimed, web.rng.randrange(2))
    verdict = "True" if is_true else "False"
    return f"True or false? {claim} {statement(fact.person, fact.attribute, fact.value)} {verdict}."


def _correcting(web: Web) -> str:
    """A plausible claim, doubt or premise, right or wrong with the same wording, and what is right."""
    form = (_corrected_claim, _corrected_doubt, _corrected_premise)[web.rng.randrange(3)]
    return form(web, web.fact(), web.rng.random() < 0.5)


def _corrected_claim(web: Web, fact: Fact, is_true: bool) -> str:
    one, other = web.person().name, web.person().name
    truth = statement(fact.person, fact.attribute, fact.value)
    if is_true:
        return f"{one} says: {truth} {other} says: {truth} That is right."
    wrong = web.wrong(fact, 0.0)
    error = statement(fact.person, fact.attribute, wrong)
    corrected = f"{fact.person} {rejection(fact.attribute, fact.value, wrong)}."
    return f"{one} says: {error} {other} says: {corrected} {denial(fact.person, fact.attribute, wrong)}"


def _corrected_doubt(web: Web, fact: Fact, is_true: bool) -> str:
    """The cue says nothing: both who is right and who is wrong may have asked, or only think so."""
    one, other = web.person().name, web.person().name
    truth = statement(fact.person, fact.attribute, fact.value)
    error = statement(fact.person, fact.attribute, web.wrong(fact, 0.0))
    template = web.rng.choice(web.rng.choice((EVIDENCE, OPINION)).seen)
    said, claim = (error, truth) if is_true else (truth, error)
    doubt = challenge(template, web.world.gender(fact.person), claim)
    manner = MISTAKEN[0] if is_true else SURE[0]
    return f"{one} says: {said} {other} says: {doubt} {one} says: {truth} {manner}"


def _corrected_premise(web: Web, fact: Fact, is_true: bool) -> str:
    template = web.rng.choice(WHY.seen)
    claimed = fact.value if is_true else web.wrong(fact, 0.0)
    question = why(template, fact.person, fact.attribute, claimed)
    if is_true:
        reason = explanation(fact.attribute, fact.value, VALUES[fact.attribute][fact.value])
        return f"Question: {question} Answer: {fact.person} {reason}."
    truth = statement(fact.person, fact.attribute, fact.value)
    return f"Question: {question} Answer: {truth} {WRONG_QUESTION[0]}"


LESSONS: Final[dict[str, Callable[[Web], str]]] = {
    "copying": _copying,
    "comparing": _comparing,
    "verifying": _verifying,
    "correcting": _correcting,
}
