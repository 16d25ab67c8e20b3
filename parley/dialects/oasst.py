"""`oasst`: conversation trees with ranked sibling replies.

    {"message_tree_id": "…", "prompt": {"text": "…", "role": "prompter", "replies": [
        {"text": "…", "role": "assistant", "rank": 0, "replies": […]}, …]}}

Source: Köpf et al. 2023 (LAION-AI/Open-Assistant), the tree export; rank 0 is best. A tree yields:

- a ranking for every prompt with 2 to 9 ranked replies, its history the path from the root;
- demonstrations: root-to-leaf paths that imitate the best-ranked (or unranked) replies on them, each reply
  in exactly one demonstration. The usual practice imitates the best reply too; a lower-ranked one only
  stands in the histories of what was answered below it;
- a prompt for every message that nobody answered.

So every message is in some record. Not kept: ids, language, emojis, counts. Rejected, message by message
and together with what hangs below: deleted ones, those that did not pass review, empty ones, unknown
roles, ranks below 0. Authors: people are `trainer:oasst` (prompters `user`), synthetic messages carry
their model's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, mapping, optional_text, path, present, shown, text, whole
from parley.dialogue import USER, Conversation, Message, Role
from parley.labels import MAX_REPLIES, Demonstration, Prompt, Ranking, Ranks

SOURCE: Final = "oasst"
ROLES: Final[Mapping[str, Role]] = {"prompter": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Node:
    """A message at its place in the tree; `rank` is None where nobody ranked it."""

    at: str
    message: Message
    rank: int | None
    row: Mapping[str, object]


Path = tuple[Node, ...]
Branch = tuple[Path, tuple[Node, ...]]  # from the root to a node, and the replies below it


def parse(value: object) -> Iterator[Demonstration | Ranking | Prompt | Fault]:
    """Everything one tree holds."""
    root = _node(mapping(present(mapping(value), "prompt"), "prompt"), "prompt")
    faults: list[Fault] = []
    branches = list(_branches(root, faults))
    yield from faults
    for thread, replies in branches:
        yield from _ranking(thread, replies)
    yield from _demonstrations(branches)
    for thread, replies in branches:
        if not replies and thread[-1].message.role == "user":
            yield Prompt(_talk(thread), SOURCE)


def _node(row: Mapping[str, object], at: str) -> Node:
    if row.get("deleted"):
        raise Fault(at, "is deleted")
    if row.get("review_result") is False:
        raise Fault(at, "did not pass review")
    role = chat.role(row, "role", ROLES, at)
    return Node(at, Message(role, text(row, "text", at), _author(row, role, at)), _rank(row, at), row)


def _author(row: Mapping[str, object], role: Role, at: str) -> str:
    if row.get("synthetic"):
        return optional_text(row, "model_name", at) if row.get("model_name") else chat.UNKNOWN
    return USER if role == "user" else chat.trainer(SOURCE)


def _rank(row: Mapping[str, object], at: str) -> int | None:
    if row.get("rank") is None:
        return None
    rank = whole(row["rank"], path(at, "rank"))
    if rank < 0:
        raise Fault(path(at, "rank"), f"must be 0 (best) or more, not {shown(rank)}")
    return rank


def _branches(root: Node, faults: list[Fault]) -> Iterator[Branch]:
    """Depth first, best replies first, without recursion: a thread may be very long."""
    waiting: list[Path] = [(root,)]
    while waiting:
        thread = waiting.pop()
        replies = tuple(_replies(thread[-1], faults))
        yield thread, replies
        best_last = sorted(replies, key=lambda reply: reply.rank or 0, reverse=True)
        waiting.extend((*thread, reply) for reply in best_last)


def _replies(parent: Node, faults: list[Fault]) -> Iterator[Node]:
    rows = parent.row.get("replies") or []
    if not isinstance(rows, list):
        faults.append(Fault(path(parent.at, "replies"), f"must be a list, not {shown(rows)}"))
        return
    for n, row in enumerate(rows):
        at = f"{path(parent.at, 'replies')}[{n}]"
        try:
            yield _node(mapping(row, at), at)
        except Fault as fault:
            faults.append(fault)


def _ranking(thread: Path, replies: tuple[Node, ...]) -> Iterator[Ranking | Fault]:
    ranked = [(node.message, node.rank) for node in replies if node.rank is not None]
    ranked = [(message, rank) for message, rank in ranked if message.role == "assistant"]
    if len(ranked) < 2 or thread[-1].message.role != "user":
        return
    if len(ranked) > MAX_REPLIES:
        yield Fault(path(thread[-1].at, "replies"), f"are {len(ranked)} ranked ones, more than {MAX_REPLIES}")
        return
    ladder = sorted({rank for _, rank in ranked})
    ranks = Ranks(tuple(ladder.index(rank) + 1 for _, rank in ranked))
    yield Ranking(_talk(thread), tuple(message for message, _ in ranked), ranks, SOURCE, SOURCE)


def _demonstrations(branches: list[Branch]) -> Iterator[Demonstration]:
    good = {node.at for _, replies in branches for node in replies if _imitable(node, replies)}
    answered = {node.at for thread, _ in branches if _assistant(thread[-1]) for node in thread[:-1]}
    for thread, _ in branches:
        if _assistant(thread[-1]) and thread[-1].at not in answered:
            imitate = tuple(n for n, node in enumerate(thread) if node.at in good)
            good.difference_update(node.at for node in thread)
            if imitate:
                yield Demonstration(_talk(thread), imitate, SOURCE, SOURCE)


def _imitable(node: Node, siblings: tuple[Node, ...]) -> bool:
    ranks = [sibling.rank for sibling in siblings if sibling.rank is not None]
    return _assistant(node) and (node.rank is None or node.rank == min(ranks))


def _assistant(node: Node) -> bool:
    return node.message.role == "assistant"


def _talk(thread: Path) -> Conversation:
    return Conversation(tuple(node.message for node in thread))
