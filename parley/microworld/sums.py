"""Small sums: how they are asked for, said and read.

Numbers are written as digits. A vocabulary of 768 (BPE) holds each number up to 10 as one token and
none above it in more than two, at a cost of about ten merges. As words, those from eleven to twenty took
two to four tokens, the same documents were a sixth longer, and other words lost merges.

Sums are facts about numbers: documents state them, held out or not, so that a model of half a million
parameters recalls them. `WorldConfig.share_sums_in_documents` leaves some to be worked out.
"""

from __future__ import annotations

import re
from typing import Final

from parley.microworld.language import Wordings

SumKey = tuple[int, int]  # the smaller addend first: both orders are one sum, in one split

SUM_QUESTIONS: Final = Wordings(
    (
        "What is {a} plus {b}?",
        "How much is {a} plus {b}?",
        "Tell me the sum of {a} and {b}.",
        "Add {a} and {b}.",
    ),
    (
        "What is the sum of {a} and {b}?",
        "Can you tell me the sum of {a} and {b}?",
        "How much is {a} and {b}?",
        "Do you know what {a} plus {b} is?",
    ),
)
SUM_ANSWERS: Final = ("{a} plus {b} is {c}.", "The sum of {a} and {b} is {c}.", "{a} and {b} make {c}.")
SHORT_ANSWER: Final = "It is {c}."


def sum_key(a: int, b: int) -> SumKey:
    """The sum that both orders are."""
    return min(a, b), max(a, b)


def sum_subject(a: int, b: int) -> str:
    """What a situation is about: "3 plus 4"."""
    return f"{a} plus {b}"


def addends(subject: str) -> tuple[int, int] | None:
    """The numbers in a subject, in their order; None where it is no sum."""
    found = _SUBJECT.fullmatch(subject)
    return (int(found["a"]), int(found["b"])) if found else None


def read_sum(sentence: str) -> tuple[str, int] | None:
    """What is added ("" in "It is 7.") and the result that the sentence gives; None for any other."""
    if not sentence[-2:-1].isdigit():  # nearly all sentences: judging must stay cheap
        return None
    for pattern in _SENTENCES:
        found = pattern.fullmatch(sentence)
        if found:
            numbers = found.groupdict()
            subject = sum_subject(int(numbers["a"]), int(numbers["b"])) if "a" in numbers else ""
            return subject, int(numbers["c"])
    return None


def _pattern(template: str) -> re.Pattern[str]:
    """The template with three digits at most for each number, none of them a leading zero."""
    numbers = {name: f"(?P<{name}>0|[1-9][0-9]{{0,2}})" for name in "abc"}
    return re.compile(template.replace(".", r"\.").format(**numbers))


_SUBJECT: Final = _pattern("{a} plus {b}")
_SENTENCES: Final = tuple(_pattern(template) for template in (*SUM_ANSWERS, SHORT_ANSWER))
