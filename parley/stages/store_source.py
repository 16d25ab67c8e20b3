"""What people told the service, as a source: only what they let us learn from, as of now.

Demonstrations and comparisons come out of the queue, where somebody accepted them; prompts come
straight from the conversations. Files may tell more beside it (texts to read, other people's
dialogues and rankings). What the store tells carries its lineage: which rows, which person, which
consent, so that a consent that is withdrawn leads to the releases that learnt from it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, takewhile
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy.orm import Session

from parley.config import check_bounds, plain
from parley.dialogue import USER, Conversation, Message, Role
from parley.labels import Demonstration, Prompt, Ranking, Ranks
from parley.stages.files import FilesSource
from parley.stages.hygiene.settings import FilesData
from parley.stages.hygiene.sides import opening_is_held_out
from parley.stages.records import demonstration_row, prompt_row, ranking_row
from parley.stages.sources import Told
from parley.store.candidates import PAGE
from parley.store.database import close_database, database_url, open_database
from parley.store.messages import StoredMessage
from parley.store.training import Material, StoredPrompt, materials, prompts

SOURCE: Final = "store"
RANKS: Final = {"left": (1, 2), "right": (2, 1), "tie": (1, 1), "both_bad": (1, 1)}
NEAR: Final = 0.8  # two texts that share this much of their beginning are one
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreData:
    """What is taken of what people told the service."""

    url: str = ""
    """The database; "" is that of PARLEY_DATABASE_URL, or else the home's."""
    until: int = 0
    """Nothing said or accepted after this moment, in seconds since 1970; 0 takes all. A run that is
    continued while people talk needs it: without it, more words are another snapshot."""
    per_person: int = 200
    """Prompts, demonstrations and comparisons to take at most of one person, of each."""
    history: int = 20
    """Messages before a prompt's last one, at most."""
    held_out_share: float = 0.1
    """Share kept apart for measuring, by the first question of the conversation."""

    def __post_init__(self) -> None:
        check_bounds(self, until=(0, inf), per_person=(1, inf), history=(0, inf), held_out_share=(0, 0.9))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one item came from: the person, their consent, and the rows that it was made of."""

    person: str
    consent: str
    conversation: str
    messages: tuple[str, ...]
    candidate: str | None
    source: str | None
    """The feedback or the comparison behind the candidate."""


@dataclass(frozen=True, slots=True)
class Traced:
    """An item with its origin. `content` is the hash of its row as it will be sealed, `opening` what
    its conversation began with."""

    item: Demonstration | Ranking | Prompt
    origin: Origin
    content: str
    opening: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything that the store tells, before it is split."""

    demonstrations: tuple[Traced, ...]
    rankings: tuple[Traced, ...]
    prompts: tuple[Traced, ...]


@dataclass(frozen=True)
class StoreSource:
    """The store, and files beside it. It reads the store once: what it tells is what it fingerprints."""

    data: StoreData
    files: FilesData
    seed: int

    def fingerprint(self) -> Mapping[str, Any]:
        """The settings, and a hash over everything that the store tells now."""
        told = self.collected
        content = "".join(item.content for part in _parts(told) for item in part)
        return {
            "store": {**plain(self.data), "url": ""},
            "told": hashlib.sha256(content.encode()).hexdigest(),
            **self._beside.fingerprint(),
        }

    def tell(self) -> Told:
        """What the files tell, and then what people told the service."""
        beside, mine = self._beside.tell(), self.collected
        demonstrations, demonstrations_apart = self._split(mine.demonstrations, Demonstration)
        rankings, rankings_apart = self._split(mine.rankings, Ranking)
        asked, asked_apart = self._split(mine.prompts, Prompt)
        return replace(
            beside,
            demonstrations=chain(beside.demonstrations, demonstrations),
            demonstrations_held_out=chain(beside.demonstrations_held_out, demonstrations_apart),
            rankings=chain(beside.rankings, rankings),
            rankings_held_out=chain(beside.rankings_held_out, rankings_apart),
            prompts=chain(beside.prompts, asked),
            prompts_held_out=chain(beside.prompts_held_out, asked_apart),
        )

    def lineage(self) -> Iterator[dict[str, Any]]:
        """One row for each item of the store in the snapshot."""
        for kind, part in zip(("demonstration", "ranking", "prompt"), _parts(self.collected), strict=True):
            for traced in part:
                yield {"kind": kind, "content": traced.content, **plain(traced.origin)}

    @cached_property
    def collected(self) -> Collected:
        """What the store tells now."""
        with _reading(self.data.url) as session:
            accepted = list(_accepted(session, self.data.until))
            asked = [
                prompt
                for prompt in prompts(session, max_history=self.data.history)
                if not self.data.until or prompt.history[-1].created <= self.data.until
            ]
        urgent = {m.history[-1].id for m in accepted if m.candidate.kind == "prompt"}
        return Collected(
            self._capped(map(_demonstration, _of_kind(accepted, "demonstration"))),
            self._capped(map(_ranking, _of_kind(accepted, "comparison"))),
            self._capped(map(_prompt, without_near_duplicates(asked)), first=urgent),
        )

    @property
    def _beside(self) -> FilesSource:
        return FilesSource(self.files, self.seed)

    def _capped(
        self, items: Iterable[Traced], *, first: frozenset[str] | set[str] = frozenset()
    ) -> tuple[Traced, ...]:
        """Each content once; of a person those about the messages in `first`, then by a draw of the seed."""
        once = {item.content: item for item in items}
        ordered = sorted(
            once.values(), key=lambda item: (item.origin.messages[-1] not in first, self._draw(item))
        )
        taken: dict[str, int] = {}
        kept: list[Traced] = []
        for item in ordered:
            taken[item.origin.person] = taken.get(item.origin.person, 0) + 1
            if taken[item.origin.person] <= self.data.per_person:
                kept.append(item)
        return tuple(sorted(kept, key=self._draw))

    def _draw(self, item: Traced) -> str:
        return hashlib.sha256(f"{self.seed}/{item.content}".encode()).hexdigest()

    def _split(self, items: Sequence[Traced], kind: type[T]) -> tuple[list[T], list[T]]:
        kept: list[T] = []
        apart: list[T] = []
        for traced in items:
            assert isinstance(traced.item, kind)
            is_apart = opening_is_held_out(traced.opening, share=self.data.held_out_share, seed=self.seed)
            (apart if is_apart else kept).append(traced.item)
        return kept, apart


