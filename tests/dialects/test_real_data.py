"""The exact counts of the public sets that the formats were written for.

The sets are no part of the project. `PARLEY_DATA` names the folder that holds them; without it they are
looked for in `../shared/data` beside the checkout, and without any of them these tests are skipped.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from parley.dialects import Reading, instruct, lines, read, records, write
from parley.dialects.records import Row
from parley.labels import Choices, Demonstration, Document, Ranking

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("PARLEY_DATA", BESIDE))

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no public sets: name their folder in PARLEY_DATA")


def whole(format: str, name: str) -> Reading:
    return read(format, there(name))


def there(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in the data folder")
    return path


def pairs(reading: Reading) -> int:
    return sum(len(ranking.comparisons()) for ranking in reading.rankings)


def rejected(reading: Reading) -> Counter[tuple[str, str]]:
    return Counter((reject.field, reject.reason) for reject in reading.rejects)


@pytest.mark.parametrize(
    ("format", "name", "count"),
    [
        ("self-dialogue", "self-dialogue/dialogues.jsonl.gz", 21_844),
        ("taskmaster", "taskmaster/tm4-dialogues.jsonl.gz", 3_710),
        ("instruct", "self-instruct/seed_tasks.jsonl", 175),
        ("instruct", "dolly-1000/dolly.jsonl.gz", 1_000),
        ("gsm8k", "gsm8k/train.jsonl.gz", 7_473),
    ],
)
def test_demonstrations(format: str, name: str, count: int) -> None:
    reading = whole(format, name)
    assert (reading.read, len(reading.demonstrations), reading.rejects) == (count, count, ())


@pytest.mark.parametrize(
    ("name", "count", "characters"),
    [
        ("enwiki-slice/articles.jsonl.gz", 26_639, 54_069_502),
        ("english-novels/novels.jsonl.gz", 59, 54_822_699),
    ],
)
def test_documents(name: str, count: int, characters: int) -> None:
    lengths = [len(one.text) for one in records("text", there(name)) if isinstance(one, Document)]
    assert (len(lengths), sum(lengths)) == (count, characters)


def test_qa_feedback() -> None:
    reading = whole("qa-feedback", "qa-feedback/rankings.jsonl.gz")
    choices = [ranking for ranking in reading.rankings if isinstance(ranking.judgement, Choices)]
    assert (reading.read, len(reading.rankings), len(choices), reading.rejects) == (346, 346, 14, ())
    assert (pairs(reading), 6 * 346 - pairs(reading)) == (1_831, 245)


def test_hh() -> None:
    reading = whole("hh", "hh-rlhf-harmless/comparisons.jsonl.gz")
    assert (reading.read, len(reading.rankings), pairs(reading)) == (1_708, 1_702, 1_702)
    assert rejected(reading) == {
        ("chosen", "has a turn of 'Assistant' that is empty"): 3,
        ("rejected", "has another history than 'chosen'"): 3,
    }


def test_hh_gives_back_its_bytes(tmp_path: Path) -> None:
    path = there("hh-rlhf-harmless/comparisons.jsonl.gz")
    reading = read("hh", path)
    refused = {reject.record for reject in reading.rejects}
    source = [
        row.value for row in lines.json_rows(path) if isinstance(row, Row) and row.number not in refused
    ]
    assert write("hh", reading.rankings, tmp_path / "a.jsonl.gz").written == 1_702
    assert [row.value for row in lines.json_rows(tmp_path / "a.jsonl.gz") if isinstance(row, Row)] == source


def test_autoj() -> None:
    reading = whole("autoj", "autoj-pairwise/pairs.jsonl.gz")
    assert (reading.read, len(reading.rankings), pairs(reading), reading.rejects) == (884, 884, 684, ())


def test_oasst() -> None:
    path = there("oasst-trees/trees.jsonl.gz")
    reading = read("oasst", path)
    assert (reading.read, len(reading.rankings), pairs(reading), reading.rejects) == (64, 141, 455, ())
    assert (len(reading.demonstrations), sum(len(one.imitate) for one in reading.demonstrations)) == (
        142,
        172,
    )
    assert len(reading.prompts) == 131
    told = {message.text for one in reading.demonstrations for message in one.conversation.messages}
    told |= {reply.text for ranking in reading.rankings for reply in ranking.replies}
    told |= {message.text for prompt in reading.prompts for message in prompt.conversation.messages}
    waiting = [row.value for row in lines.json_rows(path) if isinstance(row, Row)]
    messages = [tree["prompt"] for tree in waiting if isinstance(tree, dict)]
    for message in messages:
        messages.extend(message["replies"])  # grows while it is walked: every message of every tree
    assert len(messages) == 745
    assert {message["text"] for message in messages} == told


def test_taskmaster_rewards() -> None:
    reading = whole("taskmaster-rewards", "taskmaster/rewards.jsonl.gz")
    assert (reading.read, len(reading.rated), len(reading.rankings), pairs(reading)) == (
        4_837,
        4_828,
        166,
        401,
    )
    assert Counter(one.good for one in reading.rated) == {True: 2_317 - 6, False: 2_520 - 3}
    assert rejected(reading) == {
        ("context", "must end in a user turn, which the replies answer"): 6,
        ("generation.text", "is empty"): 3,
    }


@pytest.mark.parametrize("name", ["self-instruct/seed_tasks.jsonl", "dolly-1000/dolly.jsonl.gz"])
def test_every_instruction_row_comes_back(name: str) -> None:
    for row in lines.json_rows(there(name)):
        assert isinstance(row, Row)
        assert isinstance(row.value, dict)
        back = instruct.from_dialogue(instruct.to_dialogue(row.value)) | instruct.extras(row.value)
        assert json.dumps(back, sort_keys=True) == json.dumps(row.value, sort_keys=True)


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("taskmaster", "taskmaster/tm4-dialogues.jsonl.gz"),
        ("oasst", "oasst-trees/trees.jsonl.gz"),
        ("qa-feedback", "qa-feedback/rankings.jsonl.gz"),
        ("autoj", "autoj-pairwise/pairs.jsonl.gz"),
    ],
)
def test_everything_survives_our_own_formats(tmp_path: Path, format: str, name: str) -> None:
    reading = whole(format, name)
    told: list[tuple[str, tuple[Demonstration, ...] | tuple[Ranking, ...]]] = []
    told += [("demonstrations", reading.demonstrations), ("rankings", reading.rankings)]
    for ours, found in told:
        if found:
            result = write(ours, found, tmp_path / f"{ours}.jsonl")
            back = read(ours, tmp_path / f"{ours}.jsonl")
            assert (result.written, result.rejects, back.rejects) == (len(found), (), ())
            assert (back.demonstrations or back.rankings) == found
            assert replace(back, rejects=()) == back
