"""`gsm8k`: grade-school problems with step-by-step answers.

    {"question": "…", "answer": "… <<48/2=24>>24 …\\n#### 72"}

Source: Cobbe et al. 2021 (openai/grade-school-math). The answer is kept to the letter, with its calculator
marks and its last line `#### RESULT`. Rejected: an empty question or answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import mapping, text
from parley.labels import Demonstration

SOURCE: Final = "gsm8k"


def parse(value: object) -> Iterator[Demonstration]:
    """Question and answer of one row."""
    row = mapping(value)
    yield chat.asked_and_answered(text(row, "question"), text(row, "answer"), source=SOURCE)
