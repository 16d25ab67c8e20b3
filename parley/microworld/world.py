"""The micro-world: who lives in it, what is true, and who may know which fact.

Three masks lie on the facts: in the pretraining documents, known to demonstrators, and held out
(validation or test: in no demonstration and no training prompt). Each split has the same share of
facts outside the documents; demonstrators have a share of their own for those. Facts are split, not
people: a name that is never a target becomes unsayable for a small model. Names that nobody knows,
shared names, the targets of requests and sums are split as well.

What is *said* about the world stands in `documents`, `users` and `dialogues`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Final, Literal, TypeVar

from parley.errors import ConfigError
from parley.microworld.language import Gender
from parley.microworld.lexicon import ATTRIBUTES, LAST_NAMES, MEN, VALUES, WOMEN, Attribute
from parley.microworld.streams import stream
from parley.microworld.sums import SumKey

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

MAX_NAMES: Final = len(WOMEN) + len(MEN)
MAX_VALUES: Final = min(len(values) for values in VALUES.values())
MAX_HELD_OUT: Final = 2  # facts of one person
MIN_SPLIT_NAMES: Final = 3  # one a split
MAX_LESSONS: Final = 0.8  # of the documents

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """How large the world is and how its facts are split. `WorldConfig.smoke()` is the smallest useful one.

    The shares of absurd claims and of cues change what is said, never what is true: two worlds of one
    seed that differ in nothing else hold the same facts.
    """

    num_unique_people: int = 36
    """Known people with a first name of their own; they are called by it."""
    num_shared_names: int = 20
    """First names that two known people bear; those are called by first and last name."""
    num_unknown_people: int = 24
    """Names of people whom no document mentions."""
    num_values: int = 10
    """Different values an attribute can have (4 to 12)."""
    num_addends: int = 11
    """Sums are of two numbers from 0 to this less 1 (4 to 50)."""
    share_in_pretraining: float = 0.88
    """Share of the facts that documents state, 0 to 1; the others are the unknown facts of known people."""
    share_known_to_demonstrators: float = 1.0
    """Share of the facts in documents that demonstrators know; they say "I do not know." about the others."""
    share_known_beyond_documents: float = 0.0
    """Share of the facts in no document that demonstrators know nevertheless, and tell: the model cannot."""
    share_sums_in_documents: float = 1.0
    """Share of the sums that documents state; the others can only be worked out."""
    share_validation: float = 0.12
    """Share of each attribute's facts that are held out for validation."""
    share_test: float = 0.16
    """Share of each attribute's facts that are held out for the test. With the above at most 0.4. Both
    hold for sums as well."""
    share_validation_names: float = 0.2
    """Share of unknown people, shared names and targets of requests held out for validation."""
    share_test_names: float = 0.25
    """The same for the test. With the above at most 0.6."""
    absurd_share_documents: float = 0.6
    """Share of the wrong claims in documents that are absurd ("in soup"); in "why" questions all are."""
    absurd_share_mistakes: float = 0.5
    """Share of the assistant's planted mistakes that are absurd."""
    absurd_share_premises: float = 1.0
    """Share of the false premises in users' questions that are absurd."""
    cue_share: float = 1.0
    """Share of doubts whose wording tells who is right (evidence or opinion); the others swap the two."""
    share_copying: float = 0.0
    """Share of the documents that teach to copy: lists said again, full names found by the first."""
    share_comparing: float = 0.0
    """Share of the documents that teach to compare: whether two words, or two people's facts, are the same."""
    share_verifying: float = 0.0
    """Share of the documents that judge a claim after stating the fact: "True or false? ..."."""
    share_correcting: float = 0.0
    """Share of the documents that correct a plausible wrong claim or premise. The four sum to 0.8 at most;
    the other documents share the rest as they share the whole without them."""

    def __post_init__(self) -> None:
        self._check_counts()
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not entry.name.startswith("num_") and not 0 <= value <= 1:
                raise ConfigError(f"{entry.name} is a share from 0 to 1, not {value}")
        if self.share_validation + self.share_test > MAX_HELD_OUT / len(ATTRIBUTES):
            raise ConfigError("share_validation and share_test may hold out 0.4 of the facts at most")
        if self.share_validation_names + self.share_test_names > 0.6:
            raise ConfigError("share_validation_names and share_test_names may sum to 0.6 at most")

        lessons = self.share_copying + self.share_comparing + self.share_verifying + self.share_correcting
        if lessons > MAX_LESSONS:
            raise ConfigError(
                f"the four shares of teaching documents may sum to {MAX_LESSONS}, not {lessons}"
            )

    def _check_counts(self) -> None:
        names = self.num_unique_people + self.num_shared_names + self.num_unknown_people
        if names > MAX_NAMES:
            raise ConfigError(f"the micro-world has {MAX_NAMES} first names, {names} are asked for")
        if min(self.num_unique_people, self.num_shared_names, self.num_unknown_people) < MIN_SPLIT_NAMES:
            raise ConfigError(f"each sort of people needs {MIN_SPLIT_NAMES} names, one a split")
        if not 4 <= self.num_values <= MAX_VALUES:
            raise ConfigError(f"num_values is from 4 to {MAX_VALUES}, not {self.num_values}")
        if not 4 <= self.num_addends <= 50:
            raise ConfigError(f"num_addends is from 4 to 50, not {self.num_addends}")

    @classmethod
    def smoke(cls) -> WorldConfig:
        """20 people and 4 pairs: enough for the plumbing, in seconds."""
        return cls(num_unique_people=20, num_shared_names=4, num_unknown_people=12, num_values=8)


