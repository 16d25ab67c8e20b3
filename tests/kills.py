"""PPO with everything on, in a process of its own that is killed with -9 at a random step and resumed (C1)."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from parley.artifacts import Checkpoint, RewardCheckpoint, Run, Snapshot, Workspace
from parley.dialogue import dialogue
from parley.labels import Document, Prompt
from parley.model.heads import RewardEnsemble, RewardModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import LoadedReward, save_reward
from parley.rlhf import loop
from parley.stages.ppo import train_ppo
from parley.stages.ppo_config import PpoConfig
from parley.stages.records import document_row, prompt_row, write_rows
from tests.stages.test_ppo import PLAN, policy
from tests.tiny import TEXTS, tiny_decoder, tiny_tokenizer

STEPS: Final = 6
EVERYTHING: Final = PpoConfig(
    steps=STEPS,
    batch=8,
    epochs=2,
    minibatches=2,
    rate=5e-3,
    value_only_steps=1,
    max_new_tokens=6,
    max_prompt_tokens=24,
    normalising_replies=8,
    critic="reward",
    kl_target_nats=0.02,
    kl_horizon=10.0,
    guard_drop=9.0,
    whiten_rewards=True,
    ema_decay=0.8,
    ptx_coefficient=0.5,
    ptx_examples=2,
    ptx_row_tokens=16,
    no_end="add",
)


def kill_everything(place: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """PPO once to its end; then `kills` times begun anew, killed, resumed and compared with that: every
    byte of the checkpoint and every figure of every step."""
    wanted = _content(trained(place / "whole"))
    rng, struck = random.Random(seed), []
    for number in range(kills):
        struck.append(_kill(place / str(number), after=rng.randrange(1, STEPS)))
        made = _content(trained(place / str(number)))
        assert made == wanted, f"killed after step {struck[-1]}, it ended in other weights or figures"
    return {"kills": kills, "steps": STEPS, "killed_after_steps": struck, "config": _told(EVERYTHING)}


def trained(path: Path, config: PpoConfig = EVERYTHING) -> Checkpoint:
    """PPO on tiny models from the beginning, or from where it was."""
    run = Run(path, seed=1, plan=PLAN)
    sft, judges = run.once("sft", policy, 2), run.once("reward", rewards)
    return run.once("ppo 1", train_ppo, sft, sft, judges, run.once("data", told), config)


def rewards(out: Workspace) -> RewardCheckpoint:
    """Two reward models that score together."""
    torch.manual_seed(0)
    models = RewardEnsemble([RewardModel(tiny_decoder(seed), []) for seed in (5, 6)])
    save_reward(out.path, LoadedReward(models, tiny_tokenizer(), ChatFormat(), 64))
    return out.seal(RewardCheckpoint, {})


def told(out: Workspace) -> Snapshot:
    """A few prompts, and documents for PPO-ptx."""
    prompts = [Prompt(dialogue([f"Who {n}?"]), "test") for n in range(5)]
    write_rows(out.file("prompts.jsonl"), map(prompt_row, prompts))
    write_rows(out.file("documents.jsonl"), (document_row(Document(text, "test")) for text in TEXTS * 4))
    return out.seal(Snapshot, {})


def _kill(path: Path, *, after: int) -> int:
    """Train in a child and kill it with -9 once it has told of so many steps; how many it had told of."""
    child = os.fork()
    if not child:
        loop.SAVE_SECONDS, loop.SAVE_SHARE = 0.0, 1e9  # type: ignore[misc]  # every step is saved
        try:
            trained(path)
        finally:
            os._exit(1)
    while _steps(path) < after:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it was over before it could be killed"
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return _steps(path)


def _steps(path: Path) -> int:
    found = list(path.glob("ppo-1-*/metrics.jsonl"))
    return found[0].read_bytes().count(b"\n") if found else 0


def _content(made: Checkpoint) -> tuple[str, bytes]:
    return made.digest, made.file("metrics.jsonl").read_bytes()


def _told(config: PpoConfig) -> dict[str, Any]:
    """What differs from plain PPO."""
    plainly = asdict(PpoConfig())
    return {name: value for name, value in asdict(config).items() if value != plainly[name]}
