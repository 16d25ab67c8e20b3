"""Records inside sealed artifacts: JSON lines that keep everything a record holds.

People's own files come and go through `dialects`; these rows are ours alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from parley.dialects import Rated
from parley.dialogue import Conversation, Message
from parley.errors import ArtifactError
from parley.labels import Choice, Choices, Demonstration, Document, Prompt, Ranking, Ranks

T = TypeVar("T")


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """One JSON object a line; how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
            count += 1
    return count


def read_rows(path: Path, build: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """The records of a file; none where it is absent."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield build(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ArtifactError(
                    f"{path}, line {number}: not a record of this version ({error})"
                ) from None


def document_row(document: Document) -> dict[str, Any]:
    """A document as JSON."""
    return {"text": document.text, "source": document.source}


def document_of(row: dict[str, Any]) -> Document:
    """Its inverse."""
    return Document(row["text"], row["source"])


def demonstration_row(demonstration: Demonstration) -> dict[str, Any]:
    """A demonstration as JSON."""
    return {
        "messages": _messages(demonstration.conversation.messages),
        "imitate": list(demonstration.imitate),
        "trainer": demonstration.trainer,
        "source": demonstration.source,
    }


def demonstration_of(row: dict[str, Any]) -> Demonstration:
    """Its inverse."""
    return Demonstration(_conversation(row["messages"]), tuple(row["imitate"]), row["trainer"], row["source"])


def prompt_row(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON."""
    return {
        "messages": _messages(prompt.conversation.messages),
        "source": prompt.source,
        "situation": prompt.situation,
    }


def prompt_of(row: dict[str, Any]) -> Prompt:
    """Its inverse."""
    return Prompt(_conversation(row["messages"]), row["source"], row["situation"])


def ranking_row(ranking: Ranking) -> dict[str, Any]:
    """A ranking as JSON, with `ranks` or `choices`."""
    judged: dict[str, Any] = (
        {"ranks": list(ranking.judgement.values)}
        if isinstance(ranking.judgement, Ranks)
        else {"choices": [[c.left, c.right, c.sign] for c in ranking.judgement.pairs]}
    )
    return {
        "messages": _messages(ranking.prompt.messages),
        "replies": _messages(ranking.replies),
        **judged,
        "trainer": ranking.trainer,
        "source": ranking.source,
    }


def ranking_of(row: dict[str, Any]) -> Ranking:
    """Its inverse."""
    judgement = (
        Ranks(tuple(row["ranks"]))
        if "ranks" in row
        else Choices(tuple(Choice(left, right, sign) for left, right, sign in row["choices"]))
    )
    replies = _conversation(row["replies"]).messages
    return Ranking(_conversation(row["messages"]), replies, judgement, row["trainer"], row["source"])


def rated_row(rated: Rated) -> dict[str, Any]:
    """A rated reply as JSON."""
    return {
        "messages": _messages(rated.prompt.messages),
        "reply": _messages([rated.reply])[0],
        "good": rated.good,
        "source": rated.source,
    }


def _messages(messages: Iterable[Message]) -> list[list[str]]:
    return [[message.role, message.text, message.author] for message in messages]


def _conversation(rows: list[list[Any]]) -> Conversation:
    return Conversation(tuple(Message(role, text, author) for role, text, author in rows))