@dataclass(frozen=True, slots=True)
class Person:
    """`name` is unique: a first name, or first and last where the first is shared."""

    name: str
    first: str
    gender: Gender


@dataclass(frozen=True, slots=True)
class Fact:
    """`person` is the unique name."""

    person: str
    attribute: Attribute
    value: str


FactKey = tuple[str, Attribute]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is true. Equal and hashed by config and seed, which it is a function of."""

    config: WorldConfig
    seed: int
    people: dict[str, Person] = field(compare=False, repr=False)
    """Known people by unique name."""
    unknown: dict[str, Person] = field(compare=False, repr=False)
    """People that no document mentions, by name."""
    shared: dict[str, tuple[Person, Person]] = field(compare=False, repr=False)
    """Who bears each shared first name."""
    values: dict[Attribute, tuple[str, ...]] = field(compare=False, repr=False)
    """What each attribute can be."""
    facts: dict[FactKey, Fact] = field(compare=False, repr=False)
    """The truth, a fact for every known person and attribute."""
    splits: dict[FactKey, Split] = field(compare=False, repr=False)
    """Train, or held out for validation or test."""
    pretrained: frozenset[FactKey] = field(compare=False, repr=False)
    """Facts that documents state."""
    demonstrable: frozenset[FactKey] = field(compare=False, repr=False)
    """Facts that demonstrators know."""
    name_splits: dict[str, Split] = field(compare=False, repr=False)
    """For unknown people and shared first names."""
    target_splits: dict[str, Split] = field(compare=False, repr=False)
    """For known people as the targets of requests."""
    sum_splits: dict[SumKey, Split] = field(compare=False, repr=False)
    """For sums, whose smaller number comes first in the key."""
    stated_sums: frozenset[SumKey] = field(compare=False, repr=False)
    """Sums that documents state."""

    @classmethod
    def build(cls, config: WorldConfig, seed: int) -> World:
        """The world of this size and seed."""
        rng = stream(seed, "world/people")
        firsts = _first_names(rng, config)
        unique, shared_firsts, unknown = _cut(firsts, config.num_unique_people, config.num_shared_names)
        shared = {first: _twins(rng, first, gender) for first, gender in shared_firsts}
        singles = [Person(first, first, gender) for first, gender in unique]
        paired = [person for pair in shared.values() for person in pair]
        people = {person.name: person for person in (*singles, *paired)}
        values = {attribute: tuple(VALUES[attribute])[: config.num_values] for attribute in ATTRIBUTES}
        facts = _draw_facts(people, tuple(shared.values()), values, seed)
        names = [first for first, _ in unknown]
        splits = _split_facts(facts, config, stream(seed, "world/held-out"))
        silent = _silent(facts, splits, 1 - config.share_in_pretraining, stream(seed, "world/pretrained"))
        sum_splits = _split_sums(config, stream(seed, "world/sums"))
        return cls(
            config=config,
            seed=seed,
            people=people,
            unknown={first: Person(first, first, gender) for first, gender in unknown},
            shared=shared,
            values=values,
            facts=facts,
            splits=splits,
            pretrained=frozenset(facts) - silent,
            demonstrable=_known_to_demonstrators(facts, silent, config, stream(seed, "world/demonstrable")),
            name_splits=_split_names(names, config, stream(seed, "world/unknown"))
            | _split_names(list(shared), config, stream(seed, "world/shared")),
            target_splits=_split_names(list(people), config, stream(seed, "world/targets")),
            sum_splits=sum_splits,
            stated_sums=_stated_sums(
                sum_splits, config.share_sums_in_documents, stream(seed, "world/sums/stated")
            ),
        )

    def value(self, name: str, attribute: Attribute) -> str:
        """What is true of the person of this unique name."""
        return self.facts[name, attribute].value

    def facts_of(self, split: Split) -> tuple[Fact, ...]:
        """The facts of one split, in a fixed order."""
        return tuple(fact for key, fact in self.facts.items() if self.splits[key] == split)

    def stated(self, split: Split) -> tuple[Fact, ...]:
        """The facts of one split that documents state: what people are asked."""
        return tuple(
            fact for fact in self.facts_of(split) if (fact.person, fact.attribute) in self.pretrained
        )

    def unstated(self, split: Split) -> tuple[Fact, ...]:
        """The facts of one split that no document states: true, and nobody can know them."""
        return tuple(
            fact for fact in self.facts_of(split) if (fact.person, fact.attribute) not in self.pretrained
        )

    def held_out(self, key: FactKey) -> bool:
        """Whether demonstrations and training prompts must not mention the fact."""
        return self.splits[key] != "train"

    def bearers(self, name: str) -> tuple[Person, ...]:
        """The known people whom a name can mean: one, both of a shared first name, or nobody."""
        if name in self.people:
            return (self.people[name],)
        return self.shared.get(name, ())

    def gender(self, name: str) -> Gender:
        """The gender of anybody, known or unknown; of a shared first name as well."""
        known = self.bearers(name)
        return known[0].gender if known else self.unknown[name].gender


def _first_names(rng: random.Random, config: WorldConfig) -> list[tuple[str, Gender]]:
    women: list[tuple[str, Gender]] = [(name, "she") for name in WOMEN]
    men: list[tuple[str, Gender]] = [(name, "he") for name in MEN]
    num = config.num_unique_people + config.num_shared_names + config.num_unknown_people
    return rng.sample(women + men, num)


def _cut(items: list[T], first: int, second: int) -> tuple[list[T], list[T], list[T]]:
    return items[:first], items[first : first + second], items[first + second :]


def _twins(rng: random.Random, first: str, gender: Gender) -> tuple[Person, Person]:
    one, other = rng.sample(LAST_NAMES, 2)
    return Person(f"{first} {one}", first, gender), Person(f"{first} {other}", first, gender)


def _draw_facts(
    people: dict[str, Person],
    twins: Sequence[tuple[Person, Person]],
    values: dict[Attribute, tuple[str, ...]],
    seed: int,
) -> dict[FactKey, Fact]:
    """Every value about equally often; people of one first name differ in everything."""
    drawn: dict[Attribute, dict[str, str]] = {}
    for attribute in ATTRIBUTES:
        rng = stream(seed, f"world/facts/{attribute}")
        supply = [values[attribute][n % len(values[attribute])] for n in range(len(people))]
        drawn[attribute] = _deal(people, twins, supply, rng)
    return {
        (name, attribute): Fact(name, attribute, drawn[attribute][name])
        for name in people
        for attribute in ATTRIBUTES
    }


def _deal(
    people: dict[str, Person], twins: Sequence[tuple[Person, Person]], supply: list[str], rng: random.Random
) -> dict[str, str]:
    rng.shuffle(supply)
    dealt = dict(zip(people, supply, strict=True))
    for one, other in twins:
        while dealt[one.name] == dealt[other.name]:
            lender = rng.choice(list(people))
            if _may_swap(dealt, twins, other.name, lender):
                dealt[other.name], dealt[lender] = dealt[lender], dealt[other.name]
    return dealt


def _may_swap(dealt: dict[str, str], twins: Sequence[tuple[Person, Person]], one: str, lender: str) -> bool:
    """Whether `lender`'s own twin would still differ after the swap."""
    for pair in twins:
        names = [person.name for person in pair]
        if lender in names:
            twin = names[1 - names.index(lender)]
            return dealt[twin] != dealt[one]
    return True


