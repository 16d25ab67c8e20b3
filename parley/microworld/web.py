"""What a writer of documents draws from: facts, people and sums that the web knows, each equally often."""

from __future__ import annotations

from parley.microworld.language import GRAMMAR, statement
from parley.microworld.lexicon import ATTRIBUTES, Attribute
from parley.microworld.replies import wrong_value
from parley.microworld.streams import deck, stream
from parley.microworld.world import Fact, Person, World


class Web:
    """The streams that documents are drawn from."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = stream(seed, "documents")
        facts = [fact for key, fact in world.facts.items() if key in world.pretrained]
        self._facts = deck(facts, stream(seed, "documents/facts"))
        self.known: dict[str, list[Fact]] = {name: [] for name in world.people}
        self.facts_about: dict[Attribute, list[Fact]] = {attribute: [] for attribute in ATTRIBUTES}
        for fact in facts:
            self.known[fact.person].append(fact)
            self.facts_about[fact.attribute].append(fact)
        self._people = deck(
            [world.people[name] for name, its in self.known.items() if its], stream(seed, "documents/people")
        )
        self._shared = deck(sorted(world.shared), stream(seed, "documents/shared"))
        sums = [pair for key in sorted(world.stated_sums) for pair in dict.fromkeys((key, key[::-1]))]
        self._sums = deck(sums, stream(seed, "documents/sums"))

    def fact(self) -> Fact:
        """The next fact: all come equally often."""
        return next(self._facts)

    def person(self) -> Person:
        """The next person about whom documents know something."""
        return next(self._people)

    def shared_name(self) -> str:
        """The next first name that two people bear."""
        return next(self._shared)

    def sum(self) -> tuple[int, int]:
        """The next sum, in either order."""
        return next(self._sums)

    def question(self, attribute: Attribute, name: str) -> str:
        """A question in a seen wording."""
        return self.rng.choice(GRAMMAR[attribute].questions.seen).format(s=name)

    def say(self, fact: Fact, subject: str) -> str:
        """The fact in one of its phrasings."""
        phrasing = self.rng.randrange(len(GRAMMAR[fact.attribute].predicates))
        return statement(subject, fact.attribute, fact.value, phrasing)

    def wrong(self, fact: Fact, absurd_share: float) -> str:
        """A wrong value of the fact."""
        return wrong_value(self.world, fact.person, fact.attribute, self.rng, absurd_share=absurd_share)
