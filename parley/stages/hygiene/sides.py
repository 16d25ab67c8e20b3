"""Which rows are learnt from and which are kept apart: a pure function of a row and the seed.

No row's side depends on another row, so that rows which come, go, or are broken move nobody. A prompt is
known by its first user turn, letters and digits only: the same question is on one side wherever it stands.
A person is known by the name that the file gives. What is *nearly* the same prompt on both sides is not
moved but left out, by `cleaning`.
"""

from __future__ import annotations

import hashlib
from typing import Final

from parley.dialogue import USER, Conversation
from parley.labels import Demonstration, Ranking

NOBODY: Final = frozenset({"", USER, "unknown"})
TRAINER: Final = "trainer:"


def drawn(seed: int, text: str) -> float:
    """A number from 0 to 1 that follows from seed and text."""
    digest = hashlib.sha256(f"{seed}/{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def first_turn(conversation: Conversation) -> str:
    """What the user says first."""
    return next((message.text for message in conversation.messages if message.role == "user"), "")


def history_of(record: Demonstration | Ranking) -> Conversation:
    """The conversation of a record, without the replies that a ranking compares."""
    return record.conversation if isinstance(record, Demonstration) else record.prompt


def prompt_is_held_out(record: Demonstration | Ranking, *, share: float, seed: int) -> bool:
    """By the record's first user turn."""
    return opening_is_held_out(first_turn(history_of(record)), share=share, seed=seed)


def opening_is_held_out(text: str, *, share: float, seed: int) -> bool:
    """By what a conversation began with."""
    letters = "".join(letter for letter in text.lower() if letter.isalnum())
    return drawn(seed, letters) < share


def person_is_held_out(name: str, *, share: float, seed: int) -> bool:
    """By the name alone."""
    return drawn(seed, f"person/{name}") < share


def people_of(record: Demonstration | Ranking) -> frozenset[str]:
    """Everybody who is named: who demonstrated or ranked, and who asked. A set's own name is nobody's."""
    return frozenset({record.trainer, asker(record)}) - NOBODY - {record.source}


def asker(record: Demonstration | Ranking) -> str:
    """Who wrote the prompt: the author of the first user turn where the file names one; a demonstration's
    trainer, who wrote both sides; "" where nobody is named."""
    turns = (message for message in history_of(record).messages if message.role == "user")
    author = next((turn.author for turn in turns), "").removeprefix(TRAINER)
    if author in NOBODY and isinstance(record, Demonstration):
        author = record.trainer
    return "" if author in NOBODY or author == record.source else author
