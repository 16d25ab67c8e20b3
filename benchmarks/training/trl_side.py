"""The peer's side of `benchmarks/train.py`: TRL's own trainers, held up between rounds.

    PEER/bin/python benchmarks/training/trl_side.py WORK TASK VARIANT SPEC

Runs in the peer's environment (SFT and reward: trl 1.16.0; PPO: trl 1.12.0) and imports nothing of parley.
A callback of the trainer answers the driver at the end of a step and waits for the next round.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from gate import Gate
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)

ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.95, "max_grad_norm": 1.0, "weight_decay": 0.0}
QUIET = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}


class Rounds(TrainerCallback):  # type: ignore[misc]
    """Tells the gate of every step; `units` counts its work."""

    def __init__(self, gate: Gate, units: Any) -> None:
        self.gate, self.units, self.figures = gate, units, {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.figures = {k: v for k, v in (logs or {}).items() if isinstance(v, int | float)}
        if self.gate.about.get("logged_after_steps"):
            self.gate.passed(self.units(), self.figures)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.gate.about.get("logged_after_steps"):
            self.gate.passed(self.units(), self.figures)


def main() -> None:
    place, task, variant, spec = Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    torch.set_num_threads(1)
    about = {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    gate = Gate(spec["steps"], about)
    with tempfile.TemporaryDirectory() as directory:
        TASKS[task.split("-")[0]](place, task, variant, spec, gate, directory)


def _precision(variant: str) -> dict[str, bool]:
    """`defaults` leaves everything as TRL sets it: bf16 autocast and gradient checkpointing."""
    if variant == "defaults":
        return {}
    return {"bf16": variant != "float32", "gradient_checkpointing": False}


def _steps(spec: Any, gate: Gate) -> dict[str, Any]:
    """Where losses are compared they are logged at every step, which is then told after its log."""
    gate.about["logged_after_steps"] = bool(spec.get("log"))
    logged = {"logging_steps": 1, "logging_strategy": "steps"} if spec.get("log") else {}
    return {"max_steps": spec["total"], "learning_rate": spec["rate"], **logged}


def _sft(place: Path, task: str, variant: str, spec: Any, gate: Gate, home: str) -> None:
    packed = {"packing": True, "max_length": 512} if variant == "packed" else {}
    per_device = spec["packed_rows"] if packed else spec["batch"]
    config = trl.SFTConfig(
        output_dir=home, completion_only_loss=True, per_device_train_batch_size=per_device,
        gradient_accumulation_steps=spec["packed_accumulation"] if packed else 1,
        lr_scheduler_type="constant", **packed, **_precision(variant), **_steps(spec, gate), **ADAM, **QUIET,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32),
        args=config,
        train_dataset=_rows(place / "sft.json"),
        processing_class=AutoTokenizer.from_pretrained(place / "base"),
    )
    seen = [0]

    def units() -> int:
        before, seen[0] = seen[0], trainer._total_train_tokens
        return int(seen[0] - before)

    trainer.add_callback(Rounds(gate, units))
    trainer.train()


def _reward(place: Path, task: str, variant: str, spec: Any, gate: Gate, home: str) -> None:
    config = trl.RewardConfig(
        output_dir=home, per_device_train_batch_size=spec["batch"], lr_scheduler_type="constant",
        max_length=None, **_precision(variant), **_steps(spec, gate), **ADAM, **QUIET,
    )  # fmt: skip
    trainer = trl.RewardTrainer(
        _scorer(place),
        args=config,
        train_dataset=_rows(place / f"{task}.json"),
        processing_class=AutoTokenizer.from_pretrained(place / "base"),
        callbacks=[Rounds(gate, lambda: spec["batch"])],
    )
    trainer.train()


def _ppo(place: Path, task: str, variant: str, spec: Any, gate: Gate, home: str) -> None:
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    config = PPOConfig(
        output_dir=home, per_device_train_batch_size=spec["batch"], num_mini_batches=4, num_ppo_epochs=4,
        total_episodes=spec["total"] * spec["batch"], response_length=64, temperature=1.0, kl_coef=0.05,
        learning_rate=spec["rate"], num_sample_generations=0, adam_epsilon=1e-5, logging_steps=1, **ADAM, **QUIET,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(place / "base", padding_side="left")
    prompts = json.loads((place / "ppo.json").read_text())
    trainer = PPOTrainer(
        config,
        tokenizer,
        model=AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32),
        reward_model=_scorer(place),
        value_model=_scorer(place, plain=True),
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in prompts]),
        callbacks=[Rounds(gate, lambda: spec["batch"])],
    )
    trainer.train()


def _scorer(place: Path, *, plain: bool = False) -> Any:
    """The same trunk under a linear head, or under the head of parley's reward model."""
    model = AutoModelForSequenceClassification.from_pretrained(
        place / "base", num_labels=1, dtype=torch.float32
    )
    if plain:
        return model
    width = model.config.hidden_size
    head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
    weights = load_file(place / "head.safetensors")
    names = {"hidden": "0", "score": "2"}
    head.load_state_dict({f"{names[n.split('.')[0]]}.{n.split('.')[1]}": w for n, w in weights.items()})
    model.score = head
    return model


def _rows(path: Path) -> Any:
    return Dataset.from_list(json.loads(path.read_text()))


TASKS = {"sft": _sft, "reward": _reward, "ppo": _ppo}

if __name__ == "__main__":
    main()
