"""What TRL's own trainers make of a small model and a few token ids: their losses, step by step, in fp32.

Runs in the peer's Python (trl 1.16.0) and imports nothing of parley:

    PEER/bin/python tests/oracles/trl_losses.py DIRECTORY

`DIRECTORY` holds a Hugging Face checkpoint, `head.safetensors` and `inputs.json`
(`python -m tests.oracles.record` writes them); the losses are printed as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def losses(directory: Path) -> dict[str, Any]:
    """SFT's and the reward model's, three steps each on one batch."""
    import torch
    import transformers
    import trl  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    inputs = json.loads((directory / "inputs.json").read_text())
    return {
        "trl": trl.__version__,
        "transformers": transformers.__version__,
        "sft": _sft(directory, inputs),
        **{name: _reward(directory, inputs, name) for name in ("reward-2", "reward-4")},
    }


def _settings(home: str, inputs: Any, count: int) -> dict[str, Any]:
    return {
        "output_dir": home, "per_device_train_batch_size": count, "max_steps": inputs["steps"],
        "learning_rate": inputs["rate"], "lr_scheduler_type": "constant", "adam_beta2": 0.95,
        "logging_steps": 1, "bf16": False, "gradient_checkpointing": False, "report_to": "none",
        "save_strategy": "no", "disable_tqdm": True, "use_cpu": True,
    }  # fmt: skip


def _sft(directory: Path, inputs: Any) -> list[float]:
    import torch
    import trl
    from datasets import Dataset  # type: ignore[import-not-found]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as home:
        settings = _settings(home, inputs, len(inputs["sft"]))
        trainer = trl.SFTTrainer(
            AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32),
            args=trl.SFTConfig(completion_only_loss=True, **settings),
            train_dataset=Dataset.from_list(inputs["sft"]),
            processing_class=AutoTokenizer.from_pretrained(directory),
        )
        return _trained(trainer)


def _reward(directory: Path, inputs: Any, name: str) -> list[float]:
    import torch
    import trl
    from datasets import Dataset
    from safetensors.torch import load_file
    from torch import nn
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1, dtype=torch.float32)
    width = model.config.hidden_size
    head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
    head.load_state_dict(load_file(directory / "head.safetensors"))
    model.score = head
    with tempfile.TemporaryDirectory() as home:
        trainer = trl.RewardTrainer(
            model,
            args=trl.RewardConfig(max_length=None, **_settings(home, inputs, len(inputs[name]))),
            train_dataset=Dataset.from_list(inputs[name]),
            processing_class=AutoTokenizer.from_pretrained(directory),
        )
        return _trained(trainer)


def _trained(trainer: Any) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    print("\n" + json.dumps(losses(Path(sys.argv[1]))))
