"""Going on with a run whose data, reference or code changed meanwhile, through the real command: it says so."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parley.artifacts import Run
from parley.cli.machine import this_machine
from parley.config import plain
from parley.rlhf import loop
from parley.stages import ppo
from parley.stages.ppo import train_ppo
from parley.unfinished import BEGUN, CODE
from tests.stages.test_ppo import CONFIG, PLAN, policy, reward, told

ROOT = Path(__file__).parents[2]
RECIPE = """
name: r
data:
  microworld:
    world: {num_unique_people: 20, num_shared_names: 4, num_unknown_people: 12, num_values: 4}
    documents: 400
    demonstrations: 40
    instructions: 5
    prompts: 20
base: {vocab_size: 400, width: 32, layers: 1, heads: 2, kv_heads: 2, mlp_width: 48, epochs: 300, batch_tokens: 256}
"""


@contextmanager
def at_work(home: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`parley base` in a process of its own, killed with -9 at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "parley.cli", "base", str(home / "r.yaml"), *flags],
        env={**os.environ, "PARLEY_HOME": str(home)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], words: str) -> str:
    """The first line on stderr that holds the words."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            return line
    pytest.fail(f"{words!r} was never said: {''.join(seen)}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed while its base model was being trained."""
    place = tmp_path_factory.mktemp("resume")
    (place / "r.yaml").write_text(RECIPE)
    (place / "machine.json").write_text(json.dumps({"machine": this_machine(), "plan": plain(PLAN)}))
    with at_work(place) as process:
        while not list(place.glob("runs/r/base-*/state/[0-9]*")):
            assert process.poll() is None
            time.sleep(0.05)
    return place


def test_other_code_is_told_and_goes_on(home: Path) -> None:
    (begun,) = home.glob(f"runs/r/base-*/state/{BEGUN}")
    then = json.loads(begun.read_text())
    then["versions"][CODE] = "another"
    begun.write_text(json.dumps(then))
    with at_work(home) as process:
        told_of = said(process, "goes on from its saved steps")
    assert "base goes on from its saved steps, with other versions of the code" in told_of
    assert "bit for bit neither's" in told_of


def test_other_data_is_told_and_begins_anew(home: Path) -> None:
    with at_work(home, "--data.microworld.documents", "401") as process:
        told_of = said(process, "begins anew")
    assert "base begins anew, not from its saved steps in" in told_of
    assert "told (other content)" in told_of


def test_another_reference_is_told_and_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P25, C1: PPO killed after a step, and the SFT model is another one by then."""
    run = Run(tmp_path, seed=1, plan=PLAN)
    judge, data = run.once("reward", reward, 64, False), run.once("data", told)
    start, other = run.once("sft", policy, 2), run.once("other sft", policy, 3)
    roll_out = ppo.roll_out

    def killed(*arguments: Any) -> Any:
        if arguments[-1] == 1:
            raise KeyboardInterrupt
        return roll_out(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)
        patch.setattr(ppo, "roll_out", killed)
        with pytest.raises(KeyboardInterrupt):
            run.once("ppo 1", train_ppo, start, start, judge, data, CONFIG)
    with caplog.at_level(logging.WARNING):
        run.once("ppo 1", train_ppo, start, other, judge, data, CONFIG)
    (message,) = [record.getMessage() for record in caplog.records if "begins anew" in record.getMessage()]
    assert "changed since then: reference (other content)" in message
