"""Bad input of every kind, through the real command: one sentence on stderr, status 2 (or 0 and a
named reject), no traceback, and good rows kept."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = {
    "messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}],
    "trainer": "a",
}
RANKED = {
    "messages": [{"role": "user", "content": "Hi?"}],
    "replies": [{"content": "Hello.", "rank": 1}, {"content": "No.", "rank": 2}],
    "trainer": "a",
}


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """`parley` in a home of its own."""

    home: Path

    def __call__(self, *words: str | Path) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "parley.cli", *map(str, words)],
            env={**os.environ, "PARLEY_HOME": str(self.home)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def parley(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def sentence(outcome: Outcome, *words: str) -> None:
    """Status 2 and one line on stderr that holds the words."""
    assert outcome.status == 2, outcome
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("parley: ")
    for word in words:
        assert word in lines[0]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("format", "bad", "field", "reason"),
    [
        ("demonstrations", "{not json", "", "JSON"),
        ("demonstrations", {"trainer": "a"}, "messages", "missing"),
        ("demonstrations", {"messages": "hello", "trainer": "a"}, "messages", ""),
        (
            "demonstrations",
            {
                "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}],
                "trainer": "a",
            },
            "messages",
            "",
        ),
        ("demonstrations", {"messages": [{"role": "user", "content": "x"}], "trainer": "a"}, "messages", ""),
        ("rankings", {**RANKED, "replies": [{"content": "x", "rank": 1}, {"content": "y"}]}, "rank", ""),
        (
            "rankings",
            {**RANKED, "replies": [{"content": "x", "rank": 0}, {"content": "y", "rank": 1}]},
            "rank",
            "",
        ),
        ("rankings", {**RANKED, "replies": [{"content": "x", "rank": 1}]}, "replies", ""),
    ],
)
def test_a_row_at_fault_is_named_and_the_good_ones_are_kept(
    parley: Shell, tmp_path: Path, format: str, bad: object, field: str, reason: str
) -> None:
    good = RANKED if format == "rankings" else GOOD
    file = lines(tmp_path / "rows.jsonl", good, bad, good)
    done = parley("data", "import", "--format", format, file, "--json")
    assert done.status == 0
    said = json.loads(done.out)
    assert (said["read"], said["written"], said["rejected"]) == (3, 2, 1)
    assert said["rejects"][0]["record"] == 2
    assert field in said["rejects"][0]["field"]
    assert reason in said["rejects"][0]["reason"]
    strict = parley("data", "check", "--format", format, file, "--strict")
    assert strict.status == 1
    assert "record 2" in strict.err


def test_import_export_round_trip_without_loss(parley: Shell, tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", RANKED, {**RANKED, "trainer": "ünï"})
    assert parley("data", "import", "--format", "rankings", file).status == 0
    assert (
        parley("data", "import", "--format", "rankings", file).status == 0
    )  # the same file again changes nothing
    done = parley("data", "export", "--format", "rankings", tmp_path / "out.jsonl.gz", "--json")
    assert json.loads(done.out)["written"] == 2
    with gzip.open(tmp_path / "out.jsonl.gz", "rt", encoding="utf-8") as back:
        assert [json.loads(line) for line in back] == [RANKED, {**RANKED, "trainer": "ünï"}]


def test_a_truncated_gzip_keeps_what_came_before(parley: Shell, tmp_path: Path) -> None:
    rows = [{**GOOD, "trainer": f"{os.urandom(40).hex()}-{n}"} for n in range(400)]
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(whole[: len(whole) // 2])
    sentence(parley("data", "import", "--format", "demonstrations", file), "rows.jsonl.gz", "record", "kept")
    done = parley("data", "export", "--format", "demonstrations", tmp_path / "out.jsonl", "--json")
    assert json.loads(done.out)["written"] > 50


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\xff\xfe{\x00}\x00\n\x00", "UTF-16"),
        (b"\x00\x01\x02\x80\x81" * 50, ""),
        (b"", "is empty"),
        (b"[]", ""),
    ],
)
def test_a_file_at_fault_as_a_whole(parley: Shell, tmp_path: Path, content: bytes, word: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    sentence(parley("data", "check", "--format", "demonstrations", file), "rows.jsonl", word)


def test_missing_files_directories_and_unknown_names(parley: Shell, tmp_path: Path) -> None:
    sentence(parley("data", "check", "--format", "hh", tmp_path / "none.jsonl"), "none.jsonl")
    sentence(parley("data", "check", "--format", "hh", tmp_path), str(tmp_path))
    sentence(parley("data", "check", "--format", "rankingz", tmp_path / "x"), "did you mean 'rankings'")
    sentence(parley("run", tmp_path / "none.yaml"), "none.yaml", "cannot read")
    sentence(
        parley("run", "recipes/smoke.yaml", "--ppo.stepps", "3"), "ppo", "stepps", "did you mean 'steps'"
    )
    sentence(parley("generate", "--checkpoint", tmp_path, "--prompt", "x"), "config.json")
    sentence(parley("score", "--checkpoint", tmp_path, "--format", "hh", tmp_path / "x"), "x")
    sentence(parley("serve", "--checkpoint", tmp_path), "config.json")
    sentence(parley("serve", "--release", "nobody"), "nobody", "none yet")
    sentence(parley("key", "create", "--scope", "everything"), "scope")


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence(Shell(tmp_path / "file" / "home")("key", "create"), "PARLEY_HOME")


def test_a_full_disk_is_one_sentence_and_leaves_no_file(parley: Shell, tmp_path: Path) -> None:
    """`/dev/full` answers every write as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full, which Linux has")
    file = lines(tmp_path / "rows.jsonl", GOOD)
    assert parley("data", "import", "--format", "demonstrations", file).status == 0
    sentence(parley("data", "export", "--format", "demonstrations", "/dev/full"), "/dev/full")


