"""`demonstrations`: our own JSON lines of conversations to imitate.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}], "trainer": "…"}

Source: `parley data export`, and whoever writes it by hand. Beside these keys, and only where they differ
from the usual, stand `author` in a message (user turns: `user`; assistant turns: `trainer:NAME`),
`imitate` (indices of the messages to imitate; all assistant turns otherwise) and `source`. All of it is
kept both ways; other keys are not. Rejected: a dialogue without a user or an assistant turn, empty turns,
unknown roles, a second system message, `imitate` that points elsewhere than to assistant turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, listed, mapping, whole
from parley.dialects.records import Record
from parley.dialogue import Message
from parley.labels import Demonstration

SOURCE: Final = "demonstrations"


def parse(value: object) -> Iterator[Demonstration]:
    """The demonstration of one row."""
    row = mapping(value)
    trainer, source = chat.source_of(row, SOURCE)
    turns = chat.messages(row, "messages", by=_author(trainer))
    whole_talk = chat.conversation(turns)
    yield Demonstration(whole_talk, _imitate(row, turns), trainer, source)


def express(record: Record) -> Iterator[dict[str, object]]:
    """The row of one demonstration."""
    if not isinstance(record, Demonstration):
        raise Fault("", "is no demonstration: write it as rankings")
    by = _author(record.trainer)
    row: dict[str, object] = {
        "messages": [chat.written(message, by=by) for message in record.conversation.messages],
        "trainer": record.trainer,
    }
    if not chat.all_turns(record):
        row["imitate"] = list(record.imitate)
    if record.source != SOURCE:
        row["source"] = record.source
    yield row


def _author(trainer: str) -> str:
    return chat.trainer(trainer) if trainer else chat.UNKNOWN


def _imitate(row: Mapping[str, object], turns: Sequence[Message]) -> tuple[int, ...]:
    answers = tuple(n for n, turn in enumerate(turns) if turn.role == "assistant")
    if "imitate" not in row:
        return answers
    found = tuple(whole(value, f"imitate[{n}]") for n, value in enumerate(listed(row, "imitate")))
    for n, index in enumerate(found):
        if index not in answers:
            raise Fault(f"imitate[{n}]", f"must be the index of an assistant turn, not {index}")
    return found
