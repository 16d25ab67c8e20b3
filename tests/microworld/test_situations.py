"""A situation travels as text; other text is refused."""

from __future__ import annotations

import pytest

from parley.errors import DataError
from parley.microworld.situations import Situation
from parley.microworld.users import scripts
from parley.microworld.world import World


def test_a_situation_survives_as_text(world: World) -> None:
    for script in scripts(world, 106, 1, split="test"):
        situation = script.turns[-1].situation
        assert Situation.of_text(situation.to_text()) == situation
        assert len(situation.to_text()) < 160


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind":"known","subject":"Mira"}',
        '{"kind":"guess","subject":"Mira","attribute":"town"}',
        '{"kind":"known","subject":"Mira","attribute":"town","more":1}',
        '{"kind":"harm","subject":"Mira","request":"help {s}"}',
        '{"kind":"sum","subject":"Mira"}',
        '{"kind":"sum","subject":"3 plus 04"}',
        '{"kind":"sum","subject":"3 plus 4","attribute":"town"}',
        '{"kind":"harm","subject":"Mira","attribute":"town","request":"rob {s}"}',
    ],
)
def test_other_text_is_no_situation(text: str) -> None:
    with pytest.raises(DataError):
        Situation.of_text(text)
