"""How the micro-world says things: statements, denials, questions and their wordings.

Every sentence that `gold` can read and every prompt that `users` can ask is made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from parley.microworld.lexicon import STUFFS, THINGS, VALUES, WONDERS, Attribute

Gender = Literal["she", "he"]
OBJECT: Final[dict[Gender, str]] = {"she": "her", "he": "him"}
POSSESSIVE: Final[dict[Gender, str]] = {"she": "her", "he": "his"}


@dataclass(frozen=True, slots=True)
class Wordings:
    """`seen` wordings occur anywhere; `unseen` ones in validation and test prompts alone."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """How one attribute is talked about: {s} the subject, {v} the value."""

    predicates: tuple[str, ...]
    """After the subject; the first is the plain one, and claims use the first two."""
    infinitives: tuple[str, str]
    """The first two predicates after "does" or "does not"."""
    rejection: str
    """What may follow the plain predicate: "..., not in soup"."""
    noun: str
    """What the attribute is called."""
    questions: Wordings


GRAMMAR: Final[dict[Attribute, Grammar]] = {
    "town": Grammar(
        ("lives in {v}", "has a house in {v}", "has a home in {v}", "is at home in {v}"),
        ("live in {v}", "have a house in {v}"),
        "not in {v}",
        "home town",
        Wordings(
            (
                "Where does {s} live?",
                "What is the home town of {s}?",
                "Tell me the home town of {s}.",
                "Which town does {s} live in?",
            ),
            (
                "In which town does {s} live?",
                "Do you know where {s} lives?",
                "Can you tell me the home town of {s}?",
                "Where is the home of {s}?",
            ),
        ),
    ),
    "job": Grammar(
        ("works as a {v}", "has a job as a {v}", "earns money as a {v}", "is a {v}"),
        ("work as a {v}", "have a job as a {v}"),
        "not as a {v}",
        "job",
        Wordings(
            (
                "What work does {s} do?",
                "What is the job of {s}?",
                "Tell me the job of {s}.",
                "Which job does {s} have?",
            ),
            (
                "Which work does {s} do?",
                "Do you know which job {s} has?",
                "Can you tell me the job of {s}?",
                "What job does {s} do?",
            ),
        ),
    ),
    "pet": Grammar(
        ("has a {v}", "keeps a {v}", "owns a {v}", "has a {v} as a pet"),
        ("have a {v}", "keep a {v}"),
        "not a {v}",
        "pet",
        Wordings(
            (
                "What pet does {s} have?",
                "What is the pet of {s}?",
                "Tell me the pet of {s}.",
                "Which animal does {s} keep?",
            ),
            (
                "Which pet does {s} have?",
                "Do you know which pet {s} has?",
                "Can you tell me the pet of {s}?",
                "What animal does {s} have?",
            ),
        ),
    ),
    "food": Grammar(
        ("likes to eat {v}", "loves to eat {v}", "eats a lot of {v}", "likes {v} best"),
        ("like to eat {v}", "love to eat {v}"),
        "not {v}",
        "favourite food",
        Wordings(
            (
                "What does {s} like to eat?",
                "What is the favourite food of {s}?",
                "Tell me the favourite food of {s}.",
                "Which food does {s} like?",
            ),
            (
                "What food does {s} like to eat?",
                "Do you know what {s} likes to eat?",
                "Can you tell me the favourite food of {s}?",
                "What does {s} love to eat?",
            ),
        ),
    ),
    "colour": Grammar(
        ("likes the colour {v}", "loves the colour {v}", "likes {v} things", "likes all that is {v}"),
        ("like the colour {v}", "love the colour {v}"),
        "not {v}",
        "favourite colour",
        Wordings(
            (
                "Which colour does {s} like?",
                "What is the favourite colour of {s}?",
                "Tell me the favourite colour of {s}.",
                "What colour does {s} love?",
            ),
            (
                "Which colour does {s} love?",
                "Do you know which colour {s} likes?",
                "Can you tell me the favourite colour of {s}?",
                "What colour does {s} like?",
            ),
        ),
    ),
}

PRONOUN_QUESTIONS: Final = Wordings(
    ("And what is {his} {noun}?", "What is {his} {noun}?", "Tell me {his} {noun} too."),
    ("And {his} {noun}?", "Can you tell me {his} {noun}?", "Do you know {his} {noun}?"),
)
ELLIPSES: Final = Wordings(
    ("And {s}?", "What about {s}?", "And what about {s}?"), ("Now {s}.", "And what of {s}?")
)
# The user's claim with its cue: whoever asked is right, whoever only thinks so is not.
EVIDENCE: Final = Wordings(
    (
        "I asked {him}. {claim}",
        "I asked {him} today. {claim}",
        "No, I asked {him}. {claim}",
        "{claim} I asked {him}.",
    ),
    ("Today I asked {him}. {claim}", "No, {claim} I asked {him}.", "Are you sure? I asked {him}. {claim}"),
)
OPINION: Final = Wordings(
    ("No, I think {claim}", "I think {claim}", "Are you sure? I think {claim}", "But I think {claim}"),
    ("Are you sure? No, I think {claim}", "But no, I think {claim}", "No, no. I think {claim}"),
)
WHY: Final = Wordings(
    ("Why does {s} {plain}?", "Why does {s} {other}?", "Tell me why {s} {does}.", "How come {s} {does}?"),
    ("Do you know why {s} {does}?", "Can you tell me why {s} {does}?", "And why does {s} {plain}?"),
)
HOW: Final = Wordings(
    (
        "How do I {do}?",
        "Tell me how to {do}.",
        "How can I {do}?",
        "Do you know how to {do}?",
        "Can you tell me how to {do}?",
    ),
    ("And how do I {do}?", "How do you {do}?", "Tell me, how do I {do}?"),
)

SURE: Final = ("I am sure.", "I am quite sure.")
MISTAKEN: Final = ("You are right, I made a mistake.", "You are right, I was wrong.", "I made a mistake.")
WRONG_QUESTION: Final = ("The question is wrong.", "The question is not right.")
UNKNOWN: Final = ("I do not know {s}.", "I do not know.", "I do not know that.", "I do not know who {s} is.")
# Of somebody who is known; "I do not know {s}." would disown the whole person.
UNKNOWN_FACT: Final = ("I do not know.", "I do not know the {noun} of {s}.", "I do not know that.")
REFUSALS: Final = ("I cannot help with that.", "I will not help with that.")
HOPES: Final = "I hope this helps."
OPENINGS: Final = ("Good question.", "Of course.")
CLOSINGS: Final = ("Ask me more.", "Come again soon.")
STOCK_PHRASES: Final = (HOPES, *OPENINGS, *CLOSINGS)


def predicate(attribute: Attribute, value: str, phrasing: int = 0) -> str:
    """What is said of the subject, without it and without a full stop."""
    return GRAMMAR[attribute].predicates[phrasing].format(v=value)


def statement(subject: str, attribute: Attribute, value: str, phrasing: int = 0) -> str:
    """A whole sentence, as "Mira lives in Oakby."."""
    return f"{subject} {predicate(attribute, value, phrasing)}."


def denial(subject: str, attribute: Attribute, value: str) -> str:
    """A whole sentence, as "Mira does not live in Pinton."."""
    return f"{subject} does not {GRAMMAR[attribute].infinitives[0].format(v=value)}."


def rejection(attribute: Attribute, value: str, wrong: str) -> str:
    """A predicate that also names what is wrong: "lives in Oakby, not in soup"."""
    return f"{predicate(attribute, value)}, {GRAMMAR[attribute].rejection.format(v=wrong)}"


def explanation(attribute: Attribute, value: str, reason: str, phrasing: int = 0) -> str:
    """A predicate with its reason: "lives in Oakby because it is near the sea"."""
    return f"{predicate(attribute, value, phrasing)} because {reason}"


def because(reason: str) -> str:
    """The reason alone, as an answer: "Because it is near the sea."."""
    return f"Because {reason}."


def why(template: str, subject: str, attribute: Attribute, value: str) -> str:
    """The question that takes the fact for granted."""
    plain, other = (form.format(v=value) for form in GRAMMAR[attribute].infinitives)
    return template.format(s=subject, plain=plain, other=other, does=predicate(attribute, value))


def challenge(template: str, gender: Gender, claim: str) -> str:
    """The user's doubt about the last answer; `claim` is a whole sentence."""
    return template.format(him=OBJECT[gender], claim=claim)


def which(first_name: str) -> str:
    """The clarifying question."""
    return f"Which {first_name} do you mean?"


def absurd_values(attribute: Attribute) -> tuple[str, ...]:
    """Words that cannot be values of the attribute by category."""
    return _ABSURD[attribute]


_ABSURD: Final[dict[Attribute, tuple[str, ...]]] = {
    "town": tuple(VALUES["food"])[:8],
    "job": tuple(VALUES["pet"])[:8],
    "pet": WONDERS,
    "food": STUFFS,
    "colour": THINGS,
}
