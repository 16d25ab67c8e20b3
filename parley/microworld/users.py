"""What simulated users say to the chatbot: short scripts, each ending in the turn that is judged.

The shares of the kinds hold in every stretch of scripts (exactly in any 53 of the default shares), and
the contrast pairs run through the same facts in the same order: the n-th `admit` and the n-th `firm`
speak of one fact, so do the premises, and harm and how-to of one person. Training scripts mention facts
of the training split only; validation and test are asked about held-out facts, names and sums, half of
them in unseen wordings. What no document states is asked for as `unknown_fact` alone, and no turn
presupposes or mentions it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from parley.dialogue import Conversation
from parley.labels import Prompt
from parley.microworld.language import EVIDENCE, GRAMMAR, OPINION, Wordings, statement
from parley.microworld.lexicon import ATTRIBUTES, REQUESTS, Attribute, Harm
from parley.microworld.replies import good_reply, wrong_value
from parley.microworld.situations import KINDS, Kind, Situation, ask, gender_of, wordings
from parley.microworld.streams import deck, interleave, stream
from parley.microworld.sums import SumKey, sum_subject
from parley.microworld.world import Fact, Split, World

T = TypeVar("T")

SOURCE: Final = "microworld"  # the source of its prompts and demonstrations, the author of planted replies

PROMPT_SHARES: Final[Mapping[Kind, float]] = {
    "known": 3,
    "admit": 3,
    "firm": 3,
    "false_premise": 2.5,
    "true_premise": 2.5,
    "unknown_person": 2,
    "clarify": 2,
    "pronoun": 1.5,
    "ellipsis": 1.5,
    "harm": 1.5,
    "howto": 1.5,
    "unknown_fact": 1.5,
    "sum": 1,
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says and what the reply is judged by."""

    user: str
    situation: Situation
    planted: str
    """The assistant's answer to this turn is put there; "": the model writes it."""


@dataclass(frozen=True, slots=True)
class Script:
    """One user's turns; the last is the one that the script is about."""

    turns: tuple[Turn, ...]

    @property
    def kind(self) -> Kind:
        """What the script is about."""
        return self.turns[-1].situation.kind


@dataclass(frozen=True, slots=True)
class Cues:
    """How far the wording gives the truth away; shares from 0 to 1, as in `WorldConfig`."""

    doubts: float
    """Doubts whose wording tells who is right; the others swap evidence and opinion."""
    absurd_mistakes: float
    """Planted mistakes that are absurd."""
    absurd_premises: float
    """False premises that are absurd."""

    @classmethod
    def of(cls, world: World) -> Cues:
        """Those of the world's config."""
        config = world.config
        return cls(config.cue_share, config.absurd_share_mistakes, config.absurd_share_premises)


def scripts(
    world: World,
    num: int,
    seed: int,
    *,
    split: Split,
    shares: Mapping[Kind, float] = PROMPT_SHARES,
    cues: Cues | None = None,
) -> tuple[Script, ...]:
    """`num` scripts in the given shares, with the world's own cues or others; the first ones do not
    depend on `num`. Where documents state every fact, the other kinds share what `unknown_fact` has."""
    draw = _Draw(world, seed, split, cues or Cues.of(world))
    askable = {
        kind: share for kind, share in shares.items() if kind != "unknown_fact" or world.unstated(split)
    }
    return tuple(_WRITERS[kind](draw) for kind in interleave(askable or shares, num))


def scripted_prompt(world: World, script: Script) -> Prompt:
    """The history with planted or good replies, up to the last user turn."""
    conversation = Conversation(())
    for turn in script.turns[:-1]:
        reply = turn.planted or good_reply(world, turn.situation)
        conversation = conversation.ask(turn.user).reply(reply, author=SOURCE)
    last = script.turns[-1]
    return Prompt(conversation.ask(last.user), SOURCE, last.situation.to_text())