def _known_to_demonstrators(
    facts: dict[FactKey, Fact], silent: frozenset[FactKey], config: WorldConfig, rng: random.Random
) -> frozenset[FactKey]:
    stated = [key for key in facts if key not in silent]
    beyond = [key for key in facts if key in silent]
    return _mask(stated, config.share_known_to_demonstrators, rng) | _mask(
        beyond, config.share_known_beyond_documents, rng
    )


def _mask(items: Sequence[H], share: float, rng: random.Random) -> frozenset[H]:
    return frozenset(rng.sample(items, round(share * len(items))))


def _silent(
    facts: dict[FactKey, Fact], splits: dict[FactKey, Split], share: float, rng: random.Random
) -> frozenset[FactKey]:
    """The facts outside the documents: their share of each split (one at least, unless the share is 0),
    spread over people as evenly as can be and, while the share permits, never a value's last in training."""
    silent: set[FactKey] = set()
    taken = Counter[str]()
    left = Counter((key[1], fact.value) for key, fact in facts.items() if splits[key] == "train")
    for split in SPLITS:
        keys = [key for key in facts if splits[key] == split]
        wanted = len(silent) + (max(1, round(share * len(keys))) if share > 0 and keys else 0)
        order = rng.sample(keys, len(keys))
        for spare, most in product((1, 0), range(len(ATTRIBUTES))):
            for key in order:
                value = (key[1], facts[key].value)
                is_last = split == "train" and left[value] <= spare
                if len(silent) < wanted and key not in silent and taken[key[0]] <= most and not is_last:
                    silent.add(key)
                    taken[key[0]] += 1
                    left[value] -= split == "train"
    return frozenset(silent)


