"""`parley doctor`: is it this machine, this checkpoint, this run?"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch.nn import functional as F

from parley.artifacts import MANIFEST
from parley.cli import GATE_SAYS_NO, show_json
from parley.cli.machine import machine_plan
from parley.cli.parser import DEFAULT_RECIPE
from parley.cli.paths import RECIPE, home, runs
from parley.cli.plan import free_bytes
from parley.config import build
from parley.dialogue import dialogue
from parley.errors import ArtifactError, ConfigError, ParleyError
from parley.model.checkpoint import CONFIG_FILE, load_checkpoint
from parley.model.decoder import causal_bias
from parley.model.render import render_all
from parley.model.reward_checkpoint import REWARD_FILE, load_reward
from parley.model.selftest import apply_plan, product_error
from parley.numerics import NumericPlan
from parley.rlhf.checkup import Check
from parley.stages.budget import GIB, memory_plan, told_bytes
from parley.stages.checkup import Taken, curve_checks, rehearsal, replay, take_run
from parley.stages.recipe import Recipe, read_recipe

ENOUGH_DISK: Final = GIB
REHEARSAL: Final = "replayed batch (a rehearsal with random weights)"
MATRIX: Final = 1024


def doctor(arguments: argparse.Namespace) -> int:
    """All checks of what was named; 1 where one of them fails."""
    plan = machine_plan()
    apply_plan(plan)
    subject, target = _subject(arguments.what)
    found = {"machine": _machine(plan), **_examined(subject, target, plan)}
    if arguments.json:
        told = {where: [asdict(item) for item in items] for where, items in found.items()}
        show_json({"checks": told, "subject": subject, "holds": _holds(found)})
    else:
        for where, items in found.items():
            _show(where, items)
    return 0 if _holds(found) else GATE_SAYS_NO


def _holds(found: dict[str, list[Check]]) -> bool:
    return all(item.holds is not False for items in found.values() for item in items)


def _subject(what: Path | None) -> tuple[str, Path]:
    """What kind of thing was named: a recipe's run, a run, a checkpoint, a reward model; the newest run
    where nothing was."""
    if what is None:
        made = [path.parent.parent for path in runs().glob(f"*/ppo-*/{MANIFEST}")]
        newest = max(made, key=lambda path: path.stat().st_mtime, default=None)
        return ("run", newest) if newest else ("rehearsal", Path())
    if what.suffix in (".yaml", ".yml"):
        return "recipe", what
    for kind, name in (("reward model", REWARD_FILE), ("checkpoint", CONFIG_FILE), ("run", "plan.json")):
        if (what / name).exists():
            return kind, what
    raise ConfigError(f"{what} is no recipe, no run's directory and no checkpoint")


def _examined(subject: str, target: Path, plan: NumericPlan) -> dict[str, list[Check]]:
    if subject == "checkpoint":
        return {f"checkpoint {target}": _checkpoint(target, plan)}
    if subject == "reward model":
        return {f"reward model {target}": _reward(target, plan)}
    if subject == "rehearsal":
        return {
            "memory plan": _usual_memory(plan),
            REHEARSAL: _rehearsed(plan),
        }
    if subject == "recipe":
        recipe = read_recipe(target)
        return {"memory plan": _memory(recipe, target, plan), **_run(runs() / recipe.name, plan)}
    return {"memory plan": _run_memory(target, plan), **_run(target, plan)}


def _usual_memory(plan: NumericPlan) -> list[Check]:
    """Of the recipe that `parley up` trains, where it is at hand."""
    path = Path(DEFAULT_RECIPE)
    return _memory(read_recipe(path), path, plan) if path.exists() else []


def _run_memory(run: Path, plan: NumericPlan) -> list[Check]:
    """Of the recipe that the run was begun with, as it wrote it down."""
    path = run / RECIPE
    if not path.exists():
        return []
    return _memory(build(Recipe, json.loads(path.read_text(encoding="utf-8")), str(path)), path, plan)


def _run(run: Path, plan: NumericPlan) -> dict[str, list[Check]]:
    try:
        taken = take_run(run)
    except ArtifactError as error:
        if not run.exists():
            return {REHEARSAL: _rehearsed(plan)}
        return {f"run {run}": [Check("a PPO batch can be replayed", None, str(error), "")]}
    apply_plan(taken.plan)
    return {
        f"replayed batch of {taken.policy_label} in {run}": _replayed(taken),
        "its curves": curve_checks(run),
    }


def _rehearsed(plan: NumericPlan) -> list[Check]:
    with tempfile.TemporaryDirectory() as folder:
        return _replayed(rehearsal(Path(folder), plan))


def _replayed(taken: Taken) -> list[Check]:
    with tempfile.TemporaryDirectory() as folder:
        return replay(taken, Path(folder))


def _machine(plan: NumericPlan) -> list[Check]:
    x, weight = torch.randn(512, 512), torch.randn(512, 512)
    error = product_error(x.to(plan.device), weight.to(plan.device), torch.bfloat16)
    speeds = ", ".join(f"{name} {_speed(plan.device, dtype):.0f}" for name, dtype in _DTYPES.items())
    disk = shutil.disk_usage(home()).free
    return [
        Check("python and torch", True, f"{platform.python_version()}, {torch.__version__}", ""),
        Check(
            "numeric plan",
            True,
            f"{plan.device}, {plan.threads} threads of {os.cpu_count()} cores, products in {plan.linear}, "
            f"{plan.attention} attention",
            "",
        ),
        Check("products", True, f"GFLOP/s: {speeds}", ""),
        Check(
            "bfloat16 is near fp32",
            error < 2e-2,
            f"relative error {error:.1g}",
            "this processor's bfloat16 is at fault: the plan takes float32",
        ),
        Check("memory", True, f"{told_bytes(free_bytes(plan.device))} free on {plan.device}", ""),
        Check(
            "disk",
            disk > ENOUGH_DISK,
            f"{told_bytes(disk)} free in {home()}",
            "free some, or set PARLEY_HOME to a disk with room: saved steps need it",
        ),
    ]


_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _speed(device: str, dtype: torch.dtype) -> float:
    """Billions of operations a second of one product of square matrices, the best of three."""
    x = torch.randn(MATRIX, MATRIX, device=device).to(dtype)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        F.linear(x, x)
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return 2 * float(MATRIX) ** 3 / min(taken) / 1e9


def _memory(recipe: Recipe, path: Path, plan: NumericPlan) -> list[Check]:
    """The memory plan, a line a stage."""
    try:
        stages = memory_plan(recipe, path, plan)
    except ParleyError as error:
        return [Check("the recipe fits into memory", None, str(error), "")]
    free = free_bytes(plan.device)
    return [
        Check(
            stage.label,
            stage.total <= free,
            f"about {told_bytes(stage.total)} of {told_bytes(free)} free: "
            + ", ".join(f"{name} {told_bytes(size)}" for name, size in stage.parts.items()),
            "lower batch or context, set micro_tokens or recompute, or train adapters",
        )
        for stage in stages
    ]


def _checkpoint(path: Path, plan: NumericPlan) -> list[Check]:
    model = load_checkpoint(path, plan)
    tokenizer, talk = model.tokenizer, dialogue(["Who?", "Me.", "And he?", "Him."])
    rendered, shorter = render_all([talk, dialogue(["Who?", "Me."])], tokenizer, imitate=[(1, 3), (1,)])
    stops = sum(
        flag for token, flag in zip(rendered.tokens, rendered.mask, strict=True) if token == tokenizer.end
    )
    with torch.no_grad():
        tokens = torch.tensor([list(rendered.tokens)], device=model.decoder.device)
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        hidden = model.decoder(tokens, positions, causal_bias(torch.ones_like(tokens)))
        finite = bool(torch.isfinite(model.decoder.logits(hidden)).all())
    rows = model.decoder.config.vocab_size
    return [
        _tokens_apart(tokenizer.pad, tokenizer.end),
        Check(
            "every answer's stop token is trained",
            stops == 2,
            f"{stops} of 2 in a dialogue of two answers",
            "the chat format does not close answers with the end token: the model would never stop (S1)",
        ),
        Check(
            "a dialogue's beginning is the beginning of its tokens",
            list(rendered.tokens[: len(shorter.tokens)]) == list(shorter.tokens),
            f"{len(shorter.tokens)} tokens of {len(rendered.tokens)}",
            "the chat template changes earlier turns: histories would not match what was trained (S2)",
        ),
        Check(
            "the embedding has a row for every token",
            rows >= tokenizer.vocab_size,
            f"{rows} rows, {tokenizer.vocab_size} tokens",
            "the tokenizer is another model's",
        ),
        Check(
            "logits are finite", finite, f"{tokens.shape[1]} tokens read", "the weights hold NaN or infinity"
        ),
        Check("context", True, f"{model.decoder.config.max_positions} tokens", ""),
    ]


def _reward(path: Path, plan: NumericPlan) -> list[Check]:
    judge = load_reward(path, plan)
    finite = all(torch.isfinite(weight).all() for weight in judge.model.parameters())
    shift = float(judge.members[0].shift)
    return [
        _tokens_apart(judge.tokenizer.pad, judge.tokenizer.end),
        Check("weights are finite", bool(finite), f"{len(judge.members)} members", "train it anew"),
        Check(
            "scores are centred on demonstrations",
            shift != 0.0 or None,
            f"{shift:+.3f} is subtracted",
            "no demonstrations were at hand: scores have an arbitrary zero (R5)",
        ),
        Check("context", True, f"{judge.context} tokens", ""),
    ]


def _tokens_apart(pad: int, end: int) -> Check:
    return Check(
        "pad and end are different tokens",
        pad != end,
        f"pad {pad}, end {end}",
        "give the tokenizer a pad token of its own: with pad = end nothing learns to stop",
    )


def _show(where: str, items: Sequence[Check]) -> None:
    if not items:
        return
    print(where)
    for item in items:
        mark = {True: "✓", False: "✗", None: "?"}[item.holds]
        print(f"  {mark} {item.name}: {item.told}")
        if item.holds is False:
            print(f"      → {item.diagnosis}")
