"""Whatever stands in one place of a good row, the reader answers with records or with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy

import pytest

from parley.dialects import FORMATS, Reject
from parley.dialects.records import Row
from tests.dialects.files import TALK
from tests.dialects.test_comparisons import TREE, pair, preferred, rewarded, say
from tests.dialects.test_ours import chosen, ranked

ROWS: dict[str, list[object]] = {
    "demonstrations": [{"messages": TALK, "trainer": "ann", "imitate": [1], "source": "x"}],
    "rankings": [ranked(1, 2), chosen([0, 1, ">"], [1, 2, "="])],
    "openai-chat": [{"messages": [TALK[0], TALK[1] | {"weight": 1}]}],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "system": "s"}
    ],
    "instruct": [
        {"instruction": "a", "input": "b", "output": "c"},
        {"instruction": "a", "context": "b", "response": "c"},
        {"instruction": "a", "instances": [{"input": "b", "output": "c"}, {"input": "d", "output": "e"}]},
        {"prompt": "Q: a\nA: b\n\nQ: c\nA:", "completion": "d"},
    ],
    "gsm8k": [{"question": "a", "answer": "b"}],
    "hh": [pair("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c")],
    "oasst": [{"prompt": TREE}],
    "qa-feedback": [preferred(1, 1, 0, 0, 2, 2)],
    "autoj": [{"prompt": "a", "response 1": "b", "response 2": "c", "label": 0}],
    "self-dialogue": [{"turns": ["a", "b"]}],
    "taskmaster": [{"utterances": [{"speaker": "user", "text": "a"}, {"speaker": "assistant", "text": "b"}]}],
    "taskmaster-rewards": [rewarded(say("a"), 1)],
    "text": [{"text": "a"}],
}
JUNK: list[object] = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    " ",
    "x",
    "\ud800",
    [],
    {},
    [None],
    ["x"],
    {"x": 1},
    [[]],
]


def mutations(value: object) -> Iterator[object]:
    """The value with junk in one of its places, or without one of its parts."""
    yield from deepcopy(JUNK)
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            less = deepcopy(value)
            del less[key]
            yield less
            for part in mutations(value[key]):
                yield (
                    type(value)({**value, key: part}) if isinstance(value, dict) else _with(value, key, part)
                )


def _with(value: list[object], place: object, part: object) -> list[object]:
    return [part if n == place else item for n, item in enumerate(value)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_row_is_read_or_rejected(name: str) -> None:
    for good in ROWS[name]:
        assert not [item for item in FORMATS[name].reader([Row(1, good)]) if isinstance(item, Reject)]
        rejects = 0
        for n, row in enumerate(mutations(good), start=2):
            for item in FORMATS[name].reader([Row(n, row)]):
                if isinstance(item, Reject):
                    rejects += 1
                    assert item.record == n
                    assert item.reason
                    json.dumps([item.field, item.reason]).encode()
                    f"{item.field}{item.reason}".encode()  # printable, whatever was in the data
        assert rejects > len(JUNK) // 2
