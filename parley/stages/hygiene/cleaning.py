"""The order of events: what is left out of the records of people's files, step by step.

Each step takes entries in the recipe's order and hands on those that stay; what it leaves out is counted in
the ledger of its file. Where two rows cannot both stay, the first one does.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Literal, TypeAlias, TypeVar

from parley.dialogue import Conversation, Message
from parley.labels import Demonstration, Document, Ranking
from parley.stages.hygiene.faults import Learnt, texts_of
from parley.stages.hygiene.ledger import Entry
from parley.stages.hygiene.near import Hashes, NearTexts, jaccard, sketch
from parley.stages.hygiene.private import mask, shape
from parley.stages.hygiene.sides import (
    asker,
    drawn,
    first_turn,
    history_of,
    people_of,
    person_is_held_out,
    prompt_is_held_out,
)

R = TypeVar("R", bound=Learnt)
Talk: TypeAlias = Demonstration | Ranking
T = TypeVar("T", bound=Talk)
Policy = Literal["mask", "drop", "keep"]

SAME: Final = "duplicate"
NEAR: Final = "near-duplicate"
NOT_DRAWN: Final = "beyond the limit of its file"
LEAK: Final = "its prompt is held out, in nearly the same words"
LEARNT: Final = "of a person held out, but its prompt is learnt from"
PREFIX: Final = "its prompt begins as another does"
PERSON: Final = "over the limit of prompts a person"
PRIVATE: Final = "holds private details"


def distinct(entries: Sequence[Entry[R]]) -> list[Entry[R]]:
    """Without those that say what an earlier one says, but for capitals and white space."""
    first: dict[bytes, Entry[R]] = {}
    kept = []
    for entry in entries:
        earlier = first.setdefault(entry.digest, entry)
        if earlier is entry:
            kept.append(entry)
        else:
            entry.drop(SAME, like=earlier)
    return kept


def identity(record: Learnt) -> bytes:
    """Equal for records that say the same. A ranking by somebody else, or another ranking, is another."""
    return hashlib.sha256(json.dumps(_said(record)).encode()).digest()


def _said(record: Learnt) -> list[Any]:
    if isinstance(record, Document):
        return [_plain(record.text)]
    turns = [[message.role, _plain(message.text)] for message in history_of(record).messages]
    if isinstance(record, Demonstration):
        return [*turns, list(record.imitate)]
    replies = [_plain(reply.text) for reply in record.replies]
    pairs = sorted([replies[pair.better], replies[pair.worse]] for pair in record.comparisons())
    return [*turns, sorted(replies), pairs, record.trainer]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def unlike(entries: Sequence[Entry[R]], threshold: float) -> list[Entry[R]]:
    """Without those that are nearly an earlier one: in what is asked, and in what is answered to it."""
    if not threshold:
        return list(entries)
    parts = [_parts(entry.record) for entry in entries]
    near = NearTexts([sketch(" ".join(both)) for both in parts], threshold)
    part = cache(lambda n, side: sketch(parts[n][side]))
    kept = []
    for n, entry in enumerate(entries):
        alike = (other for other in near.all_like(n) if _both_near(part, n, other, threshold))
        earlier = next((m for m in alike if _by_the_same(entry.record, entries[m].record)), None)
        if earlier is None:
            near.add(n)
            kept.append(entry)
        else:
            entry.drop(NEAR, like=entries[earlier])
    return kept


def _parts(record: Learnt) -> tuple[str, str]:
    if isinstance(record, Document):
        return record.text, ""
    messages = history_of(record).messages
    if isinstance(record, Ranking):
        return _joined(messages), _joined(sorted(record.replies, key=lambda reply: reply.text))
    answers = [messages[n] for n in record.imitate]
    return _joined(m for n, m in enumerate(messages) if n not in record.imitate), _joined(answers)


def _joined(messages: Iterable[Message]) -> str:
    return "\n".join(message.text for message in messages)


def _both_near(part: Callable[[int, int], Hashes], one: int, other: int, threshold: float) -> bool:
    return all(jaccard(part(one, side), [part(other, side)])[0] >= threshold for side in (1, 0))


def _by_the_same(one: Learnt, other: Learnt) -> bool:
    """Rankings of the same replies by two people are two rankings."""
    return not (isinstance(one, Ranking) and isinstance(other, Ranking)) or one.trainer == other.trainer


def at_most(entries: Sequence[Entry[R]], limits: Sequence[tuple[str, int]], seed: int) -> list[Entry[R]]:
    """Of the files that have a limit only so many, those that a hash of what they say draws first."""
    kept = {id(entry) for entry in entries}
    for file, limit in limits:
        own = [entry for entry in entries if entry.ledger.file == file]
        for entry in in_drawn_order(own, seed)[limit:] if limit else ():
            entry.drop(NOT_DRAWN)
            kept.discard(id(entry))
    return [entry for entry in entries if id(entry) in kept]


def of_kind(entries: Sequence[Entry[Any]], kind: type[R]) -> list[Entry[R]]:
    """The entries of which the record is of that kind."""
    return [entry for entry in entries if isinstance(entry.record, kind)]


def in_drawn_order(entries: Sequence[Entry[R]], seed: int) -> list[Entry[R]]:
    """In an order that follows from seed and content, so that no entry's place depends on another."""
    return sorted(entries, key=lambda entry: drawn(seed, entry.digest.hex()))


