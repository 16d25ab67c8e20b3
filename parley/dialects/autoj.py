"""`autoj`: two replies to one prompt, with a person's choice or a tie.

    {"scenario": "…", "prompt": "…", "response 1": "…", "response 2": "…", "label": 0}

Source: Li et al. 2023 (Auto-J, as prometheus-eval redistributes it). `label` 0: the first is better, 1:
the second, 2: a tie. Two equal replies are kept with the judgement they got. Not kept: `scenario`.
Rejected: another label, an empty prompt or reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import Fault, mapping, present, shown, text, whole
from parley.dialogue import Conversation, Message
from parley.labels import Ranking, Ranks

SOURCE: Final = "autoj"
RANKS: Final[Mapping[int, tuple[int, int]]] = {0: (1, 2), 1: (2, 1), 2: (1, 1)}


def parse(value: object) -> Iterator[Ranking]:
    """The ranking of one row."""
    row = mapping(value)
    prompt = Conversation((Message("user", text(row, "prompt")),))
    replies = tuple(Message("assistant", text(row, f"response {n}"), chat.UNKNOWN) for n in (1, 2))
    label = whole(present(row, "label"), "label")
    if label not in RANKS:
        raise Fault("label", f"must be 0, 1 or 2, not {shown(label)}")
    yield Ranking(prompt, replies, Ranks(RANKS[label]), SOURCE, SOURCE)
