"""`parley plan`, and the same said when a run begins: how much memory a recipe takes, before it is taken."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

import torch

from parley.cli import GATE_SAYS_NO, show_json
from parley.cli.machine import machine_plan
from parley.errors import ArtifactError
from parley.numerics import NumericPlan
from parley.stages.budget import GIB, StageMemory, as_json, check_memory, memory_plan, told_bytes
from parley.stages.recipe import Recipe, read_recipe

CGROUP: Final = Path("/sys/fs/cgroup")


def plan(arguments: argparse.Namespace) -> int:
    """A table of stages and what they hold; 1 where the largest does not fit."""
    recipe = read_recipe(arguments.recipe, arguments.flags)
    numeric, free = _place(arguments)
    stages = memory_plan(recipe, arguments.recipe, numeric)
    found = as_json(stages, free)
    if arguments.json:
        show_json(found)
    else:
        print(_table(stages))
        print(
            f"\nlargest {told_bytes(found['bytes'])}, free {told_bytes(free)} on {numeric.device}: ", end=""
        )
        print("it fits" if found["fits"] else "it does not fit")
    return 0 if found["fits"] else GATE_SAYS_NO


def announce_memory(recipe: Recipe, path: Path, numeric: NumericPlan, *, check: bool) -> str:
    """The line that a run begins with; `ConfigError` where it cannot fit, unless `check` is off."""
    try:
        stages = memory_plan(recipe, path, numeric)
    except ArtifactError as error:
        return f"memory           not known before the model is here ({error})"
    free = free_bytes(numeric.device)
    if check:
        check_memory(stages, free)
    largest = max(stages, key=lambda stage: stage.total)
    return (
        f"memory           about {told_bytes(largest.total)} at most, in {largest.label}; "
        f"{told_bytes(free)} are free (parley plan {path})"
    )


def free_bytes(device: str) -> int:
    """Memory that a new process may take on this device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_available(), _control_group()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _available() -> int | None:
    """What the kernel thinks can be had without swapping; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _control_group() -> int | None:
    """What a container leaves; None where there is no limit."""
    try:
        most, used = (
            (CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current")
        )
        return int(most) - int(used)
    except (OSError, ValueError):
        return None


def _place(arguments: argparse.Namespace) -> tuple[NumericPlan, int]:
    """Here and now, or on a GPU of so many GB with bfloat16 and fused attention, as is chosen there."""
    if arguments.gpu is None:
        numeric = machine_plan()
        return numeric, free_bytes(numeric.device)
    there = NumericPlan(device="cuda", linear="bfloat16", attention="fused")
    return there, int(arguments.gpu * GIB)


def _table(stages: tuple[StageMemory, ...]) -> str:
    names = list(dict.fromkeys(name for stage in stages for name in stage.parts))
    wide = {name: max(len(name), 8) for name in names}
    head = f"{'':<16} {'at most':>8}  " + "  ".join(f"{name:>{wide[name]}}" for name in names)
    rows = [
        f"{stage.label:<16} {told_bytes(stage.total):>8}  "
        + "  ".join(f"{_cell(stage.parts.get(name)):>{wide[name]}}" for name in names)
        for stage in stages
    ]
    return "\n".join([head, *rows])


def _cell(count: int | None) -> str:
    return "–" if count is None else told_bytes(count)
