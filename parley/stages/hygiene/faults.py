"""Rows that can be read and still must not be learnt from, each with its reason.

A row that cannot be read at all (no JSON, not UTF-8, an unknown role, an empty turn, no assistant turn) was
rejected by its reader. Whether what a row says is decent is judged in `unsafe.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from parley.dialogue import Message
from parley.labels import Demonstration, Document, Ranking, Ranks

Learnt: TypeAlias = Demonstration | Ranking | Document

SUSPECT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffdÃâÂ]")
CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
OVERRIDE: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they show a text in another order than it has
LOST: Final = "\ufffd"
MISREAD: Final = re.compile(
    "Ã[©¨¤¶¼±³¡ª§«¢®´»º]|â€[™œ“”˜¦]|Â[\xa0£°·]"
)  # UTF-8 that was read as Windows-1252
MOST_LOST: Final = 0.001  # share of a text: one lost letter in a long text is no reason to leave it out
BLOB: Final = re.compile("(?<![!-~])[!-~]{1000}")  # base64, hex, minified code: no word is so long
SAYS: Final = re.compile(r"\w|[^\x00-\x7f]")  # a letter, a digit, or a sign such as an emoji


def fault_of(record: Learnt, *, most_characters: int) -> str:
    """Why the row is left out; "" where nothing is wrong. Documents may be of any length."""
    texts = list(texts_of(record))
    size = sum(map(len, texts))
    if not isinstance(record, Document) and 0 < most_characters < size:
        return f"is longer than {most_characters} characters"
    if not any(SAYS.search(text) for text in texts):
        return "is no text: there is no letter, digit or sign in it"
    found = (reason for text in texts if (reason := _fault(text)))
    return next(found, "") or (_contradiction(record) if isinstance(record, Ranking) else "")


def texts_of(record: Learnt) -> Iterator[str]:
    """Everything that people said in it."""
    if isinstance(record, Document):
        yield record.text
    else:
        yield from (message.text for message in messages_of(record))


def messages_of(record: Demonstration | Ranking) -> Sequence[Message]:
    """All turns, and of a ranking the replies behind them."""
    if isinstance(record, Demonstration):
        return record.conversation.messages
    return (*record.prompt.messages, *record.replies)


def _fault(text: str) -> str:
    if BLOB.search(text):
        return "is no text: 1000 characters without a space"
    return _wrong_signs(text) if SUSPECT.search(text) else ""


def _wrong_signs(text: str) -> str:
    if CONTROL.search(text):
        return "holds control characters"
    if OVERRIDE.search(text):
        return "holds characters that turn the direction of writing"
    if text.count(LOST) > MOST_LOST * len(text):
        return "holds replacement characters: letters were lost in an earlier conversion"
    if len(MISREAD.findall(text)) > MOST_LOST * len(text):
        return "looks like UTF-8 that was read as Windows-1252"
    return ""


def _contradiction(ranking: Ranking) -> str:
    """Two replies of the same words are one reply, which cannot be better than itself."""
    words = [" ".join(reply.text.split()) for reply in ranking.replies]
    if isinstance(ranking.judgement, Ranks) and len(set(words)) == len(words):
        return ""
    if any(words[pair.better] == words[pair.worse] for pair in ranking.comparisons()):
        return "ranks a reply above the same reply"
    return ""
