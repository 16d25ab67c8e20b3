"""Our stages beside TRL's trainers: SFT tokens, reward pairs and PPO episodes a second, and peak memory.

Every case is a process of its own, on one thread; all of a task's processes are started, warmed up by one
step and then take turns, a round each, so that what else the machine does falls on all of them. Rates are by
CPU seconds of the process (the wall seconds of a core that is free); the ratio of a task is the median over
its rounds. Beside each ratio stands its check: the same weights and token ids give the same losses, step by
step, in fp32; in PPO the first KL is 0, the first ratio 1 (a stage stops where it is not), and a score rises.

The peer lives in environments of its own, named by flags; without one its side is left out, and said so:

    taskset -c 0 python benchmarks/train.py --trl PEER/bin/python --trl-ppo PEER112/bin/python \\
        [--tasks sft,reward-4,reward-2,ppo] [--sizes 1M,30M] [--rounds 5] [--out docs/results/train.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "training"))
sys.path.insert(1, str(ROOT))

from gate import MARK  # noqa: E402
from work import Amounts, make_work  # noqa: E402

from parley.artifacts import current_commit  # noqa: E402

OURS = "parley"
DEFAULTS, BEST, FORCED = "TRL as configured", "TRL at its best", "TRL, bf16 forced"
UNITS = {"sft": "tokens", "reward-4": "pairs", "reward-2": "pairs", "ppo": "episodes"}
TOLERANCE = 1e-5  # of losses in fp32
CHECK_RATE = 1e-3


@dataclass(frozen=True)
class Case:
    """One side of a task: which program under which variant, and how many steps it makes a round."""

    name: str
    variant: str
    steps: int
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """What is measured: the sides, the work of a step, and the goals, by side."""

    name: str
    size: str
    cases: tuple[Case, ...]
    spec: Mapping[str, Any]
    goals: Mapping[str, float]


def tasks(names: Sequence[str], sizes: Sequence[str], *, quick: bool) -> Iterator[Task]:
    """The tasks asked for. A step of the small model takes long, of the tiny one many fit into a round."""
    for size in sizes:
        many = 1 if quick else {"1M": 8, "30M": 1}[size]
        for name in names:
            if name == "ppo":
                yield _ppo(size, quick=quick)
            else:
                yield _supervised(name, size, many)


def _supervised(name: str, size: str, many: int) -> Task:
    best = "packed" if name == "sft" else "bfloat16"
    cases = (
        Case(OURS, "as chosen", 3 * many, {}),
        Case(DEFAULTS, "defaults", many, {}),
        Case(BEST, best, 2 * many, {}),
    )
    batch = {"sft": 16, "reward-4": 24, "reward-2": 16}[name]
    spec = {"batch": batch, "batch_tokens": 2112, "packed_rows": 4, "packed_accumulation": 1, "rate": 1e-4}
    goals = {
        "sft": {DEFAULTS: 3.5, BEST: 1.6},
        "reward-4": {DEFAULTS: 5.0, BEST: 5.0},
        "reward-2": {DEFAULTS: 2.0, BEST: 2.0},
    }
    return Task(name, size, cases, spec, goals[name])


def _ppo(size: str, *, quick: bool) -> Task:
    cases = (
        Case(OURS, "as chosen", 1, {}),
        Case(DEFAULTS, "defaults", 1, {}),
        Case(FORCED, "defaults", 1, {"ACCELERATE_MIXED_PRECISION": "bf16"}),
    )
    batch = 8 if quick else {"1M": 64, "30M": 32}[size]
    goals = {DEFAULTS: {"1M": 2.4, "30M": 3.0}[size], FORCED: 1.6}
    return Task("ppo", size, cases, {"batch": batch, "rate": 1e-5}, goals)


class Worker:
    """A process that works a round whenever it is told to."""

    def __init__(self, task: Task, case: Case, work: Path, python: str, *, spec: Mapping[str, Any]) -> None:
        program = "parley_side.py" if case.name == OURS else "trl_side.py"
        self.name = f"{case.name}, {task.name} {task.size}"
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        self.process = subprocess.Popen(
            [python, str(HERE / "training" / program), str(work), task.name, case.variant, json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=_environment() | dict(case.environment),
        )

    def heard(self) -> dict[str, Any]:
        """What it says next; `SystemExit` with its last words where it died."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                found: dict[str, Any] = json.loads(line[len(MARK) :])
                return found
        self.errors.seek(0)
        raise SystemExit(f"{self.name} ended early:\n{self.errors.read()[-2000:]}")

    def round(self) -> dict[str, Any]:
        """One round of it."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.heard()

    def end(self) -> None:
        """It is no longer needed."""
        self.process.kill()
        self.process.wait()


def _environment() -> dict[str, str]:
    return dict(os.environ) | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }


def main() -> None:
    arguments = _arguments()
    pythons = {
        "sft": arguments.trl,
        "reward-4": arguments.trl,
        "reward-2": arguments.trl,
        "ppo": arguments.trl_ppo,
    }
    found = _earlier(arguments.out)
    with tempfile.TemporaryDirectory() as home:
        for task in tasks(arguments.tasks.split(","), arguments.sizes.split(","), quick=arguments.quick):
            peer = pythons[task.name]
            if not peer:
                flag = "--trl-ppo" if task.name == "ppo" else "--trl"
                print(f"{task.name} {task.size}: no peer: its Python was not named ({flag})")
            section = measured(task, _works(Path(home), task.size, arguments), peer, arguments)
            found["tasks"][f"{task.name} {task.size}"] = section
            _show(task, section)
            if arguments.out:
                arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trl", help="a Python with trl 1.16.0, for SFT and reward models")
    parser.add_argument("--trl-ppo", help="a Python with trl 1.12.0, the last that has PPO")
    parser.add_argument("--tasks", default="sft,reward-4,reward-2,ppo")
    parser.add_argument("--sizes", default="1M,30M")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-checks", action="store_true", help="speed alone")
    parser.add_argument("--out", type=Path, help="a JSON file; tasks measured earlier stay in it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="the tiny model, one short round")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.rounds, arguments.no_checks = "1M", 1, True
    return arguments


def _earlier(path: Path | None) -> dict[str, Any]:
    """The file to be written, with what it holds of other tasks."""
    tasks = json.loads(path.read_text())["tasks"] if path and path.exists() else {}
    what = (__doc__ or "").strip().splitlines()[0]
    return {"what": what, "commit": current_commit(), "machine": _machine(), "tasks": tasks}


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line for line in lines if line.startswith("flags")).split()
        return (
            f"{name}, {' '.join(f for f in ('avx512_bf16', 'amx_bf16') if f in flags)}, {platform.system()}"
        )
    except (OSError, StopIteration):
        return f"{platform.machine()}, {platform.system()}"


def _works(home: Path, size: str, arguments: argparse.Namespace) -> dict[str, Path]:
    works = {"speed": Amounts(256, 64, 64)} | ({} if arguments.no_checks else {"check": Amounts(16, 4, 16)})
    for name, amounts in works.items():
        if not (home / size / name).exists():
            make_work(home / size / name, size, amounts)
    return {name: home / size / name for name in works}


def measured(
    task: Task, works: Mapping[str, Path], peer: str | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Checks, then rates of all sides in turns."""
    checks = {} if arguments.no_checks else _checks(task, works["check"], peer)
    cases = [case for case in task.cases if case.name == OURS or peer]
    workers: dict[str, Worker] = {}
    began = time.time()
    try:
        for case in cases:
            total = 2 + case.steps * arguments.rounds
            spec = {**task.spec, "steps": case.steps, "total": total, "epochs": total}
            workers[case.name] = Worker(task, case, works["speed"], _python(case, peer), spec=spec)
        about = {name: worker.heard() for name, worker in workers.items()}
        rounds = [{name: worker.round() for name, worker in workers.items()} for _ in range(arguments.rounds)]
    finally:
        for worker in workers.values():
            worker.end()
    return _summary(task, checks, about, rounds) | {"seconds": round(time.time() - began)}


