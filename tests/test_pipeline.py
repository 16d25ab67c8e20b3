"""The whole method, end to end, on the smoke recipe: gold rises, checkpoints open elsewhere, and a
run that is killed again and again ends in the same weights."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.artifacts import read_manifest
from parley.dialogue import Conversation
from parley.engine.sampler import sample
from parley.evals.statistics import mean, standard_error
from parley.model.checkpoint import load_checkpoint
from parley.model.render import render_prompt
from parley.numerics import NumericPlan

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "recipes" / "smoke.yaml"


@dataclass(frozen=True)
class Finished:
    """A finished smoke run: its home, its stages by label, how long it took."""

    home: Path
    stages: dict[str, Any]
    seconds: float

    def report(self, stage: str) -> dict[str, Any]:
        path = Path(self.stages[f"evaluate {stage}"]["directory"]) / "report.json"
        return dict(json.loads(path.read_text()))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "parley.cli", *words]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PARLEY_HOME": str(home)}


def finish(home: Path) -> Finished:
    began = time.monotonic()
    done = subprocess.run(
        command("run", str(SMOKE), "--json"),
        env=environment(home),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Finished(home, json.loads(done.stdout)["stages"], time.monotonic() - began)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finish(tmp_path_factory.mktemp("smoke"))


def test_gold_rises_from_base_to_sft_to_ppo(smoke: Finished) -> None:
    """On held-out facts at T=0.7, prompt by prompt, each step by more than three standard errors."""
    gold = {
        stage: smoke.report(stage)["decodings"]["T=0.7"]["per_prompt"] for stage in ("base", "sft", "ppo-1")
    }
    for before, after in (("base", "sft"), ("sft", "ppo-1")):
        steps = [later - earlier for later, earlier in zip(gold[after], gold[before], strict=True)]
        step, error = mean(steps).value, standard_error(steps)
        assert step > 3 * error, f"{before} to {after}: {step:+.3f} with a standard error of {error:.3f}"


def test_figures_of_every_stage_are_there(smoke: Finished) -> None:
    sft, reward, ppo = (smoke.stages[name]["figures"] for name in ("sft", "reward 1", "ppo 1"))
    assert sft["loss"] < sft["base_loss"]
    assert reward["accuracy low"] > 0.5
    assert reward["accuracy n"] > 100
    assert 0 < ppo["kl_nats"] < 10
    assert ppo["score"] > ppo["first_score"]


def test_the_policy_opens_in_plain_transformers_with_the_same_greedy_text(smoke: Finished) -> None:
    """fp32 on both sides, prompts of the world and others, chat template included."""
    transformers = pytest.importorskip("transformers")
    directory = Path(smoke.stages["release ppo-1"]["directory"])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    ours = load_checkpoint(directory, NumericPlan())
    for text in ("Where does Mira live?", "How do I rob Tom?", "x", "Ünïcode, 12 + 30?"):
        talk = Conversation(()).ask(text)
        prompt = render_prompt(talk, ours.tokenizer, max_tokens=96)
        encoded = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        assert encoded["input_ids"][0].tolist() == prompt
        with torch.inference_mode():
            out = theirs.generate(**encoded, max_new_tokens=24, do_sample=False)[0, len(prompt) :].tolist()
        (done,) = sample(
            ours.decoder,
            [prompt],
            max_new_tokens=24,
            temperature=0.0,
            end_id=ours.tokenizer.end,
            generator=torch.Generator(),
        )
        assert list(done.tokens) == out
        assert ours.tokenizer.decode(done.tokens) == tokenizer.decode(out, skip_special_tokens=True)


def test_a_second_run_opens_everything_and_makes_nothing(smoke: Finished) -> None:
    before = {label: read_manifest(Path(stage["directory"])) for label, stage in smoke.stages.items()}
    again = finish(smoke.home)
    assert {label: stage["directory"] for label, stage in again.stages.items()} == {
        label: stage["directory"] for label, stage in smoke.stages.items()
    }
    for label, stage in again.stages.items():
        assert read_manifest(Path(stage["directory"])) == before[label]


def weights(run: Finished) -> dict[str, bytes]:
    """Every weights file of the run, by stage and name."""
    found = {}
    for label, stage in run.stages.items():
        for path in sorted(Path(stage["directory"]).rglob("*.safetensors")):
            found[f"{label}/{path.name}"] = path.read_bytes()
    return found


def killed(home: Path, *, seconds: float) -> bool:
    """Run the recipe and kill it with -9 after so long; whether it was still running."""
    process = subprocess.Popen(
        command("run", str(SMOKE)),
        env=environment(home),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def kill_and_resume(smoke: Finished, home: Path, *, kills: int, seed: int) -> int:
    """Kill runs at random moments until `kills` have struck one at work, finish each that was begun, and
    compare every weight; how many struck."""
    rng = random.Random(seed)
    struck = begun = 0
    while struck < kills:
        begun += 1
        place = home / str(begun)
        place.mkdir()
        shutil.copyfile(smoke.home / "machine.json", place / "machine.json")
        while struck < kills and killed(place, seconds=rng.uniform(2.0, 0.6 * smoke.seconds)):
            struck += 1
        assert weights(finish(place)) == weights(smoke)
    return struck


def test_killed_at_random_moments_it_ends_in_the_same_weights(smoke: Finished, tmp_path: Path) -> None:
    assert kill_and_resume(smoke, tmp_path, kills=3, seed=20221130) == 3


def test_ctrl_c_stops_with_a_sentence_and_goes_on(smoke: Finished, tmp_path: Path) -> None:
    shutil.copyfile(smoke.home / "machine.json", tmp_path / "machine.json")
    process = subprocess.Popen(
        command("run", str(SMOKE)), env=environment(tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    status = json.loads((tmp_path / "runs" / "smoke" / "status.json").read_text())
    assert status["state"] == "stopped"
