"""`taskmaster`: task dialogues with roles, both sides written by one paid person.

    {"conversation_id": "…", "scenario": "…", "utterances": [{"speaker": "user", "text": "…"}, …]}

Source: Byrne et al. 2019 to 2024 (Taskmaster). Turns are kept as they stand: consecutive turns of one
speaker are not merged (where one ended would be lost), and a last user turn stays, which nothing imitates.
Not kept: `scenario` and `instructions` (what the worker was told) and the ids. Rejected: speakers other
than `user` and `assistant` (TM-1 spells them in capitals), empty turns, dialogues of one side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import listed, mapping, text
from parley.dialogue import Message, Role
from parley.labels import Demonstration

SOURCE: Final = "taskmaster"
SPEAKERS: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "USER": "user",
    "ASSISTANT": "assistant",
}


def parse(value: object) -> Iterator[Demonstration]:
    """The demonstration of one row."""
    turns = enumerate(listed(mapping(value), "utterances"))
    messages = [_message(mapping(turn, f"utterances[{n}]"), f"utterances[{n}]") for n, turn in turns]
    yield chat.demonstrated(messages, source=SOURCE, at="utterances")


def _message(turn: Mapping[str, object], at: str) -> Message:
    return Message(chat.role(turn, "speaker", SPEAKERS, at), text(turn, "text", at), chat.trainer(SOURCE))