def test_a_home_on_a_full_disk(tmp_path: Path) -> None:
    """A real, tiny file system where root may mount one; elsewhere the mechanism of the test above is enough."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        rows = [{**GOOD, "trainer": "x" * 2000} for _ in range(400)]
        source = tmp_path.parent / "many.jsonl"
        lines(source, *rows)
        done = Shell(tmp_path / "home")("data", "import", "--format", "demonstrations", source)
        sentence(done, "No space left")
        assert not list((tmp_path / "home" / "imported").glob("demonstrations-*"))
        run = Shell(tmp_path / "home")("run", "recipes/smoke.yaml")
        sentence(run, "No space left")
        assert not list((tmp_path / "home").rglob("manifest.json"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_damaged_checkpoint_is_named(parley: Shell, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    sentence(parley("generate", "--checkpoint", tmp_path, "--prompt", "x"), "tokenizer.json")
    (tmp_path / "config.json").write_text('{"model_ty')
    sentence(parley("generate", "--checkpoint", tmp_path, "--prompt", "x"), "config.json")


def test_a_disk_that_fills_up_while_weights_are_written(tmp_path: Path) -> None:
    """A limit on file size between that of the data and that of the weights."""
    recipe = tmp_path / "r.yaml"
    small = "{documents: 60, demonstrations: 20, instructions: 0, prompts: 20}"
    base = "{vocab_size: 300, width: 192, layers: 4, heads: 4, kv_heads: 4, max_steps: 2}"
    recipe.write_text(f"name: r\ndata: {{microworld: {small}}}\nbase: {base}\n")
    home = tmp_path / "home"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1000; exec '{sys.executable}' -m parley.cli base '{recipe}'"],
        env={**os.environ, "PARLEY_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert "model.safetensors" in done.stderr.strip().splitlines()[-1]
    assert json.loads((home / "runs" / "r" / "status.json").read_text())["state"] == "failed"
    assert not list((home / "runs" / "r").glob("base-*/manifest.json"))


@pytest.mark.parametrize(
    "words",
    [
        ("key", "create", "--days", "nan"),
        ("key", "create", "--days", "1e300"),
        ("key", "create", "--days", "-3"),
        ("generate", "--checkpoint", "x", "--prompt", "x", "--seed", "9" * 30),
        ("generate", "--checkpoint", "x", "--prompt", "x", "--max-tokens", "-3"),
        ("run", "recipes/smoke.yaml", "--base.width", "97"),
        ("run", "recipes/smoke.yaml", "--evaluate.max_new_tokens", "100000"),
        ("run", "recipes/smoke.yaml", "--ppo.rate", ".inf"),
        ("run", "recipes/smoke.yaml", "--name", ": ["),
    ],
)
def test_numbers_that_cannot_be_are_refused_at_once(parley: Shell, words: tuple[str, ...]) -> None:
    sentence(parley(*words))
