r"""`hh`: pairs of dialogues that differ in their last reply.

    {"chosen": "\n\nHuman: …\n\nAssistant: …", "rejected": "\n\nHuman: …\n\nAssistant: …"}

Source: Bai et al. 2022 (anthropics/hh-rlhf). What both sides share before the last reply is the history,
the two last replies are ranked 1 and 2. Texts are kept to the letter, and a row is read only where the
record gives back its bytes. Rejected: sides whose histories differ, sides that do not end in an assistant
turn, empty turns and replies, identical sides, a history that does not end in a user turn. Writing turns a
ranking into all its strict pairs (which then no longer know that they belong together); a system message
or a text that holds a speaker mark cannot be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, mapping, said, text
from parley.dialects.records import Record
from parley.dialogue import Message, Role
from parley.labels import Ranking, Ranks

SOURCE: Final = "hh"
SPEAKERS: Final[Mapping[str, Role]] = {"Human": "user", "Assistant": "assistant"}
NAMES: Final[Mapping[Role, str]] = {"user": "Human", "assistant": "Assistant"}
MARK: Final = re.compile(r"\n\n(Human|Assistant):")


def parse(value: object) -> Iterator[Ranking]:
    """The ranking of one row."""
    row = mapping(value)
    chosen, rejected = turns(text(row, "chosen"), "chosen"), turns(text(row, "rejected"), "rejected")
    if chosen[:-1] != rejected[:-1]:
        raise Fault("rejected", "has another history than 'chosen'")
    if chosen == rejected:
        raise Fault("rejected", "is the same as 'chosen'")
    prompt = chat.history(chosen[:-1], "chosen")
    yield Ranking(prompt, (chosen[-1], rejected[-1]), Ranks((1, 2)), SOURCE, SOURCE)


def turns(side: str, at: str) -> tuple[Message, ...]:
    """The turns of one side, the last of them the reply."""
    start, *parts = MARK.split(side)
    if start or not parts:
        raise Fault(at, "does not start with a speaker ('\\n\\nHuman:')")
    found = tuple(_turn(who, text, at) for who, text in zip(parts[::2], parts[1::2], strict=True))
    if found[-1].role != "assistant":
        raise Fault(at, "does not end in an assistant turn")
    return found


def _turn(who: str, text: str, at: str) -> Message:
    if not text.startswith(" ") and text:
        raise Fault(at, f"has no space after '{who}:'")
    role = SPEAKERS[who]
    try:
        return Message(role, said(text[1:], at), chat.usual(role, chat.UNKNOWN))
    except Fault as fault:
        raise Fault(at, f"has a turn of '{who}' that {fault.reason}") from None


def side(messages: Sequence[Message]) -> str:
    """The inverse of `turns`."""
    return "".join(f"\n\n{NAMES[message.role]}: {message.text}" for message in messages)


def express(record: Record) -> Iterator[dict[str, object]]:
    """The strict pairs of one ranking."""
    if not isinstance(record, Ranking):
        raise Fault("", "is no ranking: write it as demonstrations")
    if record.prompt.system:
        raise Fault("messages[0]", "is a system message, which this format cannot hold: use rankings")
    pairs = record.comparisons()
    if not pairs:
        raise Fault("replies", "are all tied: there is no pair to write")
    sides = [_checked(record, n) for n in range(len(record.replies))]
    for pair in pairs:
        yield {"chosen": sides[pair.better], "rejected": sides[pair.worse]}


def _checked(record: Ranking, n: int) -> str:
    whole = (*record.prompt.messages, record.replies[n])
    told = side(whole)
    back = turns(told, f"replies[{n}]")
    if [(turn.role, turn.text) for turn in back] != [(turn.role, turn.text) for turn in whole]:
        raise Fault(f"replies[{n}]", "or its history holds a speaker mark ('\\n\\nHuman:') in the text")
    return told
