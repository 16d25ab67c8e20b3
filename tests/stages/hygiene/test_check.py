"""`parley data check` through the real command: what training would leave out stands behind the counts."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.hygiene.files import lines, message, ranking, talk, words, write

ROOT = Path(__file__).parents[3]


def check(file: Path, *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "parley.cli", "data", "check", *words, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    draw = random.Random(1)
    rows = [talk(draw, trainer=name) for name in ("ana", "bo", "ana")]
    private = talk(draw, asked="Is bo@example.com yours, and 555-010-4477, as you said?")
    near = json.loads(json.dumps(rows[1]).replace("?", " today?"))
    lost = {"messages": [message("user", "Caf\ufffd?"), message("assistant", "Yes.")]}
    path = tmp_path / "talks.jsonl"
    write(path, [*lines([*rows, rows[0], rows[0], near, private, lost]), b"{}", b"\xe9"])
    return path


def test_what_training_would_leave_out_is_told(file: Path) -> None:
    status, out, err = check(file, "--format", "demonstrations")
    assert status == 0
    assert out.splitlines() == [
        "read 10  written 0  rejected 2  demonstrations 8",
        "training would leave out: 1 at fault, 2 duplicates, 1 near-duplicates; "
        "and mask private details: email 1, phone 1",
    ]
    assert "record 8: holds replacement characters" in err
    assert "record 10: is not UTF-8 at byte 1" in err


def test_the_same_as_one_json_object(file: Path) -> None:
    status, out, err = check(file, "--format", "demonstrations", "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert (found["read"], found["rejected"], found["demonstrations"]) == (10, 2, 8)
    hygiene = found["hygiene"]
    assert {key: hygiene[key] for key in ("duplicates", "near_duplicates", "private", "people")} == {
        "duplicates": 2,
        "near_duplicates": 1,
        "private": {"email": 1, "phone": 1},
        "people": 2,
    }
    assert hygiene["faults"][0]["record"] == 8
    assert hygiene["turns"] == [2] * 5


def test_strict_says_no_where_a_row_was_rejected(file: Path, tmp_path: Path) -> None:
    assert check(file, "--format", "demonstrations", "--strict")[0] == 1
    draw = random.Random(2)
    write(tmp_path / "good.jsonl", lines(ranking(draw) for _ in range(5)))
    status, out, _ = check(tmp_path / "good.jsonl", "--format", "rankings", "--strict")
    assert (status, out.splitlines()[1]) == (0, "training would leave out: nothing")


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text(words(random.Random(3), 20))
    status, out, err = check(path, "--format", "rankings")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "letter.txt, record 1" in err
