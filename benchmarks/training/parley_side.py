"""Our side of `benchmarks/train.py`: a stage as `parley run` calls it, held up between rounds.

    python benchmarks/training/parley_side.py WORK TASK VARIANT SPEC

The stage tells its watcher of every step; the watcher answers the driver and waits for the next round.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from parley.model.process import prepare_process

prepare_process()

import torch  # noqa: E402
from gate import Gate  # noqa: E402
from work import CONTEXT, PROMPT_TOKENS, REWARD_LABEL, workspace  # noqa: E402

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, open_artifact  # noqa: E402
from parley.metrics import Silent  # noqa: E402
from parley.model.checkpoint import load_checkpoint  # noqa: E402
from parley.model.selftest import apply_plan, choose_plan  # noqa: E402
from parley.numerics import NumericPlan  # noqa: E402
from parley.rlhf import loop  # noqa: E402
from parley.rlhf.batches import epoch_batches  # noqa: E402
from parley.stages.data import demonstrations_of  # noqa: E402
from parley.stages.ppo import PpoConfig, train_ppo  # noqa: E402
from parley.stages.reward import RewardConfig, train_reward_model  # noqa: E402
from parley.stages.sft import SftConfig, demonstration_tokens, train_sft  # noqa: E402


class Held(Silent):
    """A watcher that tells the gate what was done."""

    def __init__(self, gate: Gate, units: Any) -> None:
        self.gate, self.units, self.done = gate, units, 0

    def progressed(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """One more step, or several."""
        self.gate.passed(sum(self.units(step) for step in range(self.done, done)), dict(figures))
        self.done = done


def main() -> None:
    place, task, variant, spec = Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    loop.SAVE_SECONDS = math.inf  # type: ignore[misc]  # the peer does not save either
    loop.REPORT_SECONDS = 0.0  # type: ignore[misc]
    plan = replace(choose_plan(), threads=1) if variant == "as chosen" else NumericPlan(linear=variant)  # type: ignore[arg-type]
    apply_plan(plan)
    gate = Gate(
        spec["steps"], {"plan": f"{plan.linear}, {plan.attention} attention", "torch": torch.__version__}
    )
    with tempfile.TemporaryDirectory() as directory:
        TASKS[task.split("-")[0]](place, task, plan, spec, gate, Path(directory))


def _sft(place: Path, task: str, plan: NumericPlan, spec: Any, gate: Gate, home: Path) -> None:
    base, told = open_artifact(Checkpoint, place / "base"), open_artifact(Snapshot, place / task)
    row_tokens = min(spec["batch_tokens"], 512)  # as wide as the context: few tokens of padding
    config = SftConfig(
        epochs=spec["epochs"], replay=0.0, row_tokens=row_tokens, batch_tokens=spec["batch_tokens"],
        rate=spec["rate"], warmup=0, floor=1.0,
    )  # fmt: skip
    model = load_checkpoint(base.path, plan)
    examples = demonstration_tokens(list(demonstrations_of(told)), model, row_tokens=row_tokens)
    out = replace(workspace(home, "sft"), plan=plan)
    batches = [
        rows
        for epoch in range(config.epochs)
        for rows in epoch_batches(
            examples,
            seed=out.seed_for("order", epoch),
            row_tokens=row_tokens,
            batch_tokens=config.batch_tokens,
        )
    ]
    sizes = [sum(int(examples.lengths[i]) for row in rows for i in row) for rows in batches]
    del model
    train_sft(replace(out, watcher=Held(gate, sizes.__getitem__)), base, told, config)


def _reward(place: Path, task: str, plan: NumericPlan, spec: Any, gate: Gate, home: Path) -> None:
    base, told = open_artifact(Checkpoint, place / "base"), open_artifact(Snapshot, place / task)
    pairs = math.comb(int(task.split("-")[1]), 2)
    config = RewardConfig(
        readers=(), epochs=spec["epochs"], batch_rankings=spec["batch"] // pairs, context=CONTEXT,
        rate=spec["rate"], warmup=0, floor=1.0, score_penalty=0.0, centring=0,
    )  # fmt: skip
    out = replace(workspace(home, REWARD_LABEL, Held(gate, lambda _: spec["batch"])), plan=plan)
    train_reward_model(out, base, base, base, told, (), config)


def _ppo(place: Path, task: str, plan: NumericPlan, spec: Any, gate: Gate, home: Path) -> None:
    base, told = open_artifact(Checkpoint, place / "base"), open_artifact(Snapshot, place / task)
    scorer = open_artifact(RewardCheckpoint, place / "scorer")
    config = PpoConfig(
        steps=spec["total"], batch=spec["batch"], epochs=4, minibatches=4, rate=spec["rate"],
        value_rate=spec["rate"], warmup=0, value_only_steps=0, kl_coefficient=0.05, max_new_tokens=64,
        max_prompt_tokens=PROMPT_TOKENS, normalise=False, normalising_replies=2,
    )  # fmt: skip
    out = replace(workspace(home, "ppo", Held(gate, lambda _: spec["batch"])), plan=plan)
    train_ppo(out, base, base, scorer, told, config)


TASKS = {"sft": _sft, "reward": _reward, "ppo": _ppo}

if __name__ == "__main__":
    main()
