"""The numeric plan of this machine, kept in `PARLEY_HOME`."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import torch

from parley.artifacts import write_atomically
from parley.cli.paths import home
from parley.config import build, plain
from parley.model.selftest import choose_plan
from parley.numerics import NumericPlan


def machine_plan() -> NumericPlan:
    """The plan that the self-test chose on this machine, measured once and kept in `machine.json`.

    Another processor, torch or number of cores is measured anew.
    """
    file = home() / "machine.json"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "device": device,
    }
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if isinstance(known, dict) and known.get("machine") == machine:
        return build(NumericPlan, known["plan"], str(file))
    plan = choose_plan(device)
    write_atomically(file, json.dumps({"machine": machine, "plan": plain(plan)}, indent=1))
    return plan


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
