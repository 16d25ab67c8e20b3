"""Reference curves: healthy seeds of the smoke recipe, and the same run with one fault planted in PPO.

    python -m benchmarks.curves --seeds 1 2 3 --out docs/results/curves.json

Every stage's figures are kept, a few digits of each. For each fault stands what the doctor says of it and
what the run itself noticed. About a minute and a half a seed and a minute a fault on one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from parley.artifacts import Run, current_commit
from parley.engine.sampler import Completion
from parley.errors import InvariantError
from parley.metrics import MetricsFile
from parley.model.process import prepare_process
from parley.model.selftest import apply_plan, choose_plan
from parley.stages import ppo
from parley.stages.checkup import curve_checks, replay, take_run
from parley.stages.pipeline import run_recipe
from parley.stages.recipe import read_recipe

RECIPE: Final = Path(__file__).parents[1] / "recipes" / "smoke.yaml"
STEPS: Final = 100
DIGITS: Final = 4
FIGURES: Final = {
    "base": ("loss",),
    "sft": ("loss",),
    "reward 1": ("loss", "accuracy"),
    "ppo 1": (
        "score", "gold", "kl_nats", "length_tokens", "ended", "explained_variance", "approx_kl", "clip_fraction",
    ),
}  # fmt: skip


@contextmanager
def sampled_cold() -> Iterator[None]:
    """The sampler draws at 0.7 of the temperature that all log-probabilities are of."""
    sample: Callable[..., list[Completion]] = vars(ppo)["sample"]

    def cold(*arguments: Any, temperature: float, **others: Any) -> list[Completion]:
        return sample(*arguments, temperature=0.7 * temperature, **others)

    vars(ppo)["sample"] = cold
    try:
        yield
    finally:
        vars(ppo)["sample"] = sample


@contextmanager
def nothing() -> Iterator[None]:
    """No fault in the code."""
    yield


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in PPO: keys of the recipe, or the code."""

    told: str
    flags: Mapping[str, str]
    planted: Callable[[], Any] = nothing


FAULTS: Final = {
    "temperature": Fault(
        "the sampler draws at 0.7 of the temperature of the log-probabilities", {}, sampled_cold
    ),
    "no-kl": Fault("no price of KL: `ppo.kl_coefficient: 0`", {"ppo.kl_coefficient": "0"}),
    "rate": Fault("the policy's rate is twenty times too high", {"ppo.rate": "8.0e-3"}),
}


def main() -> None:
    """Run, and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of PPO; default: {STEPS}")
    parser.add_argument("--out", type=Path, help="where the JSON goes; default: the terminal alone")
    arguments = parser.parse_args()
    prepare_process()
    found = measure(arguments.seeds, arguments.steps)
    for name, run in found["runs"].items():
        print(f"{name:<14} {_summary(run)}")
    if arguments.out:
        arguments.out.write_text(
            json.dumps(found, indent=None, separators=(",", ":")) + "\n", encoding="utf-8"
        )


def measure(seeds: list[int], steps: int) -> dict[str, Any]:
    """Every healthy seed, and every fault on the first of them."""
    began = time.monotonic()
    runs: dict[str, Any] = {}
    plan = choose_plan()
    apply_plan(plan)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            runs[f"healthy {seed}"] = _run(Path(folder) / str(seed), plan, seed, Fault("nothing", {}), steps)
        for name, fault in FAULTS.items():
            again = Path(folder) / name
            shutil.copytree(Path(folder) / str(seeds[0]), again, ignore=shutil.ignore_patterns("ppo-*"))
            runs[name] = _run(again, plan, seeds[0], fault, steps)
    return {
        "what": f"Recipe smoke with {steps} steps of PPO, on one CPU core.",
        "commit": current_commit(),
        "seconds": round(time.monotonic() - began),
        "torch": torch.__version__,
        "runs": runs,
    }


def _run(folder: Path, plan: Any, seed: int, fault: Fault, steps: int) -> dict[str, Any]:
    flags = {"ppo.steps": str(steps), "seed": str(seed), "evaluate.prompts": "22", **fault.flags}
    recipe = read_recipe(RECIPE, flags)
    run = Run(folder, seed=seed, plan=plan)
    with fault.planted():
        try:
            run_recipe(recipe, run, until="ppo")
            stopped, checks = "", [*replay(take_run(run.path), folder / "doctor"), *curve_checks(run.path)]
        except InvariantError as error:
            stopped, checks = str(error), curve_checks(run.path)
    directories = {label: artifact.path for label, artifact in run.made.items()}
    newest = max(run.path.glob("ppo-1-*"), key=lambda path: path.stat().st_mtime)
    curves = {label: _curves(directories.get(label, newest), names) for label, names in FIGURES.items()}
    return {
        "seed": seed,
        "fault": fault.told,
        "stopped": stopped,
        "curves": curves,
        "failed": [[check.name, check.told] for check in checks if check.holds is False],
        "checks": len(checks),
    }


def _curves(directory: Path, names: tuple[str, ...]) -> dict[str, list[list[float]]]:
    rows = MetricsFile(directory / "metrics.jsonl").rows()
    return {
        name: [[row["step"], float(f"{row[name]:.{DIGITS}g}")] for row in rows if name in row]
        for name in names
    }


def _summary(run: Mapping[str, Any]) -> str:
    last = {name: values[-1][1] for name, values in run["curves"]["ppo 1"].items() if values}
    failed = "; ".join(name for name, _ in run["failed"]) or "nothing"
    return f"{last}  doctor: {failed}  {run['stopped'][:60]}"


if __name__ == "__main__":
    main()
