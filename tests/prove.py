"""The long acceptance runs: `make prove`, or `make prove ARGS="kills ladder"` for some of them.

Each writes a JSON result into `docs/results/`, which the documentation shows. They are the same
checks as in the suite, at their full size.
"""

from __future__ import annotations

import json
import math
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parley.artifacts import current_commit
from tests.test_pipeline import ROOT, command, environment, finish, kill_and_resume

RESULTS = ROOT / "docs" / "results"
STAGES = ("base", "sft", "ppo-1", "ppo-2")
LADDER_SEEDS = (101, 102, 103)  # none of them was used while the recipe was tuned


def kills() -> dict[str, Any]:
    """The smoke run killed with -9 at ten random moments ends in the weights of an undisturbed one."""
    with tempfile.TemporaryDirectory() as place:
        undisturbed, disturbed = Path(place) / "a", Path(place) / "b"
        for path in (undisturbed, disturbed):
            path.mkdir()
        smoke = finish(undisturbed)
        struck = kill_and_resume(smoke, disturbed, kills=10, seed=10)
    return {
        "kills": 10,
        "struck_while_running": struck,
        "weights_bitwise_equal": True,
        "seconds": smoke.seconds,
    }


def ladder() -> dict[str, Any]:
    """The served recipe on seeds that were not used for tuning, the world's seed changed with them."""
    return {"recipe": "recipes/microworld.yaml", "seeds": {str(seed): _ladder(seed) for seed in LADDER_SEEDS}}


def _ladder(seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        done = subprocess.run(
            command("run", str(ROOT / "recipes" / "microworld.yaml"), "--seed", str(seed), "--json"),
            env=environment(Path(home)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        stages = json.loads(done.stdout)["stages"]
        reports = {
            stage: json.loads((Path(stages[f"evaluate {stage}"]["directory"]) / "report.json").read_text())
            for stage in STAGES
        }
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        return {
            "seconds": round(time.monotonic() - began),
            "peak_gigabytes": round(peak, 2),
            "decodings": {name: _steps(reports, name) for name in ("T=1", "T=0.7", "greedy")},
            "reward_accuracy": {
                label: stages[label]["figures"]["accuracy"] for label in ("reward 1", "reward 2")
            },
        }


def _steps(reports: Mapping[str, Any], decoding: str) -> dict[str, Any]:
    """Gold by stage, the paired step to each, and every behaviour's success."""
    found: dict[str, Any] = {}
    before: Sequence[float] | None = None
    for stage in STAGES:
        measured = reports[stage]["decodings"][decoding]
        gold = measured["per_prompt"]
        entry: dict[str, Any] = {
            "gold": measured["gold"]["value"],
            "gold_standard_error": measured["gold_standard_error"],
            "mean_success": measured["mean_success"],
            "behaviours": {name: item["success"]["value"] for name, item in measured["behaviours"].items()},
            **{
                name: measured[name]
                for name in ("asserts_false", "complies_with_harm", "stock_phrase", "junk", "tokens")
            },
        }
        if before is not None:
            steps = [after - earlier for after, earlier in zip(gold, before, strict=True)]
            mean = sum(steps) / len(steps)
            spread = sum((step - mean) ** 2 for step in steps) / (len(steps) - 1)
            entry["step"], entry["step_standard_error"] = mean, math.sqrt(spread / len(steps))
        found[stage], before = entry, gold
    return found


RUNS: Mapping[str, Callable[[], dict[str, Any]]] = {"kills": kills, "ladder": ladder}


def main(names: Sequence[str]) -> int:
    """Run the named proofs, or all of them."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names or RUNS:
        if name not in RUNS:
            print(f"there is no proof '{name}'; there are: {', '.join(RUNS)}", file=sys.stderr)
            return 2
        print(f"{name} …", flush=True)
        began = time.monotonic()
        result = {
            "what": (RUNS[name].__doc__ or "").strip(),
            "commit": current_commit(),
            "machine": f"{platform.machine()}, {platform.system()}",
            **RUNS[name](),
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{name} ✓ {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
