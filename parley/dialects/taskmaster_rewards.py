"""`taskmaster-rewards`: 0 or 1 for each generated agent turn, like thumbs.

    {"set": "…", "conversation_id": "…", "context": "[{\\"role\\": \\"user\\", \\"text\\": \\"…\\"}, …]",
     "generation": "{\\"role\\": \\"agent\\", …}", "reward": 1.0}

Source: Taskmaster (TM-3, TM-4), the `reward` files; `context` and `generation` are JSON inside text. Every
row is a `Rated` reply. After the last row follow the rankings that the ratings imply: the different
replies to one and the same context, where some are good (rank 1) and some are not (rank 2); replies rated
both ways are left out of them, more than 9 are dealt out over several rankings. A consumer that learns
from thumbs takes `rated`, one that learns from comparisons takes `rankings`; they are the same judgements.

Most turns are API calls and their results. A call is an assistant turn and a result a user turn by `api`,
each with its own JSON as text: `{"api": {…}}`, `{"response": {…}}`; a blank turn of the history is
`{"text": ""}`. Not kept: `set`, `conversation_id`. Rejected: a reward other than 0 or 1, a context that
does not end in the user's words or an API result (the agent's greeting), an empty generation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from parley.dialects import chat, lines
from parley.dialects.fields import Fault, encodable, mapping, path, present, shown, text
from parley.dialects.readers import Rows, by_row
from parley.dialects.records import Rated, Record, Reject
from parley.dialogue import USER, Conversation, Message, Role
from parley.labels import MAX_REPLIES, Ranking, Ranks

SOURCE: Final = "taskmaster-rewards"
API: Final = "api"  # the author of what an API answered
ROLES: Final[Mapping[str, Role]] = {"user": "user", "agent": "assistant", "api": "user"}
AUTHORS: Final[Mapping[str, str]] = {"user": USER, "agent": chat.UNKNOWN, "api": API}
CODED: Final = ('{"api"', '{"response"', '{"text"')


def read_rows(rows: Rows) -> Iterator[Record | Reject]:
    """A rated reply for each row, then the rankings that they imply."""
    told: dict[Conversation, list[Rated]] = {}
    for item in by_row(parse)(rows):
        yield item
        if isinstance(item, Rated):
            told.setdefault(item.prompt, []).append(item)
    for prompt, rated in told.items():
        yield from rankings(prompt, rated)


def parse(value: object) -> Iterator[Rated]:
    """The rated reply of one row."""
    row = mapping(value)
    turns = _decoded(row, "context")
    if not isinstance(turns, list):
        raise Fault("context", f"must be a list, not {shown(turns)}")
    context = [_message(mapping(turn, f"context[{n}]"), f"context[{n}]") for n, turn in enumerate(turns)]
    yield Rated(chat.history(context, "context"), _generation(row), _good(row), SOURCE)


def _generation(row: Mapping[str, object]) -> Message:
    turn = mapping(_decoded(row, "generation"), "generation")
    if "text" in turn:
        text(turn, "text", "generation")
    reply = _message(turn, "generation")
    if reply.role != "assistant":
        raise Fault("generation.role", f"must be 'agent', not {shown(turn['role'])}")
    return reply


def _good(row: Mapping[str, object]) -> bool:
    reward = present(row, "reward")
    if isinstance(reward, bool) or reward not in (0, 1):
        raise Fault("reward", f"must be 0 or 1, not {shown(reward)}")
    return reward == 1


def _decoded(row: Mapping[str, object], key: str) -> object:
    try:
        return lines.DECODER.decode(text(row, key))
    except (ValueError, RecursionError):
        raise Fault(key, "is not JSON inside text") from None


def _message(turn: Mapping[str, object], at: str) -> Message:
    role = chat.role(turn, "role", ROLES, at)
    return Message(role, _words(turn, at), AUTHORS[str(turn["role"])])


def _words(turn: Mapping[str, object], at: str) -> str:
    rest = {key: value for key, value in turn.items() if key != "role"}
    said = rest.get("text")
    plain = isinstance(said, str) and len(rest) == 1 and said.strip() and not said.startswith(CODED)
    if not rest:
        raise Fault(path(at, "text"), "is missing")
    return text(turn, "text", at) if plain else encodable(json.dumps(rest, ensure_ascii=False), at)


def rankings(prompt: Conversation, rated: list[Rated]) -> Iterator[Ranking]:
    """The rankings that ratings of replies to one context imply; none where all agree."""
    good = {one.reply: None for one in rated if one.good}  # dicts: sets that keep the order
    bad = {one.reply: None for one in rated if not one.good}
    ranks = [(reply, 1) for reply in good if reply not in bad] + [
        (reply, 2) for reply in bad if reply not in good
    ]
    hands = -(-len(ranks) // MAX_REPLIES)
    for hand in range(hands):
        dealt = ranks[hand::hands]
        if len({rank for _, rank in dealt}) == 2:
            judgement = Ranks(tuple(rank for _, rank in dealt))
            yield Ranking(prompt, tuple(reply for reply, _ in dealt), judgement, SOURCE, SOURCE)