def without_near_duplicates(found: Iterable[StoredPrompt]) -> list[StoredPrompt]:
    """One of those that ask nearly the same in the same place: equal but for their last turn, and the
    last turns begin alike for most of their length. Letters and digits alone are compared."""
    keyed = sorted(
        ((_key(prompt.history), prompt) for prompt in found), key=lambda pair: (len(pair[0]), *pair[0])
    )
    kept: list[tuple[tuple[str, ...], StoredPrompt]] = []
    for key, prompt in keyed:
        if not kept or not _near(kept[-1][0], key):
            kept.append((key, prompt))
    return [prompt for _, prompt in kept]


def _key(history: Sequence[StoredMessage]) -> tuple[str, ...]:
    return tuple("".join(filter(str.isalnum, message.content.lower())) for message in history)


def _near(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if one[:-1] != other[:-1]:
        return False
    pairs = zip(one[-1], other[-1], strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike >= NEAR * max(len(one[-1]), len(other[-1]))


def _parts(told: Collected) -> tuple[tuple[Traced, ...], ...]:
    return told.demonstrations, told.rankings, told.prompts


@contextmanager
def _reading(url: str) -> Iterator[Session]:
    home = Path(os.environ.get("PARLEY_HOME") or "workspace")
    sessions = open_database(url or database_url(home))
    try:
        with sessions() as session:
            yield session
    finally:
        close_database(sessions)


def _accepted(session: Session, until: int) -> Iterator[Material]:
    after: str | None = None
    while True:
        page = materials(session, state="accepted", after=after, limit=PAGE)
        yield from (one for one in page.materials if not until or (one.candidate.decided or 0) <= until)
        if page.after is None:
            return
        after = page.after


def _of_kind(found: Sequence[Material], kind: str) -> Iterator[Material]:
    return (material for material in found if material.candidate.kind == kind)


def _demonstration(material: Material) -> Traced:
    assert material.feedback is not None
    history = _conversation(material.history)
    trainer = f"trainer:{material.candidate.user_id}"
    whole = history.reply(material.feedback.ideal, author=trainer)
    item = Demonstration(whole, (len(history.messages),), trainer.removeprefix("trainer:"), SOURCE)
    return Traced(item, _origin(material), _hash(demonstration_row(item)), material.history[0].content)


def _ranking(material: Material) -> Traced:
    assert material.outcome is not None
    item = Ranking(
        _conversation(material.history),
        tuple(map(_message, material.answers)),
        Ranks(RANKS[material.outcome]),
        material.candidate.user_id,
        SOURCE,
    )
    return Traced(item, _origin(material), _hash(ranking_row(item)), material.history[0].content)


def _prompt(prompt: StoredPrompt) -> Traced:
    item = Prompt(_conversation(prompt.history), SOURCE)
    origin = Origin(
        prompt.user_id,
        prompt.consent_id,
        prompt.history[-1].conversation_id,
        tuple(message.id for message in prompt.history),
        None,
        None,
    )
    return Traced(item, origin, _hash(prompt_row(item)), prompt.opening)


def _origin(material: Material) -> Origin:
    return Origin(
        material.candidate.user_id,
        material.consent_id,
        material.history[-1].conversation_id,
        tuple(message.id for message in (*material.history, *material.answers)),
        material.candidate.id,
        material.candidate.source_id,
    )


def _conversation(messages: Sequence[StoredMessage]) -> Conversation:
    return Conversation(tuple(map(_message, messages)))


def _message(message: StoredMessage) -> Message:
    role: Role = "assistant" if message.role == "assistant" else "user"
    return Message(role, message.content, message.release or USER)


def _hash(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