class _Draw:
    """The streams that one set of scripts is drawn from."""

    def __init__(self, world: World, seed: int, split: Split, cues: Cues) -> None:
        self.world, self._seed, self._split, self.cues = world, seed, split, cues
        self._taught = world.stated("train")
        self._asked: Counter[Kind] = Counter()
        names = [name for name, its in world.name_splits.items() if its == split]
        self.rngs = {kind: stream(seed, f"scripts/{split}/{kind}") for kind in KINDS}
        self.facts = {kind: self._deck(_CONTRAST.get(kind, kind), self._facts(kind)) for kind in KINDS}
        self.sums = self._deck("sums", _ordered(key for key, its in world.sum_splits.items() if its == split))
        self.strangers = self._deck("strangers", _asked(name for name in names if name in world.unknown))
        self.shared = self._deck("shared", _asked(name for name in names if name in world.shared))
        targets = [name for name, its in world.target_splits.items() if its == split]
        self.targets = {kind: self._deck("targets", targets) for kind in ("harm", "howto")}
        self.requests = {kind: self._deck("requests", list(REQUESTS[kind])) for kind in REQUESTS}

    def _facts(self, kind: Kind) -> Sequence[Fact]:
        """What a kind may ask: the unstated facts or the stated ones, with something to ask before."""
        if kind == "unknown_fact":
            return self.world.unstated(self._split)
        facts = self.world.stated(self._split)
        if kind != "pronoun":
            return facts
        return [fact for fact in facts if self._others(fact, same_person=True)]

    def _deck(self, label: str, items: Sequence[T]) -> Iterator[T]:
        return deck(items, stream(self._seed, f"scripts/{self._split}/deck/{label}"))

    def wording(self, situation: Situation, choice: Wordings) -> tuple[str, Situation]:
        """A template, and the situation with a note whether it is unseen: every other one of a kind."""
        self._asked[situation.kind] += 1
        unseen = self._split != "train" and self._asked[situation.kind] % 2 == 0
        template = self.rngs[situation.kind].choice(choice.unseen if unseen else choice.seen)
        return template, replace(situation, unseen_wording=unseen)

    def other_fact(self, kind: Kind, fact: Fact, *, same_person: bool) -> Fact:
        """A training fact for the turn before: of that person, or of that attribute with another value."""
        return self.rngs[kind].choice(self._others(fact, same_person=same_person))

    def _others(self, fact: Fact, *, same_person: bool) -> list[Fact]:
        return [
            other
            for other in self._taught
            if (other.person == fact.person) == same_person
            and (other.attribute == fact.attribute) != same_person
            and (same_person or other.value != fact.value)
        ]


_CONTRAST: Final[Mapping[Kind, str]] = {
    "admit": "doubts",
    "firm": "doubts",
    "false_premise": "premises",
    "true_premise": "premises",
}


def _asked(names: Iterator[str]) -> list[tuple[str, Attribute]]:
    return [(name, attribute) for name in names for attribute in ATTRIBUTES]


def _ordered(keys: Iterator[SumKey]) -> list[tuple[int, int]]:
    """Both orders of each sum."""
    return [pair for a, b in keys for pair in dict.fromkeys(((a, b), (b, a)))]


def _turn(draw: _Draw, situation: Situation) -> Turn:
    """The judged turn in a drawn wording."""
    template, noted = draw.wording(situation, wordings(situation))
    return Turn(ask(template, noted, gender_of(noted)), noted, "")


def _opening(rng: random.Random, world: World, fact: Fact, planted: str = "") -> Turn:
    """A first question in a seen wording."""
    template = rng.choice(GRAMMAR[fact.attribute].questions.seen)
    situation = Situation("known", fact.person, fact.attribute)
    return Turn(ask(template, situation, world.gender(fact.person)), situation, planted)


def _known(draw: _Draw) -> Script:
    fact = next(draw.facts["known"])
    return Script((_turn(draw, Situation("known", fact.person, fact.attribute)),))


def _unknown_person(draw: _Draw) -> Script:
    name, attribute = next(draw.strangers)
    return Script((_turn(draw, Situation("unknown_person", name, attribute)),))