# --- sides -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shares:
    """What is kept apart: shares of prompts and of people, and people by name; and how near a prompt to one
    that is kept apart is too near to learn from."""

    prompts: float
    people: float
    names: tuple[str, ...]
    leak: float
    seed: int

    def is_out(self, name: str) -> bool:
        """Whether everything by this person is held out."""
        return name in self.names or person_is_held_out(name, share=self.people, seed=self.seed)


def divided(entries: Sequence[Entry[T]], shares: Shares) -> tuple[list[Entry[T]], list[Entry[T]]]:
    """To learn from, and held out: by prompt, or by a person. No prompt is on both sides."""
    train, held_out, theirs = [], [], []
    for entry in entries:
        if prompt_is_held_out(entry.record, share=shares.prompts, seed=shares.seed):
            held_out.append(entry)
        elif is_by_people_out(entry.record, shares):
            theirs.append(entry)
        else:
            train.append(entry)
    train = _without_prompts_of(train, held_out, LEAK, shares.leak)
    return train, [*held_out, *_without_prompts_of(theirs, train, LEARNT, shares.leak)]


def is_by_people_out(record: Talk, shares: Shares) -> bool:
    """Whether somebody who is held out wrote or judged it."""
    return any(shares.is_out(name) for name in people_of(record))


def _without_prompts_of(
    entries: Sequence[Entry[T]], others: Sequence[Entry[T]], reason: str, threshold: float
) -> list[Entry[T]]:
    """Those whose first user turn is not, or not nearly, that of one of the others."""
    both = [*others, *entries]
    prompts = [first_turn(history_of(entry.record)) for entry in both]
    sketches = {prompt: sketch(prompt) for prompt in set(prompts)}
    near = NearTexts([sketches[prompt] for prompt in prompts], threshold or 1.0)
    for n in range(len(others)):
        near.add(n)
    kept = []
    for n, entry in enumerate(entries, start=len(others)):
        if found := near.all_like(n):
            entry.drop(reason, like=both[found[0]])
        else:
            kept.append(entry)
    return kept


# --- what is learnt from ---------------------------------------------------------------------------------


def without_long_prefixes(entries: Sequence[Entry[T]], length: int) -> list[Entry[T]]:
    """Of prompts that differ but begin with the same `length` characters, those of the first one."""
    if not length:
        return list(entries)
    first: dict[str, tuple[str, Entry[T]]] = {}
    kept = []
    for entry in entries:
        prompt = _plain(first_turn(history_of(entry.record)))
        known, earlier = first.setdefault(prompt[:length], (prompt, entry))
        if known == prompt or len(prompt) < length:
            kept.append(entry)
        else:
            entry.drop(PREFIX, like=earlier)
    return kept


def at_most_a_person(entries: Sequence[Entry[T]], limit: int, seed: int) -> list[Entry[T]]:
    """Of each person who asked, so many prompts at most, drawn by a hash of the prompt."""
    asked: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        asked[asker(entry.record)].add(first_turn(history_of(entry.record)))
    allowed = {
        name: prompts if not (name and limit) else set(sorted(prompts, key=lambda p: drawn(seed, p))[:limit])
        for name, prompts in asked.items()
    }
    kept = []
    for entry in entries:
        if first_turn(history_of(entry.record)) in allowed[asker(entry.record)]:
            kept.append(entry)
        else:
            entry.drop(PERSON)
    return kept


def without_private(entries: Sequence[Entry[R]], policy: Callable[[Entry[R]], Policy]) -> list[Entry[R]]:
    """With private details masked, or without the entries that hold some, as each file's policy says."""
    return [kept for entry in entries if (kept := _without_private(entry, policy(entry)))]


def _without_private(entry: Entry[R], policy: Policy) -> Entry[R] | None:
    if policy == "keep":
        return entry
    texts = list(texts_of(entry.record))
    masked = [mask(text) for text in texts]
    if not any(found for _, found in masked):
        return entry
    if policy == "drop":
        entry.drop(PRIVATE)
        return None
    for text, (_, found) in zip(texts, masked, strict=True):
        for item in found:
            entry.ledger.private.setdefault(item.kind, []).append(shape(text, item))
    return replace(entry, record=_with_texts(entry.record, iter([text for text, _ in masked])))


def _with_texts(record: Any, texts: Iterator[str]) -> Any:
    if isinstance(record, Document):
        return replace(record, text=next(texts))
    told = Conversation(tuple(replace(message, text=next(texts)) for message in history_of(record).messages))
    if isinstance(record, Demonstration):
        return replace(record, conversation=told)
    replies = tuple(replace(reply, text=next(texts)) for reply in record.replies)
    return replace(record, prompt=told, replies=replies)
