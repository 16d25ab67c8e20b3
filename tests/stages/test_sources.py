"""Files of people's words: split by prompt, drawn by seed, counted; a full disk leaves nothing half made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from parley.artifacts import Run, Workspace
from parley.config import canonical
from parley.errors import ConfigError
from parley.labels import Demonstration
from parley.numerics import NumericPlan
from parley.stages.data import demonstrations_of, documents_of, prompts_of, rankings_of, take_snapshot
from parley.stages.files import FilesSource
from parley.stages.hygiene.findings import HYGIENE, read_findings
from parley.stages.hygiene.settings import FileData, FilesData


def write(path: Path, rows: list[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def talk(n: int, question: str = "") -> dict[str, object]:
    asked = question or f"Question number {n}?"
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": f"Answer {n}."}],
        "trainer": "ana",
    }


def ranking(n: int) -> dict[str, object]:
    replies = [{"content": f"good {n}", "rank": 1}, {"content": f"bad {n}", "rank": 2}]
    return {
        "messages": [{"role": "user", "content": f"Question number {n}?"}],
        "replies": replies,
        "trainer": "bo",
    }


@pytest.fixture
def data(tmp_path: Path) -> FilesData:
    write(tmp_path / "texts.jsonl", [{"text": f"Document {n}. " * 20} for n in range(40)])
    talks = [talk(n) for n in range(200)] + [talk(n, "QUESTION number 7 ?!") for n in range(5)]
    write(tmp_path / "talks.jsonl", [*talks, {"messages": []}, {"wrong": 1}])
    write(tmp_path / "rankings.jsonl", [ranking(n) for n in range(100)])
    return FilesData(
        root=str(tmp_path),
        texts=(FileData(file="texts.jsonl", format="text"),),
        dialogues=(FileData(file="talks.jsonl", format="demonstrations"),),
        rankings=(FileData(file="rankings.jsonl", format="rankings"),),
        held_out_share=0.2,
    )


def first_turn(demonstration: Demonstration) -> str:
    return "".join(c for c in demonstration.conversation.messages[0].text.lower() if c.isalnum())


def test_no_prompt_stands_on_both_sides(data: FilesData) -> None:
    told = FilesSource(data, 1).tell()
    kept = {first_turn(d) for d in told.demonstrations}
    apart = {first_turn(d) for d in told.demonstrations_held_out}
    assert not kept & apart
    assert 20 <= len(apart) <= 60
    ranked = {"".join(c for c in r.prompt.messages[0].text.lower() if c.isalnum()) for r in told.rankings}
    assert not ranked & apart, "a question that is held out as a dialogue is held out as a ranking too"
    asked = {p.conversation for p in told.prompts}
    assert len(asked) == len(list(told.prompts)) or Counter(asked).most_common(1)[0][1] == 1


def test_nothing_is_lost_and_rejects_are_counted(data: FilesData) -> None:
    source = FilesSource(data, 1)
    told = source.tell()
    assert len(list(told.demonstrations)) + len(list(told.demonstrations_held_out)) == 205
    assert len(list(told.rankings)) + len(list(told.rankings_held_out)) == 100
    assert len(list(told.documents)) + len(list(told.documents_held_out)) == 40
    assert told.hygiene is not None
    assert told.hygiene.rejected == 2


def test_a_snapshot_is_a_function_of_content_settings_and_seed(data: FilesData, tmp_path: Path) -> None:
    fingerprints = {canonical(FilesSource(data, seed).fingerprint()) for seed in (1, 1, 2)}
    assert len(fingerprints) == 2
    (tmp_path / "talks.jsonl").write_text(json.dumps(talk(1)) + "\n")
    assert canonical(FilesSource(data, 1).fingerprint()) not in fingerprints


def test_the_snapshot_reads_back_what_was_told(data: FilesData, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", seed=1, plan=NumericPlan())
    told = run.once("data", take_snapshot, FilesSource(data, 1))
    source = FilesSource(data, 1).tell()
    assert list(demonstrations_of(told)) == list(source.demonstrations)
    assert list(rankings_of(told, held_out=True)) == list(source.rankings_held_out)
    assert list(documents_of(told)) == list(source.documents)
    assert list(prompts_of(told)) == list(source.prompts)
    assert told.figures["rejected"] == 2
    assert read_findings(told.file(HYGIENE)).rejected == 2


def test_a_limit_draws_the_same_rows_again(data: FilesData) -> None:
    limited = FilesData(
        root=data.root, dialogues=(FileData(file="talks.jsonl", format="demonstrations", limit=30),)
    )
    first, again = (list(FilesSource(limited, 5).tell().demonstrations) for _ in range(2))
    assert first == again
    assert len(first) + len(list(FilesSource(limited, 5).tell().demonstrations_held_out)) == 30


def test_text_is_cut_at_the_characters_asked_for(data: FilesData) -> None:
    limited = FilesData(root=data.root, texts=data.texts, text_characters=1000, held_out_share=0.0)
    assert sum(len(d.text) for d in FilesSource(limited, 1).tell().documents) == 1000


def test_a_missing_file_is_named_with_the_flag_that_helps(data: FilesData) -> None:
    missing = FilesData(root=data.root, rankings=(FileData(file="no/such.jsonl", format="hh"),))
    with pytest.raises(ConfigError, match=r"no/such\.jsonl.*--data\.files\.root"):
        FilesSource(missing, 1).fingerprint()


def test_a_full_disk_leaves_no_finished_artifact(
    data: FilesData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run", seed=1, plan=NumericPlan())

    def full(out: Workspace, *_: object) -> None:
        raise OSError(28, "No space left on device", str(out.path))

    monkeypatch.setattr("parley.stages.data._write", full)
    with pytest.raises(OSError, match="No space"):
        run.once("data", take_snapshot, FilesSource(data, 1))
    assert not list((tmp_path / "run").glob("data-*/manifest.json"))
    monkeypatch.undo()
    assert run.once("data", take_snapshot, FilesSource(data, 1)).figures["rankings"] > 0
