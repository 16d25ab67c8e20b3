"""Dirty files: mixed encodings, one broken row in a hundred, a row of 5 MB, a dialogue ten thousand times, and
prompts that leak across the split. All of it is survived and counted, and no clean row changes its side."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parley.artifacts import Run
from parley.dialogue import Conversation
from parley.labels import Demonstration, Ranking
from parley.numerics import NumericPlan
from parley.reports.run_report import collect, render
from parley.stages.data import take_snapshot
from parley.stages.files import FilesSource
from parley.stages.hygiene.findings import Findings
from parley.stages.sources import Told
from tests.stages.hygiene.files import (
    Row,
    counted,
    data,
    document,
    lines,
    message,
    ranking,
    talk,
    told,
    write,
)

COPIES = 10_000
Sides = dict[Any, str]


@dataclass(frozen=True)
class Pair:
    """The same source before and after dirt was put between its rows."""

    clean: Told
    dirty: Told
    findings: Findings
    root: Path


def broken(draw: random.Random, good: bytes) -> bytes:
    """One row at fault, in one of the ways in which rows are."""
    row = json.loads(good)
    ways = [
        good[: len(good) // 2],
        good.replace(b"user", b"visitor", 1),
        json.dumps({**row, "messages": []}).encode(),
        json.dumps({**row, "messages": [*row["messages"][:1], message("assistant", "  ")]}).encode(),
        json.dumps({**row, "messages": row["messages"][:1]}).encode(),
        json.dumps({**row, "messages": [message("user", "a\x07b\x00?"), message("assistant", "c")]}).encode(),
        json.dumps(
            {**row, "messages": [message("user", "Ana?"), message("assistant", "so \ud83d")]}
        ).encode(),
        json.dumps({**row, "messages": [message("user", "Who?"), message("assistant", "A" * 1200)]}).encode(),
        b'"only a text"',
    ]
    return draw.choice(ways)


def other_encodings(draw: random.Random) -> list[bytes]:
    """Rows of people who did not save as UTF-8, and one that was converted twice."""
    row = talk(draw, asked="Où est le café, s'il vous plaît ?")
    text = json.dumps(row, ensure_ascii=False)
    twice = json.dumps(talk(draw, asked="Où est le café ?".encode().decode("cp1252")))
    return [text.encode("latin-1"), text.encode("utf-16"), text.encode("cp037"), twice.encode()]


def leaks(clean: Told, draw: random.Random) -> list[Row]:
    """Prompts that are held out, a little changed, with other answers: most fall on the training side."""
    held_out = [one.conversation.messages[0].text for one in clean.demonstrations_held_out]
    return [talk(draw, asked=f"Hello, {asked}") for asked in held_out]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    draw, root = random.Random(7), tmp_path_factory.mktemp("people")
    rows = {
        "dialogues": lines(talk(draw) for _ in range(1000)),
        "rankings": lines(ranking(draw) for _ in range(300)),
        "texts": lines(document(draw) for _ in range(300)),
    }
    for name, clean_rows in rows.items():
        write(root / f"{name}.jsonl", clean_rows)
    clean, _ = told(root)
    many = lines([talk(draw)]) * COPIES
    dirt = [
        *many,
        *other_encodings(draw),
        *lines(leaks(clean, draw)),
        *lines([talk(draw, asked="z " * 2_500_000)]),
    ]
    dirt += [broken(draw, draw.choice(rows["dialogues"])) for _ in range(110)]
    write(root / "dialogues.jsonl", mixed(rows["dialogues"], dirt, draw))
    for name in ("rankings", "texts"):
        bad = [b'{"messages"', b"\xff\xfe\xfd", *draw.choices(rows[name], k=50)]
        write(root / f"{name}.jsonl", mixed(rows[name], bad, draw))
    dirty, findings = told(root)
    return Pair(clean, dirty, findings, root)


def mixed(rows: list[bytes], dirt: list[bytes], draw: random.Random) -> list[bytes]:
    """Dirt at random places between the rows, which keep their order; the first row stays the first."""
    places = sorted(draw.randrange(1, len(rows) + 1) for _ in dirt)
    whole, waiting = list[bytes](), iter(draw.sample(dirt, len(dirt)))
    for n, row in enumerate(rows, start=1):
        whole.append(row)
        whole += [next(waiting) for _ in range(places.count(n))]
    return whole


def sides(source: Told) -> Sides:
    """Which side every record is on."""
    kept = [*source.demonstrations, *source.rankings, *source.documents]
    apart = [*source.demonstrations_held_out, *source.rankings_held_out, *source.documents_held_out]
    return dict.fromkeys(kept, "train") | dict.fromkeys(apart, "held out")


def test_no_clean_row_changes_its_side_and_none_is_lost(pair: Pair) -> None:
    clean, dirty = sides(pair.clean), sides(pair.dirty)
    assert len(clean) == 1600
    assert {record: dirty.get(record) for record in clean} == clean
    assert 0.15 < list(clean.values()).count("held out") / 1600 < 0.25


def test_what_came_with_the_dirt_is_little_and_on_one_side(pair: Pair) -> None:
    more = sides(pair.dirty).keys() - sides(pair.clean).keys()
    asked = [one.conversation.messages[0].text for one in more if isinstance(one, Demonstration)]
    hello = [text for text in asked if text.startswith("Hello")]
    assert len(asked) - len(hello) == 1  # the dialogue that came ten thousand times
    assert all(one in pair.dirty.demonstrations_held_out for one in more if first(one).startswith("Hello"))


def first(record: object) -> str:
    assert isinstance(record, Demonstration | Ranking)
    talk_of: Conversation = record.conversation if isinstance(record, Demonstration) else record.prompt
    return talk_of.messages[0].text


def test_no_prompt_is_nearly_on_both_sides(pair: Pair) -> None:
    held_out = {first(one).removeprefix("Hello, ") for one in pair.dirty.demonstrations_held_out}
    learnt = {first(one).removeprefix("Hello, ") for one in pair.dirty.demonstrations}
    assert held_out
    assert not held_out & learnt


def test_everything_that_was_left_out_is_counted_by_reason(pair: Pair) -> None:
    _, dialogues, rankings = pair.findings.files
    found = counted(dialogues)
    leaked = found["its prompt is held out, in nearly the same words"]
    assert found["duplicate"] == COPIES - 1
    assert leaked > 100
    assert found["is longer than 100000 characters"] == 1
    assert found["looks like UTF-8 that was read as Windows-1252"] == 1
    assert found["holds control characters"] > 0
    assert found["is no text: 1000 characters without a space"] > 0
    assert any("is not UTF-8" in reason for reason in found)
    assert any("has no assistant turn" in reason for reason in found)
    assert any("is one of system, user, assistant" in reason for reason in found)
    assert dialogues.records == dialogues.train + dialogues.held_out + sum(
        left.count for left in dialogues.dropped
    ) + sum(left.count for left in dialogues.rejected if left.reason in OUR_REASONS)
    assert counted(rankings)["duplicate"] == 50


OUR_REASONS = {
    "is longer than 100000 characters",
    "looks like UTF-8 that was read as Windows-1252",
    "holds control characters",
    "is no text: 1000 characters without a space",
}


def test_every_reason_names_a_row_that_one_can_look_at(pair: Pair) -> None:
    rows = (pair.root / "dialogues.jsonl").read_bytes().split(b"\n")
    dialogues = pair.findings.files[1]
    (long,) = (left for left in dialogues.rejected if left.reason.startswith("is longer"))
    assert len(rows[int(long.places[0].removeprefix("line ")) - 1]) > 5_000_000
    (same,) = (left for left in dialogues.dropped if left.reason == "duplicate")
    copy, earlier = (int(place.removeprefix("line ")) for place in same.places[0].split(", as "))
    assert rows[copy - 1] == rows[earlier - 1]


def test_a_row_of_another_encoding_near_the_start_costs_only_itself(tmp_path: Path) -> None:
    draw = random.Random(8)
    rows = lines(talk(draw) for _ in range(20))
    bad = other_encodings(draw)
    write(tmp_path / "dialogues.jsonl", [rows[0], *bad, *rows[1:]])
    source, findings = told(tmp_path)
    assert len([*source.demonstrations, *source.demonstrations_held_out]) == 20
    assert sum(left.count for left in findings.files[0].rejected) >= len(bad)


def test_the_report_shows_it(pair: Pair, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", seed=1, plan=NumericPlan())
    run.once("data", take_snapshot, FilesSource(data(pair.root), 1))
    page = render(collect(run.path))
    assert "9\u202f999" in page
    assert "is longer than 100000 characters" in page
