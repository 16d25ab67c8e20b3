"""`self-dialogue`: one paid person wrote both sides, as the announcement's trainers did.

    {"id": "…", "topic": "…", "turns": ["…", "…", …]}

Source: Fainberg et al. 2018 (self_dialogue_corpus). Turns carry no roles: the 1st, 3rd, … are the user's,
the others the assistant's, and all of them are kept; a dialogue of an odd number of turns ends in a user
turn, which nothing imitates. Both sides have the same author. Not kept: `id` and `topic`. Rejected: fewer
than two turns (one side only), empty turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from parley.dialects import chat
from parley.dialects.fields import listed, mapping, said
from parley.dialogue import dialogue
from parley.labels import Demonstration

SOURCE: Final = "self-dialogue"


def parse(value: object) -> Iterator[Demonstration]:
    """The demonstration of one row."""
    turns = [said(turn, f"turns[{n}]") for n, turn in enumerate(listed(mapping(value), "turns"))]
    messages = dialogue(turns, author=chat.trainer(SOURCE)).messages
    yield chat.demonstrated(messages, source=SOURCE, at="turns")
