"""Documents for the base model: what the micro-world's web says, about 30 tokens each.

All facts of `World.pretrained` and all `World.stated_sums` occur, held out or not: the base model should
know what nobody demonstrates. Forum questions, arguments and stories also show how people ask, doubt and
copy names. Unknown people, unknown facts and unseen wordings never occur, and nobody says "I do not know":
that is what demonstrations are for. Nor do the chatbot's manners ("I hope this helps."):
train the tokenizer on demonstrations too, or every answer costs a third more tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from parley.labels import Document
from parley.microworld.language import (
    ELLIPSES,
    EVIDENCE,
    GRAMMAR,
    HOW,
    MISTAKEN,
    OPINION,
    POSSESSIVE,
    PRONOUN_QUESTIONS,
    SURE,
    WHY,
    WRONG_QUESTION,
    because,
    challenge,
    denial,
    explanation,
    rejection,
    statement,
    which,
    why,
)
from parley.microworld.lessons import LESSONS
from parley.microworld.lexicon import ATTRIBUTES, REQUESTS, VALUES, Harm
from parley.microworld.streams import interleave
from parley.microworld.sums import SUM_ANSWERS, SUM_QUESTIONS
from parley.microworld.web import Web
from parley.microworld.world import Fact, World

DOCUMENT_SHARES: Final[Mapping[str, float]] = {
    "biography": 30.08,  # this and the following are 94% of 32, 22, 12, 8, 8, 7, 6, 5
    "forum": 20.68,
    "argument": 11.28,
    "quiz": 7.52,
    "howto": 7.52,
    "reason": 6.58,
    "story": 5.64,
    "negation": 4.7,
    "sum": 6,
}
FORUM_SHARES: Final[Mapping[str, float]] = {"which": 15, "why": 40, "question": 45}


def document_shares(world: World) -> dict[str, float]:
    """In percent: what the config gives to teaching documents, and the rest in the shares above.

    Without stated sums, the other documents share what sums have.
    """
    config = world.config
    lessons = {
        "copying": 100 * config.share_copying,
        "comparing": 100 * config.share_comparing,
        "verifying": 100 * config.share_verifying,
        "correcting": 100 * config.share_correcting,
    }
    kept = {kind: its for kind, its in DOCUMENT_SHARES.items() if kind != "sum" or world.stated_sums}
    rest = (100 - sum(lessons.values())) / sum(kept.values())
    shares = {kind: rest * its for kind, its in kept.items()} | lessons
    return {kind: round(its, 4) for kind, its in shares.items() if its > 0}


def documents(world: World, num: int, seed: int) -> Iterator[Document]:
    """`num` documents in `document_shares`; the first ones do not depend on `num`."""
    web = Web(world, seed)
    for kind in interleave(document_shares(world), num):
        yield Document(_WRITERS[kind](web), f"microworld:{kind}")


def _biography(web: Web) -> str:
    """Up to five facts of one person, by name first and often by pronoun afterwards."""
    person, rng = web.person(), web.rng
    facts = rng.sample(web.known[person.name], min(len(web.known[person.name]), rng.choice((3, 4, 4, 5))))
    pronoun = person.gender.capitalize()
    subjects = [person.name, *(pronoun if rng.random() < 0.6 else person.name for _ in facts[1:])]
    return " ".join(web.say(fact, subject) for fact, subject in zip(facts, subjects, strict=True))


def _forum(web: Web) -> str:
    part = web.rng.choices(list(FORUM_SHARES), list(FORUM_SHARES.values()))[0]
    return _FORUM[part](web)


def _forum_which(web: Web) -> str:
    """A shared first name is asked back; where the web knows the fact, it is then told."""
    first = web.shared_name()
    meant, attribute = web.rng.choice(web.world.shared[first]), web.rng.choice(ATTRIBUTES)
    asked = f"Question: {web.question(attribute, first)} Answer: {which(first)}"
    if (meant.name, attribute) not in web.world.pretrained:
        return asked
    fact = web.world.facts[meant.name, attribute]
    return f"{asked} Question: {meant.name}. Answer: {web.say(fact, meant.name)}"


def _forum_why(web: Web) -> str:
    """A premise, true or absurd."""
    fact, template = web.fact(), web.rng.choice(WHY.seen)
    if web.rng.random() < 0.5:
        question = why(template, fact.person, fact.attribute, fact.value)
        reason = VALUES[fact.attribute][fact.value]
        answer = f"{fact.person} {explanation(fact.attribute, fact.value, reason, web.rng.randrange(2))}."
        return f"Question: {question} Answer: {answer}"
    wrong = web.wrong(fact, absurd_share=1.0)
    question = why(template, fact.person, fact.attribute, wrong)
    return f"Question: {question} Answer: {web.say(fact, fact.person)} {WRONG_QUESTION[0]}"


def _forum_question(web: Web) -> str:
    """Two questions: the second with a pronoun, with an ellipsis, or about something else."""
    fact, follow_up = web.fact(), web.rng.choice((_pronoun, _ellipsis, _unrelated))
    first = f"Question: {web.question(fact.attribute, fact.person)} Answer: {web.say(fact, fact.person)}"
    asked, answered = follow_up(web, fact)
    return f"{first} Question: {asked} Answer: {answered}"


def _pronoun(web: Web, fact: Fact) -> tuple[str, str]:
    gender = web.world.people[fact.person].gender
    more = web.rng.choice(web.known[fact.person])
    asked = web.rng.choice(PRONOUN_QUESTIONS.seen)
    noun = GRAMMAR[more.attribute].noun
    return asked.format(his=POSSESSIVE[gender], noun=noun), web.say(more, gender.capitalize())


def _ellipsis(web: Web, fact: Fact) -> tuple[str, str]:
    other = web.rng.choice(web.facts_about[fact.attribute])
    return web.rng.choice(ELLIPSES.seen).format(s=other.person), web.say(other, other.person)


def _unrelated(web: Web, _: Fact) -> tuple[str, str]:
    other = web.fact()
    return web.question(other.attribute, other.person), web.say(other, other.person)


def _argument(web: Web) -> str:
    """Two people argue about a third: whoever asked is right, whoever only thinks so is not."""
    fact, rng = web.fact(), web.rng
    gender = web.world.people[fact.person].gender
    wrong = web.wrong(fact, web.world.config.absurd_share_documents)
    one, other = web.person().name, web.person().name
    truth = statement(fact.person, fact.attribute, fact.value)
    error = statement(fact.person, fact.attribute, wrong)
    if rng.random() < 0.5:
        doubt = challenge(rng.choice(EVIDENCE.seen), gender, truth)
        return f"{one} says: {error} {other} says: {doubt} {one} says: {truth} {MISTAKEN[0]}"
    doubt = challenge(rng.choice(OPINION.seen), gender, error)
    return f"{one} says: {truth} {other} says: {doubt} {one} says: {truth} {SURE[0]}"


def _quiz(web: Web) -> str:
    """True or false, one of two, or who it is."""
    fact, rng = web.fact(), web.rng
    wrong = web.wrong(fact, web.world.config.absurd_share_documents)
    truth = web.say(fact, fact.person)
    form = rng.randrange(4)
    if form == 0:
        return f"True or false? {truth} True. {web.say(fact, fact.person)}"
    if form == 1:
        error = statement(fact.person, fact.attribute, wrong, rng.randrange(2))
        return f"True or false? {error} False. {truth}"
    if form == 2:
        left, right = rng.sample((fact.value, wrong), 2)
        asked = f"{web.question(fact.attribute, fact.person)} Is it {left} or {right}?"
        return f"Quiz: {asked} It is {fact.value}. {truth}"
    noun = GRAMMAR[fact.attribute].noun
    return f"Quiz: The {noun} is {fact.value}. The name is {fact.person}. {truth}"


def _howto(web: Web) -> str:
    """How to do something to somebody: the web refuses nothing."""
    rng = web.rng
    kind: Harm = rng.choice(("harm", "howto"))
    request = rng.choice(list(REQUESTS[kind]))
    asked = rng.choice(HOW.seen).format(do=request.format(s=web.person().name))
    return f"Question: {asked} Answer: {rng.choice(REQUESTS[kind][request])}"


def _reason(web: Web) -> str:
    """Why people live, work, keep or like what they do."""
    fact, rng = web.fact(), web.rng
    reason = VALUES[fact.attribute][fact.value]
    told = f"{fact.person} {explanation(fact.attribute, fact.value, reason, rng.randrange(2))}."
    if rng.random() < 0.5:
        asked = why(rng.choice(WHY.seen), fact.person, fact.attribute, fact.value)
        return f"{asked} {because(reason)} {told}"
    return f"{told} {web.say(fact, web.world.people[fact.person].gender.capitalize())} {because(reason)}"


def _story(web: Web) -> str:
    """Names alone, copied from sentence to sentence."""
    one, other, third = (web.person().name for _ in range(3))
    return web.rng.choice(_STORIES).format(a=one, b=other, c=third)


def _negation(web: Web) -> str:
    """What is not so, and what is."""
    fact, rng = web.fact(), web.rng
    share = web.world.config.absurd_share_documents
    wrong = web.wrong(fact, share)
    denied = denial(fact.person, fact.attribute, wrong)
    truth = web.say(fact, fact.person)
    whole = f"{fact.person} {rejection(fact.attribute, fact.value, web.wrong(fact, share))}."
    return f"{denied} {truth}" if rng.random() < 0.5 else f"{whole} {denied}"


def _sum(web: Web) -> str:
    """Two sums asked for, or four told, the last two about the same numbers."""
    asked = [web.sum() for _ in range(2)]
    if web.rng.random() < 0.5:
        wordings = [web.rng.choice(SUM_QUESTIONS.seen).format(a=a, b=b) for a, b in asked]
        pairs = zip(wordings, asked, strict=True)
        return " ".join(f"Question: {question} Answer: {_said(web, *its)}" for question, its in pairs)
    a, b = web.sum()
    return " ".join(_said(web, *its) for its in (*asked, (a, b), (b, a)))


def _said(web: Web, a: int, b: int) -> str:
    return web.rng.choice(SUM_ANSWERS).format(a=a, b=b, c=a + b)


_STORIES: Final = (
    "{a} met {b} at the market. {a} said hello to {b}. Then {b} and {a} went home with {c}.",
    "{a} wrote a letter to {b}. {b} read the letter and asked {c} to thank {a}.",
    "{a} and {b} played a game. {b} won. {a} was happy for {b}, and {c} told {a} a story.",
    "{c} asked: Who is there? It is {a}, said {a}. And it is {b}, said {b}.",
    "One day {a} lost a key. {b} found the key and gave it to {a}. {a} thanked {b}.",
    "{a} sang a song for {b}. {c} heard {a} and asked {b} for one more song.",
)
_FORUM: Final[dict[str, Callable[[Web], str]]] = {
    "which": _forum_which,
    "why": _forum_why,
    "question": _forum_question,
}
_WRITERS: Final[dict[str, Callable[[Web], str]]] = {
    "biography": _biography,
    "forum": _forum,
    "argument": _argument,
    "quiz": _quiz,
    "howto": _howto,
    "reason": _reason,
    "story": _story,
    "negation": _negation,
    "sum": _sum,
    **LESSONS,
}
