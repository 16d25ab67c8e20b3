"""`rankings`: our own JSON lines of 2 to 9 replies to one history, ranked.

    {"messages": […history…], "replies": [{"content": "…", "rank": 1}, …], "trainer": "…"}
    {"messages": […history…], "replies": [{"content": "…"}, …], "choices": [[0, 1, ">"], [1, 2, "="]], …}

Source: `parley data export`. Rank 1 is best and equal ranks tie; choices that no ranking reproduces stand
as pairs, ">" where the left reply is better. Beside these keys, and only where they differ from the usual,
stand `author` in a message or reply (user turns: `user`; assistant turns and replies: `unknown`) and
`source`. Kept both ways, ranks as given; other keys are not. Rejected: a rank that is missing or below 1,
ranks beside choices, a pair named twice, fewer than 2 or more than 9 replies, empty replies, a history
that does not end in a user turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from parley.dialects import chat
from parley.dialects.fields import Fault, listed, mapping, optional_text, path, present, shown, text, whole
from parley.dialects.records import Record
from parley.dialogue import Message
from parley.labels import MAX_REPLIES, MIN_REPLIES, Choice, Choices, Ranking, Ranks, Sign

SOURCE: Final = "rankings"
SIGNS: Final = (">", "<", "=")


def parse(value: object) -> Iterator[Ranking]:
    """The ranking of one row."""
    row = mapping(value)
    trainer, source = chat.source_of(row, SOURCE)
    prompt = chat.history(chat.messages(row, "messages", by=chat.UNKNOWN))
    replies = [mapping(reply, f"replies[{n}]") for n, reply in enumerate(listed(row, "replies"))]
    if not MIN_REPLIES <= len(replies) <= MAX_REPLIES:
        raise Fault("replies", f"must be {MIN_REPLIES} to {MAX_REPLIES}, not {len(replies)}")
    said = tuple(_reply(reply, f"replies[{n}]") for n, reply in enumerate(replies))
    yield Ranking(prompt, said, _judgement(row, replies), trainer, source)


def _reply(row: Mapping[str, object], at: str) -> Message:
    author = optional_text(row, "author", at, default=chat.UNKNOWN)
    return Message("assistant", text(row, "content", at), author)


def _judgement(row: Mapping[str, object], replies: Sequence[Mapping[str, object]]) -> Ranks | Choices:
    if "choices" not in row:
        return Ranks(tuple(_rank(reply, f"replies[{n}]") for n, reply in enumerate(replies)))
    for n, reply in enumerate(replies):
        if "rank" in reply:
            raise Fault(f"replies[{n}].rank", "stands beside 'choices': give one of them")
    return Choices(_choices(listed(row, "choices"), len(replies)))


def _rank(reply: Mapping[str, object], at: str) -> int:
    rank = whole(present(reply, "rank", at), path(at, "rank"))
    if rank < 1:
        raise Fault(path(at, "rank"), f"must be 1 (best) or more, not {shown(rank)}")
    return rank


def _choices(pairs: Sequence[object], count: int) -> tuple[Choice, ...]:
    found = tuple(_choice(pair, count, f"choices[{n}]") for n, pair in enumerate(pairs))
    seen: set[frozenset[int]] = set()
    for n, choice in enumerate(found):
        pair = frozenset((choice.left, choice.right))
        if pair in seen:
            raise Fault(f"choices[{n}]", f"names the pair {choice.left}, {choice.right} a second time")
        seen.add(pair)
    return found


def _choice(pair: object, count: int, at: str) -> Choice:
    if not isinstance(pair, list) or len(pair) != 3:
        raise Fault(at, 'must be like [0, 1, ">"]')
    left, right = whole(pair[0], at), whole(pair[1], at)
    if left == right or not (0 <= left < count and 0 <= right < count):
        raise Fault(at, f"must name two of the {count} replies, counted from 0")
    if pair[2] not in SIGNS:
        raise Fault(at, f'must say ">", "<" or "=", not {shown(pair[2])}')
    return Choice(left, right, cast(Sign, pair[2]))


def express(record: Record) -> Iterator[dict[str, object]]:
    """The row of one ranking."""
    if not isinstance(record, Ranking):
        raise Fault("", "is no ranking: write it as demonstrations")
    row: dict[str, object] = {
        "messages": [chat.written(message, by=chat.UNKNOWN) for message in record.prompt.messages],
        "replies": [_written(record, n) for n in range(len(record.replies))],
    }
    if isinstance(record.judgement, Choices):
        row["choices"] = [[pair.left, pair.right, pair.sign] for pair in record.judgement.pairs]
    row["trainer"] = record.trainer
    if record.source != SOURCE:
        row["source"] = record.source
    yield row


def _written(record: Ranking, n: int) -> dict[str, object]:
    reply = record.replies[n]
    row: dict[str, object] = {"content": reply.text}
    if isinstance(record.judgement, Ranks):
        row["rank"] = record.judgement.values[n]
    return row if reply.author == chat.UNKNOWN else row | {"author": reply.author}
