"""The memory plan against what a process takes, against counts by hand, and what is said where it cannot fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parley.cli import main
from parley.errors import ArtifactError, ConfigError
from parley.model.decoder import Decoder, DecoderConfig, count_parameters
from parley.model.footprint import Footprint
from parley.numerics import NumericPlan
from parley.rlhf.loop import adam
from parley.stages.budget import GIB, TOLERANCE, check_memory, memory_plan, shape_of
from parley.stages.recipe import read_recipe
from tests.tiny import tiny_decoder

ROOT = Path(__file__).parents[2]
PLAN = NumericPlan()
WORLD = "{num_unique_people: 20, num_shared_names: 4, num_unknown_people: 12, num_values: 4}"
RECIPE = f"""
name: measured
data:
  source: microworld
  microworld: {{world: {WORLD}, documents: 400, demonstrations: 40, instructions: 5, prompts: 40}}
base: {{vocab_size: 640, width: 320, layers: 6, heads: 5, kv_heads: 5, mlp_width: 896, max_positions: 192,
        batch_tokens: 2048, max_steps: 2}}
"""
MEASURE = """
import json, re, sys, tempfile
from pathlib import Path
from parley.artifacts import Run
from parley.model.process import prepare_process
from parley.model.selftest import apply_plan
from parley.numerics import NumericPlan
from parley.stages.pipeline import run_recipe
from parley.stages.recipe import read_recipe
prepare_process()
apply_plan(NumericPlan())
with tempfile.TemporaryDirectory() as folder:
    recipe = read_recipe(Path(sys.argv[1]), json.loads(sys.argv[2]))
    run_recipe(recipe, Run(Path(folder), seed=1, plan=NumericPlan()), until="base")
status = Path("/proc/self/status").read_text()  # getrusage counts what the parent held before it
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("flags", [{}, {"base.batch_tokens": "512", "base.width": "640"}])
def test_the_estimate_is_what_a_process_takes(tmp_path: Path, flags: dict[str, str]) -> None:
    """Two shapes: one is mostly activations, one mostly weights and moments."""
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    command = [sys.executable, "-c", MEASURE, str(path), json.dumps(flags)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    estimate = memory_plan(read_recipe(path, flags), path, PLAN)[0]
    assert estimate.label == "base"
    assert estimate.total == pytest.approx(int(done.stdout), rel=TOLERANCE)


def test_numbers_of_a_model_are_counted_without_one() -> None:
    decoder = tiny_decoder(width=64)
    size = Footprint.of(decoder.config.to_hf())
    assert size.parameters == count_parameters(decoder)
    assert size.weights == 4 * count_parameters(decoder)
    assert all(weight.is_meta for weight in size.model.parameters())
    state = adam(decoder.parameters())
    for weight in decoder.parameters():
        weight.grad = weight.detach().clone()
    state.step()
    held = sum(value.nbytes for one in state.state.values() for name, value in one.items() if name != "step")
    assert held == 2 * size.weights


def test_adapters_and_portions_make_it_smaller(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)

    def parts(label: str = "ppo 1", **flags: str) -> dict[str, int]:
        recipe = read_recipe(path, {name.replace("__", "."): value for name, value in flags.items()})
        return {stage.label: dict(stage.parts) for stage in memory_plan(recipe, path, PLAN)}[label]

    full = parts()
    lora = parts(ppo__adapters__rank="4", reward__adapters__rank="4")
    assert full["reference"] == full["critic"] == full["weights"]
    assert "reference" not in lora
    assert lora["critic"] < 0.1 * full["critic"]
    assert lora["gradients and moments"] < 0.1 * full["gradients and moments"]
    assert lora["reward model"] < full["reward model"]
    whole = parts("sft", sft__batch_tokens="4096")
    portions = parts("sft", sft__batch_tokens="4096", sft__micro_tokens="512")
    assert portions["activations"] < 0.25 * whole["activations"]
    again = parts("sft", sft__batch_tokens="4096", sft__recompute="true")
    assert again["activations"] < 0.6 * whole["activations"]


def test_what_cannot_fit_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    stages = memory_plan(read_recipe(path), path, PLAN)
    check_memory(stages, GIB * 4)
    with pytest.raises(
        ConfigError, match=r"needs about .* 100 MB are free; .*micro_tokens.*--no-memory-check"
    ):
        check_memory(stages, 100 << 20)


def test_a_run_that_cannot_fit_stops_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    monkeypatch.setenv("PARLEY_HOME", str(tmp_path / "home"))
    for place in ("runs", "plan"):
        monkeypatch.setattr(f"parley.cli.{place}.machine_plan", NumericPlan)
    monkeypatch.setattr("parley.cli.plan.free_bytes", lambda device: 200 << 20)
    assert main(["run", str(path)]) == 2
    told = capsys.readouterr().err
    assert "200 MB are free" in told
    assert told.count("\n") == 1
    assert not list((tmp_path / "home" / "runs").glob("*/data-*"))
    assert main(["plan", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] is False
    assert found["bytes"] == max(stage["bytes"] for stage in found["stages"])
    assert main(["plan", str(path), "--gpu", "24"]) == 0
    assert "it fits" in capsys.readouterr().out


def test_a_model_that_is_not_here_is_known_by_the_shape_beside_the_recipe(tmp_path: Path) -> None:
    path = ROOT / "recipes" / "qwen3-4b-lora.yaml"
    size = Footprint.of(shape_of(read_recipe(path).base, path))
    assert size.parameters == 4_022_468_096  # as the hub counts Qwen3-4B
    with pytest.raises(ArtifactError, match="says what Qwen/Qwen3-4B looks like"):
        shape_of(read_recipe(path).base, tmp_path / "r.yaml")
    shape: Any = DecoderConfig(vocab_size=300, width=32, layers=1, heads=2, kv_heads=2, mlp_width=48).to_hf()
    (tmp_path / "config.json").write_text(json.dumps(shape))
    found = shape_of(read_recipe(path, {"base.from": str(tmp_path)}).base, path)
    assert Footprint.of(found).parameters == count_parameters(Decoder(DecoderConfig.of_hf(shape)))
