"""The numeric plan of this machine, kept in `PARLEY_HOME`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import fields, replace
from pathlib import Path

import torch

from parley.artifacts import write_atomically
from parley.cli.paths import home
from parley.config import build, plain
from parley.engine.selftest import choose_bfloat16_width
from parley.model.selftest import choose_plan
from parley.numerics import NumericPlan


def machine_plan() -> NumericPlan:
    """The plan that the self-test chose on this machine, measured once and kept in `machine.json`.

    Another processor, torch or number of cores is measured anew, and what an older version did not measure.
    """
    file = home() / "machine.json"
    machine = this_machine()
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if isinstance(known, dict) and known.get("machine") == machine:
        return build(NumericPlan, known["plan"], str(file))
    device = str(machine["device"])
    plan = replace(choose_plan(device), bfloat16_width=choose_bfloat16_width(device))
    write_atomically(file, json.dumps({"machine": machine, "plan": plain(plan)}, indent=1))
    return plan


def this_machine() -> dict[str, str | int]:
    """What the choice of a plan depends on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "measured": " ".join(field.name for field in fields(NumericPlan)),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
