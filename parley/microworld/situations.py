"""What a prompt is about: the kind of behaviour it calls for and what an exact judgement needs.

A `Situation` travels as compact JSON in `labels.Prompt.situation`. The kinds in pairs of contrast:

    known, pronoun, ellipsis   state the fact          unknown_person   say that you do not know
    known   a fact of documents                        unknown_fact     no document has it: say so
    admit   the user asked     correct and admit       firm   the user only thinks so    stand firm
    false_premise              state and challenge     true_premise     state and explain
    harm                       refuse                  howto            help
    clarify   a shared first name: ask which           known, with first and last name: answer
    sum   add two small numbers (without a contrast)

Which of a doubt is which, and that a false premise is absurd, the *wording* tells: small models
compare no two values in a context. `WorldConfig.cue_share` and `absurd_share_premises` take that away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, cast, get_args

from parley.errors import DataError
from parley.microworld.language import (
    ELLIPSES,
    EVIDENCE,
    GRAMMAR,
    HOW,
    OPINION,
    POSSESSIVE,
    PRONOUN_QUESTIONS,
    WHY,
    Gender,
    Wordings,
    challenge,
    statement,
    why,
)
from parley.microworld.lexicon import ATTRIBUTES, REQUESTS, WOMEN, Attribute
from parley.microworld.sums import SUM_QUESTIONS, addends

Kind = Literal[
    "known",
    "unknown_person",
    "pronoun",
    "ellipsis",
    "admit",
    "firm",
    "false_premise",
    "true_premise",
    "harm",
    "howto",
    "clarify",
    "unknown_fact",
    "sum",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a reply is judged by, with the `World`."""

    kind: Kind
    subject: str
    """Whom it is about: a unique name, an unknown one, (clarify) a shared first name, or "3 plus 4"."""
    attribute: Attribute | Literal[""] = ""
    """What is asked about the subject; "" in harm, howto and sum."""
    claim: str = ""
    """The value that the user asserts or takes for granted, true or false; elsewhere ""."""
    request: str = ""
    """A key of `lexicon.REQUESTS` in harm and howto; elsewhere ""."""
    unseen_wording: bool = False
    """Whether the last turn is worded as in no training text."""

    def to_text(self) -> str:
        """Compact JSON, without the fields that hold their default."""
        return json.dumps({k: v for k, v in asdict(self).items() if v}, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> Situation:
        """What `to_text` wrote; raises `DataError` for anything else."""
        try:
            found: Any = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"a situation is JSON, not {text!r}", field="situation") from error
        _check(found)
        return cls(**found)


def _check(found: Any) -> None:
    if not isinstance(found, dict) or not isinstance(found.get("subject"), str):
        raise DataError(f"a situation has a kind and a subject, not {found!r}", field="situation")
    unknown = sorted(set(found) - {entry.name for entry in fields(Situation)})
    if unknown:
        raise DataError(f"a situation has no {unknown[0]!r}", field="situation")
    if found.get("kind") not in KINDS:
        raise DataError(f"no kind {found.get('kind')!r}; there are {', '.join(KINDS)}", field="situation")
    kind: Kind = found["kind"]
    requests = REQUESTS[kind] if kind in ("harm", "howto") else {"": ()}
    if found.get("request", "") not in requests:
        raise DataError(f"{kind} has no request {found.get('request')!r}", field="situation")
    if (found.get("attribute", "") in ATTRIBUTES) == (kind in ("harm", "howto", "sum")):
        raise DataError(f"{kind} with attribute {found.get('attribute')!r}", field="situation")
    if kind == "sum" and addends(found["subject"]) is None:
        raise DataError(f"{found['subject']!r} is no sum", field="situation")


def wordings(situation: Situation) -> Wordings:
    """The templates for the last user turn of this kind."""
    if situation.kind in _OWN_WORDINGS:
        return _OWN_WORDINGS[situation.kind]
    return GRAMMAR[cast(Attribute, situation.attribute)].questions


_OWN_WORDINGS: Final[dict[Kind, Wordings]] = {
    "pronoun": PRONOUN_QUESTIONS,
    "ellipsis": ELLIPSES,
    "admit": EVIDENCE,
    "firm": OPINION,
    "false_premise": WHY,
    "true_premise": WHY,
    "harm": HOW,
    "howto": HOW,
    "sum": SUM_QUESTIONS,
}


def ask(template: str, situation: Situation, gender: Gender, claim: str = "") -> str:
    """The last user turn: `template` filled with the situation; `claim` is a doubt's whole sentence."""
    if situation.kind in ("harm", "howto"):
        return template.format(do=situation.request.format(s=situation.subject))
    if situation.kind == "sum":
        a, b = addends_of(situation)
        return template.format(a=a, b=b)
    if situation.kind in ("admit", "firm"):
        return challenge(template, gender, claim)
    attribute = cast(Attribute, situation.attribute)
    if situation.kind in ("false_premise", "true_premise"):
        return why(template, situation.subject, attribute, situation.claim)
    return template.format(s=situation.subject, his=POSSESSIVE[gender], noun=GRAMMAR[attribute].noun)


def wordings_of(situation: Situation) -> tuple[str, ...]:
    """The last user turn in every wording of its kind: the seen ones, then the unseen ones.

    A doubt carries the cue of its kind, and the claim in its plain phrasing.
    """
    choice, claim = wordings(situation), ""
    if situation.kind in ("admit", "firm"):
        claim = statement(situation.subject, cast(Attribute, situation.attribute), situation.claim)
    templates = (*choice.seen, *choice.unseen)
    return tuple(ask(template, situation, gender_of(situation), claim) for template in templates)


def gender_of(situation: Situation) -> Gender:
    """The gender of whom it is about, by the first name; "he" of a sum, where nothing asks for it."""
    return "she" if situation.subject.partition(" ")[0] in WOMEN else "he"


def addends_of(situation: Situation) -> tuple[int, int]:
    """The numbers of a sum, in the order in which they are asked."""
    found = addends(situation.subject)
    if found is None:
        raise DataError(f"{situation.subject!r} is no sum", field="situation")
    return found
