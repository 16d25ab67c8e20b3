"""Exports: what each format can express, and files that are there whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parley.dialects import FORMATS, Written, read, write
from parley.dialogue import Conversation, Message, dialogue
from parley.errors import ConfigError, DataError
from parley.labels import Demonstration, Ranking, Ranks

TALK = Demonstration.of_all_turns(dialogue(["Hi", "Hello!"]), trainer="ann", source="demonstrations")
RANKING = Ranking(
    dialogue(["Hi"]),
    (Message("assistant", "a", "m"), Message("assistant", "b", "m")),
    Ranks((2, 1)),
    "ann",
    "store",
)


@pytest.mark.parametrize("name", ["demonstrations", "openai-chat", "sharegpt", "instruct"])
def test_demonstrations_can_be_written_and_rankings_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jsonl"
    result = write(name, [RANKING, TALK], path)
    assert result.written == 1
    assert [(reject.record, reject.field) for reject in result.rejects] == [(1, "")]
    assert result.rejects[0].reason.startswith("is no demonstration: write it as rankings")
    [back] = read(name, path).demonstrations
    assert [message.text for message in back.conversation.messages] == ["Hi", "Hello!"]


@pytest.mark.parametrize("name", ["rankings", "hh"])
def test_rankings_can_be_written_and_demonstrations_are_refused(tmp_path: Path, name: str) -> None:
    result = write(name, [TALK, RANKING], tmp_path / "a.jsonl.gz")
    assert (result.written, [reject.record for reject in result.rejects]) == (1, [1])
    [back] = read(name, tmp_path / "a.jsonl.gz").rankings
    assert [back.replies[pair.better].text for pair in back.comparisons()] == ["b"]


def test_what_the_reader_would_refuse_is_not_written(tmp_path: Path) -> None:
    blank = Demonstration.of_all_turns(dialogue(["Hi", " "]), trainer="", source="")
    half = Demonstration.of_all_turns(dialogue(["\ud800", "x"]), trainer="", source="")
    alone = Demonstration.of_all_turns(Conversation((Message("assistant", "x"),)), trainer="", source="")
    for name in ("demonstrations", "openai-chat", "sharegpt", "instruct"):
        result = write(name, [blank, half, alone, TALK], tmp_path / "a.jsonl")
        assert (result.written, [reject.record for reject in result.rejects]) == (1, [1, 2, 3]), name


def test_rows_are_counted_rather_than_records(tmp_path: Path) -> None:
    three = Ranking(RANKING.prompt, (*RANKING.replies, Message("assistant", "c")), Ranks((1, 2, 3)), "", "")
    assert write("hh", [three], tmp_path / "a.jsonl") == Written(3, ())


def test_gzip_by_suffix_and_the_same_bytes_twice(tmp_path: Path) -> None:
    write("demonstrations", [TALK], tmp_path / "a.jsonl")
    for name in ("b.jsonl.gz", "c.jsonl.gz"):
        write("demonstrations", [TALK], tmp_path / name)
        assert gzip.decompress((tmp_path / name).read_bytes()) == (tmp_path / "a.jsonl").read_bytes()
    assert (tmp_path / "b.jsonl.gz").read_bytes() == (tmp_path / "c.jsonl.gz").read_bytes()


@contextmanager
def full_disk(after: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the same `OSError` as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")
    words = [os.urandom(3000).hex() for _ in range(40)]
    many = [Demonstration.of_all_turns(dialogue([word, "b"]), trainer="", source="") for word in words]
    with pytest.raises(DataError, match="cannot be written: File too large") as caught, full_disk(20_000):
        write("demonstrations", many, path)
    assert caught.value.file == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_fault_of_the_records_leaves_nothing(tmp_path: Path) -> None:
    def breaking() -> Iterator[Demonstration]:
        yield TALK
        raise DataError("broke", file="elsewhere")

    with pytest.raises(DataError, match="elsewhere: broke"):
        write("demonstrations", breaking(), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none" / "a.jsonl", tmp_path / "pipe", tmp_path / "a\0b"):
        with pytest.raises(DataError, match="cannot be written"):
            write("demonstrations", [TALK], path)
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    write("demonstrations", [TALK], tmp_path / "link.jsonl")
    assert (tmp_path / "link.jsonl").is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_bytes())["trainer"] == "ann"


def test_formats_that_are_only_read(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="choose one of demonstrations, rankings, openai-chat, sharegpt, instruct, hh"
    ):
        write("autoj", [RANKING], tmp_path / "a.jsonl")


def test_every_format_of_the_interface_is_here() -> None:
    assert list(FORMATS) == [
        "demonstrations",
        "rankings",
        "openai-chat",
        "sharegpt",
        "instruct",
        "gsm8k",
        "hh",
        "oasst",
        "qa-feedback",
        "autoj",
        "self-dialogue",
        "taskmaster",
        "taskmaster-rewards",
        "text",
    ]