def _python(case: Case, peer: str | None) -> str:
    return sys.executable if case.name == OURS else str(peer)


def _summary(
    task: Task, checks: Mapping[str, Any], about: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    rates = {name: [turn[name]["units"] / turn[name]["cpu_seconds"] for turn in rounds] for name in about}
    last = rounds[-1]
    sides = {
        name: {
            "rate": statistics.median(rates[name]),
            "rates": [round(rate, 3) for rate in rates[name]],
            "wall_over_cpu": last[name]["seconds"] / last[name]["cpu_seconds"],
            "peak_gigabytes": last[name]["peak_gigabytes"],
            **{key: said[key] for key in ("plan", "trl", "transformers", "torch") if key in said},
        }
        for name, said in about.items()
    }
    ratios = {
        name: {
            "speed": statistics.median(a / b for a, b in zip(rates[OURS], rates[name], strict=True)),
            "goal": task.goals[name],
            "memory": sides[OURS]["peak_gigabytes"] / sides[name]["peak_gigabytes"],
        }
        for name in about
        if name != OURS
    }
    return {
        "unit": UNITS[task.name],
        "checks": dict(checks),
        "sides": sides,
        "ratios": ratios,
        "commit": current_commit(),
    }


def _checks(task: Task, work: Path, peer: str | None) -> dict[str, Any]:
    """Same weights and data: same losses. In PPO: what must hold before the first update, and that it learns."""
    if task.name == "ppo":
        return _ppo_checks(task, work)
    batch = {"sft": 16, "reward-4": 24, "reward-2": 8}[task.name]
    spec = {
        **task.spec,
        "batch": batch,
        "batch_tokens": 1_000_000,
        "rate": CHECK_RATE,
        "steps": 1,
        "log": True,
    }
    spec |= {"total": 3, "epochs": 3}
    ours = _losses(task, Case(OURS, "float32", 1, {}), work, sys.executable, spec)
    if not peer:
        return {"losses": ours}
    theirs = _losses(task, Case(DEFAULTS, "float32", 1, {}), work, peer, spec)
    gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    if gap > TOLERANCE:
        raise SystemExit(f"{task.name} {task.size}: losses differ by {gap:.2g}: {ours} and {theirs}")
    return {"losses": ours, "TRL's losses": theirs, "largest difference": gap}


def _losses(task: Task, case: Case, work: Path, python: str, spec: Mapping[str, Any]) -> list[float]:
    worker = Worker(task, case, work, python, spec=spec)
    try:
        said = [worker.heard(), worker.round(), worker.round()]
    finally:
        worker.end()
    return [float(item["figures"][-1]["loss"]) for item in said]


def _ppo_checks(task: Task, work: Path) -> dict[str, Any]:
    """In fp32: the first KL, and the score of replies over a few updates. That the first ratio is 1 the
    stage asserts by itself in every step of every run."""
    updates = {"1M": 12, "30M": 2}[task.size]
    spec = {"batch": 16, "rate": CHECK_RATE, "steps": 1, "total": updates, "epochs": 1}
    worker = Worker(task, Case(OURS, "float32", 1, {}), work, sys.executable, spec=spec)
    try:
        figures = [worker.heard(), *(worker.round() for _ in range(updates - 1))]
    finally:
        worker.end()
    steps = [said["figures"][-1] for said in figures]
    first = abs(steps[0]["kl_nats"])
    if first > TOLERANCE:
        raise SystemExit(f"ppo {task.size}: the first KL is {first} nats instead of 0")
    return {"first KL, nats": first, "scores": [step["score"] for step in steps]}


def _show(task: Task, section: Mapping[str, Any]) -> None:
    print(f"\n{task.name} {task.size}, {section['unit']} a second; checks {json.dumps(section['checks'])}")
    for name, side in section["sides"].items():
        ratio = section["ratios"].get(name)
        beside = (
            f"{ratio['speed']:>6.2f}x (goal {ratio['goal']:g}), memory {ratio['memory']:.2f}x"
            if ratio
            else ""
        )
        print(f"  {name:<20} {side['rate']:>10.2f} {side['peak_gigabytes']:>6.2f} GB  {beside}", flush=True)


if __name__ == "__main__":
    main()
