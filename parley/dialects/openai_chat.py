"""`openai-chat`: the fine-tuning rows of the chat-completions API.

    {"messages": [{"role": "system", "content": "…"}, {"role": "user", …}, {"role": "assistant", …}]}

Source: the public API's fine-tuning format. `content` is text, or a list of exactly one text part;
`weight` 0 on an assistant turn means that it is not to be imitated, and is kept. Not kept: `name`, and
other keys beside `messages`. Rejected: tool and function roles and calls, parts that are not text, a
dialogue without both sides, empty turns. Writing loses authors, trainer and source, which the format has
no place for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, listed, mapping, path, present, said, shown, text
from parley.dialects.records import Record
from parley.dialogue import Message
from parley.labels import Demonstration

SOURCE: Final = "openai-chat"
CALLS: Final = ("tool_calls", "function_call", "audio", "refusal")


def parse(value: object) -> Iterator[Demonstration]:
    """The demonstration of one row."""
    turns = [mapping(turn, f"messages[{n}]") for n, turn in enumerate(listed(mapping(value), "messages"))]
    messages = tuple(_message(turn, f"messages[{n}]") for n, turn in enumerate(turns))
    talk = chat.conversation(messages)
    answers = (n for n, message in enumerate(messages) if message.role == "assistant")
    imitate = tuple(n for n in answers if _weight(turns[n], f"messages[{n}]"))
    if not imitate:
        raise Fault("messages", "has weight 0 on every assistant turn: nothing is left to imitate")
    yield Demonstration(talk, imitate, SOURCE, SOURCE)


def _message(turn: Mapping[str, object], at: str) -> Message:
    for key in CALLS:
        if turn.get(key):
            raise Fault(path(at, key), "is no text: only conversations in words can be read")
    who = chat.role(turn, "role", chat.ROLES, at)
    return Message(who, _content(turn, at), chat.usual(who, chat.UNKNOWN))


def _content(turn: Mapping[str, object], at: str) -> str:
    content, where = present(turn, "content", at), path(at, "content")
    if not isinstance(content, list):
        return said(content, where)
    part = mapping(content[0], f"{where}[0]") if len(content) == 1 else {}
    if part.get("type") != "text":
        raise Fault(where, "must be text or one text part")
    return text(part, "text", f"{where}[0]")


def _weight(turn: Mapping[str, object], at: str) -> bool:
    weight = turn.get("weight", 1)
    if isinstance(weight, bool) or weight not in (0, 1):
        raise Fault(path(at, "weight"), f"must be 0 or 1, not {shown(weight)}")
    return weight == 1


def express(record: Record) -> Iterator[dict[str, object]]:
    """The row of one demonstration; turns not to be imitated weigh 0."""
    if not isinstance(record, Demonstration):
        raise Fault("", "is no demonstration: write it as rankings or hh")
    yield {"messages": [_written(record, n) for n in range(len(record.conversation.messages))]}


def _written(record: Demonstration, n: int) -> dict[str, object]:
    message = record.conversation.messages[n]
    row: dict[str, object] = {"role": message.role, "content": message.text}
    left_out = message.role == "assistant" and n not in record.imitate
    return row | {"weight": 0} if left_out else row