def _split_sums(config: WorldConfig, rng: random.Random) -> dict[SumKey, Split]:
    """Sums in the shares of facts, one a split at least."""
    keys = [(a, b) for a in range(config.num_addends) for b in range(a, config.num_addends)]
    return _deal_splits(keys, config.share_validation, config.share_test, rng)


def _stated_sums(splits: dict[SumKey, Split], share: float, rng: random.Random) -> frozenset[SumKey]:
    """The share of each split's sums."""
    parts = ([key for key, its in splits.items() if its == split] for split in SPLITS)
    return frozenset(key for part in parts for key in _mask(part, share, rng))


def _split_facts(facts: dict[FactKey, Fact], config: WorldConfig, rng: random.Random) -> dict[FactKey, Split]:
    """Each attribute gives its share to each split; two facts of a person at most, never a value's last."""
    splits: dict[FactKey, Split] = dict.fromkeys(facts, "train")
    taken = {name: 0 for name, _ in facts}
    for attribute in ATTRIBUTES:
        keys = [key for key in facts if key[1] == attribute]
        left = Counter(facts[key].value for key in keys)
        wanted = _quota(len(keys), config.share_validation, config.share_test)
        for key in sorted(rng.sample(keys, len(keys)), key=lambda key: taken[key[0]]):
            value = facts[key].value
            if wanted and taken[key[0]] < MAX_HELD_OUT and left[value] > 1:
                splits[key] = wanted.pop()
                taken[key[0]] += 1
                left[value] -= 1
    return splits


def _split_names(names: Sequence[str], config: WorldConfig, rng: random.Random) -> dict[str, Split]:
    """One name a split at least."""
    return _deal_splits(names, config.share_validation_names, config.share_test_names, rng)


def _deal_splits(items: Sequence[H], validation: float, test: float, rng: random.Random) -> dict[H, Split]:
    wanted = _quota(len(items), validation, test, least=1)
    wanted += ["train"] * (len(items) - len(wanted))
    return dict(zip(items, rng.sample(wanted, len(wanted)), strict=True))


def _quota(num: int, validation: float, test: float, *, least: int = 0) -> list[Split]:
    first: list[Split] = ["validation"] * max(least, round(validation * num))
    second: list[Split] = ["test"] * max(least, round(test * num))
    return first + second