def _unknown_fact(draw: _Draw) -> Script:
    fact = next(draw.facts["unknown_fact"])
    return Script((_turn(draw, Situation("unknown_fact", fact.person, fact.attribute)),))


def _sum(draw: _Draw) -> Script:
    return Script((_turn(draw, Situation("sum", sum_subject(*next(draw.sums)))),))


def _clarify(draw: _Draw) -> Script:
    first_name, attribute = next(draw.shared)
    return Script((_turn(draw, Situation("clarify", first_name, attribute)),))


def _pronoun(draw: _Draw) -> Script:
    fact = next(draw.facts["pronoun"])
    before = draw.other_fact("pronoun", fact, same_person=True)
    opening = _opening(draw.rngs["pronoun"], draw.world, before)
    return Script((opening, _turn(draw, Situation("pronoun", fact.person, fact.attribute))))


def _ellipsis(draw: _Draw) -> Script:
    fact = next(draw.facts["ellipsis"])
    opening = _opening(
        draw.rngs["ellipsis"], draw.world, draw.other_fact("ellipsis", fact, same_person=False)
    )
    return Script((opening, _turn(draw, Situation("ellipsis", fact.person, fact.attribute))))


def _admit(draw: _Draw) -> Script:
    fact, rng = next(draw.facts["admit"]), draw.rngs["admit"]
    share = draw.cues.absurd_mistakes
    wrong = wrong_value(draw.world, fact.person, fact.attribute, rng, absurd_share=share)
    return _doubt(draw, "admit", fact, answered=wrong, claimed=fact.value)


def _firm(draw: _Draw) -> Script:
    fact, rng = next(draw.facts["firm"]), draw.rngs["firm"]
    wrong = wrong_value(draw.world, fact.person, fact.attribute, rng)
    return _doubt(draw, "firm", fact, answered=fact.value, claimed=wrong)


def _doubt(draw: _Draw, kind: Kind, fact: Fact, *, answered: str, claimed: str) -> Script:
    """The assistant answered; the user doubts it, with evidence when right and with an opinion when not."""
    rng = draw.rngs[kind]
    is_cued = rng.random() < draw.cues.doubts
    choice = EVIDENCE if (kind == "admit") == is_cued else OPINION
    opening = _opening(rng, draw.world, fact, statement(fact.person, fact.attribute, answered))
    template, situation = draw.wording(Situation(kind, fact.person, fact.attribute, claimed), choice)
    claim = statement(fact.person, fact.attribute, claimed, rng.randrange(2))
    doubt = ask(template, situation, draw.world.gender(fact.person), claim)
    return Script((opening, Turn(doubt, situation, "")))


def _false_premise(draw: _Draw) -> Script:
    fact, rng = next(draw.facts["false_premise"]), draw.rngs["false_premise"]
    share = draw.cues.absurd_premises
    wrong = wrong_value(draw.world, fact.person, fact.attribute, rng, absurd_share=share)
    return Script((_turn(draw, Situation("false_premise", fact.person, fact.attribute, wrong)),))


def _true_premise(draw: _Draw) -> Script:
    fact = next(draw.facts["true_premise"])
    return Script((_turn(draw, Situation("true_premise", fact.person, fact.attribute, fact.value)),))


def _harm(draw: _Draw) -> Script:
    return _request(draw, "harm")


def _howto(draw: _Draw) -> Script:
    return _request(draw, "howto")


def _request(draw: _Draw, kind: Harm) -> Script:
    target, request = next(draw.targets[kind]), next(draw.requests[kind])
    return Script((_turn(draw, Situation(kind, target, request=request)),))


_WRITERS: Final[dict[Kind, Callable[[_Draw], Script]]] = {
    "known": _known,
    "unknown_person": _unknown_person,
    "pronoun": _pronoun,
    "ellipsis": _ellipsis,
    "admit": _admit,
    "firm": _firm,
    "false_premise": _false_premise,
    "true_premise": _true_premise,
    "harm": _harm,
    "howto": _howto,
    "clarify": _clarify,
    "unknown_fact": _unknown_fact,
    "sum": _sum,
}
