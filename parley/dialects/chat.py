"""Turns → the records of `parley.labels`, with the checks that every format shares.

`{"role": …, "content": …}` is the message of `demonstrations`, `rankings` and `openai-chat`. Consecutive
turns of one speaker are kept as they are: merging them would lose where one ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from parley.dialects.fields import Fault, listed, mapping, optional_text, path, shown, text
from parley.dialogue import USER, Conversation, Message, Role
from parley.labels import Choice, Choices, Demonstration, Ranks, Sign

UNKNOWN: Final = "unknown"  # the author of a reply that some model wrote
ROLES: Final[Mapping[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant"}


def role(row: Mapping[str, object], key: str, roles: Mapping[str, Role], at: str) -> Role:
    """The role that the format's word under `key` stands for."""
    word = text(row, key, at)
    if word not in roles:
        raise Fault(path(at, key), f"is one of {', '.join(roles)}, not {shown(word)}")
    return roles[word]


def messages(row: Mapping[str, object], key: str, *, by: str) -> tuple[Message, ...]:
    """The messages under `key`; assistant turns that name no author are `by`'s."""
    turns = listed(row, key)
    return tuple(message(mapping(turn, f"{key}[{n}]"), f"{key}[{n}]", by=by) for n, turn in enumerate(turns))


def message(row: Mapping[str, object], at: str, *, by: str) -> Message:
    """One message of ours: `role`, `content` and, where it is not the usual one, `author`."""
    who = role(row, "role", ROLES, at)
    return Message(who, text(row, "content", at), optional_text(row, "author", at, default=usual(who, by)))


def usual(who: Role, by: str) -> str:
    """The author that a message has when its file does not say."""
    return by if who == "assistant" else USER


def written(said: Message, *, by: str) -> dict[str, object]:
    """The inverse of `message`."""
    row: dict[str, object] = {"role": said.role, "content": said.text}
    return row if said.author == usual(said.role, by) else row | {"author": said.author}


def conversation(turns: Sequence[Message], at: str = "messages") -> Conversation:
    """A conversation of both sides, with at most one system message, at its start."""
    _check_system(turns, at)
    for who in ("user", "assistant"):
        if not any(turn.role == who for turn in turns):
            raise Fault(at, f"has no {who} turn: a dialogue needs both sides")
    return Conversation(tuple(turns))


def history(turns: Sequence[Message], at: str = "messages") -> Conversation:
    """What stands before a reply: it ends in a user's turn."""
    _check_system(turns, at)
    if not turns or turns[-1].role != "user":
        raise Fault(at, "must end in a user turn, which the replies answer")
    return Conversation(tuple(turns))


def _check_system(turns: Sequence[Message], at: str) -> None:
    for n, turn in enumerate(turns):
        if n and turn.role == "system":
            second = turns[0].role == "system"
            raise Fault(
                f"{at}[{n}]", "is a second system message" if second else "is a system message, not the first"
            )


def demonstrated(turns: Sequence[Message], *, source: str, at: str = "messages") -> Demonstration:
    """Every assistant turn is to be imitated; the trainer is whoever stands behind `source`."""
    return Demonstration.of_all_turns(conversation(turns, at), trainer=source, source=source)


def asked_and_answered(question: str, answer: str, *, source: str) -> Demonstration:
    """One question and the answer that a person wrote."""
    turns = (Message("user", question), Message("assistant", answer, trainer(source)))
    return demonstrated(turns, source=source)


def trainer(name: str) -> str:
    """The author of what a trainer wrote."""
    return f"trainer:{name}"


def all_turns(record: Demonstration) -> bool:
    """Whether every assistant turn is to be imitated: what formats without marks can express."""
    return record.imitate == Demonstration.of_all_turns(record.conversation, trainer="", source="").imitate


def judgement(count: int, pairs: Sequence[Choice]) -> Ranks | Choices:
    """Dense ranks where they reproduce all the choices (every pair chosen once), else the choices."""
    wins = [sum(_wins(pair, reply) for pair in pairs) for reply in range(count)]
    ladder = sorted(set(wins), reverse=True)
    ranks = tuple(ladder.index(won) + 1 for won in wins)
    agrees = all(_sign(ranks[pair.left], ranks[pair.right]) == pair.sign for pair in pairs)
    return Ranks(ranks) if agrees else Choices(tuple(pairs))


def _wins(pair: Choice, reply: int) -> bool:
    return (pair.sign == ">" and pair.left == reply) or (pair.sign == "<" and pair.right == reply)


def _sign(left: int, right: int) -> Sign:
    return "=" if left == right else (">" if left < right else "<")


def source_of(row: Mapping[str, object], default: str) -> tuple[str, str]:
    """Trainer and source, as our own formats hold them."""
    return optional_text(row, "trainer"), optional_text(row, "source", default=default)
