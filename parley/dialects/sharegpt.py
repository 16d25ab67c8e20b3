"""`sharegpt`: conversations as the ShareGPT collections share them, JSON lines or one JSON array.

    {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}], "system": "…"}

Source: the layout of public ShareGPT dumps and of most fine-tuning tools. `user`, `assistant` and the
names of public chat models are read as well; a `system` key that says something becomes the system
message. Not kept: `id` and other keys. Rejected: tools and other roles, one-sided dialogues, empty turns
(which the raw dumps hold), a second system message. Every assistant turn is imitated, so a demonstration
of some turns only cannot be written; authors, trainer and source are not written either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, listed, mapping, optional_text, text
from parley.dialects.records import Record
from parley.dialogue import Message, Role
from parley.labels import Demonstration

SOURCE: Final = "sharegpt"
ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}
NAMES: Final[Mapping[Role, str]] = {"system": "system", "user": "human", "assistant": "gpt"}


def parse(value: object) -> Iterator[Demonstration]:
    """The demonstration of one row."""
    row = mapping(value)
    turns = listed(row, "conversations")
    messages = [
        _message(mapping(turn, f"conversations[{n}]"), f"conversations[{n}]") for n, turn in enumerate(turns)
    ]
    yield chat.demonstrated([*_system(row, messages), *messages], source=SOURCE, at="conversations")


def _message(turn: Mapping[str, object], at: str) -> Message:
    who = chat.role(turn, "from", ROLES, at)
    return Message(who, text(turn, "value", at), chat.usual(who, chat.UNKNOWN))


def _system(row: Mapping[str, object], messages: list[Message]) -> list[Message]:
    said = optional_text(row, "system")
    if not said.strip():
        return []
    if any(message.role == "system" for message in messages):
        raise Fault("system", "is a second system message")
    return [Message("system", said)]


def express(record: Record) -> Iterator[dict[str, object]]:
    """The row of one demonstration."""
    if not isinstance(record, Demonstration):
        raise Fault("", "is no demonstration: write it as rankings or hh")
    if not chat.all_turns(record):
        raise Fault("imitate", "leaves assistant turns out, which this format cannot say: use demonstrations")
    messages = record.conversation.messages
    yield {"conversations": [{"from": NAMES[message.role], "value": message.text} for message in messages]}
