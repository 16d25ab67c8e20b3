"""`qa-feedback`: four sampled answers to a question over passages, with all six human choices.

    {"question": "…", "passages": [["Title", "Sentence.", …], …], "prediction 1": "…", …,
     "preference": [1, 0, 1, 2, 1, 0]}

Source: Wu et al. 2023 (FineGrainedRLHF). `preference` holds the choices 1v2, 1v3, 1v4, 2v3, 2v4, 3v4: 1
the first, 2 the second, 0 a tie. The prompt is the passages and, last, the question, since the answers
rest on the passages. Choices that a ranking reproduces become dense ranks, the others (ties that are not
transitive) stay choices. Not kept: `gold` and `feedback`, which judge spans of answer 1 rather than
replies. Rejected: not six choices of 0, 1 and 2, empty answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, listed, mapping, said, shown, text, whole
from parley.dialogue import Conversation, Message
from parley.labels import Choice, Ranking, Sign

SOURCE: Final = "qa-feedback"
ANSWERS: Final = 4
PAIRS: Final = tuple(combinations(range(ANSWERS), 2))
SIGNS: Final[Mapping[int, Sign]] = {0: "=", 1: ">", 2: "<"}


def parse(value: object) -> Iterator[Ranking]:
    """The ranking of one row."""
    row = mapping(value)
    answers = (text(row, f"prediction {n + 1}") for n in range(ANSWERS))
    replies = tuple(Message("assistant", answer, chat.UNKNOWN) for answer in answers)
    prompt = Conversation((Message("user", _question(row)),))
    yield Ranking(prompt, replies, chat.judgement(ANSWERS, _choices(row)), SOURCE, SOURCE)


def _question(row: Mapping[str, object]) -> str:
    passages = [_passage(passage, f"passages[{n}]") for n, passage in enumerate(_passages(row))]
    return "\n\n".join([*passages, text(row, "question")])


def _passages(row: Mapping[str, object]) -> list[object]:
    return listed(row, "passages") if row.get("passages") else []  # some questions have none


def _passage(value: object, at: str) -> str:
    """Title and sentences. A first sentence that repeats the title (as Wikipedia's do) says it once."""
    if not isinstance(value, list) or len(value) < 2:
        raise Fault(at, "must be a title and sentences")
    title, *sentences = (said(part, f"{at}[{n}]") for n, part in enumerate(value))
    body = " ".join(sentences)
    return body if body.startswith(f"{title}\n") else f"{title}\n\n{body}"


def _choices(row: Mapping[str, object]) -> tuple[Choice, ...]:
    chosen = listed(row, "preference")
    if len(chosen) != len(PAIRS):
        raise Fault("preference", f"must be {len(PAIRS)} choices, not {len(chosen)}")
    signs = (_sign(value, f"preference[{n}]") for n, value in enumerate(chosen))
    return tuple(Choice(left, right, sign) for (left, right), sign in zip(PAIRS, signs, strict=True))


def _sign(value: object, at: str) -> Sign:
    if whole(value, at) not in SIGNS:
        raise Fault(at, f"must be 0, 1 or 2, not {shown(value)}")
    return SIGNS[whole(value, at)]
