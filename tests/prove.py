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

import torch

from parley.artifacts import MANIFEST, current_commit
from parley.stages.recipe import read_recipe
from tests import soak as soaked
from tests.kills import kill_everything
from tests.learning import SEEDS, learning_table, run_all
from tests.mutations import MUTATIONS, verdicts
from tests.stories import different, make_stories
from tests.test_pipeline import ROOT, command, environment, finish, kill_and_resume

RESULTS = ROOT / "docs" / "results"
STAGES = ("base", "sft", "ppo-1", "ppo-2")
STORY_SEEDS = (1, 2, 3)  # the recipe was tried on seed 7
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
        "kills": struck,
        "weights_bitwise_equal": True,
        "seconds": smoke.seconds,
    }


def everything() -> dict[str, Any]:
    """PPO with everything on, killed with -9 at a random step and resumed, twenty times: the checkpoint and the
    figures of every step are bitwise those of an undisturbed run."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        return kill_everything(Path(place), kills=20, seed=20)


def ladder() -> dict[str, Any]:
    """The served recipe on seeds that were not used for tuning, the world's seed changed with them."""
    return {"recipe": "recipes/microworld.yaml", "seeds": {str(seed): _ladder(seed) for seed in LADDER_SEEDS}}


def _ladder(seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        seconds, stages = _run("microworld", home, "--seed", str(seed))
        reports = {stage: _json(stages[f"evaluate {stage}"], "report.json") for stage in STAGES}
        accuracy = {label: stages[label]["figures"]["accuracy"] for label in ("reward 1", "reward 2")}
    return {
        "seconds": seconds,
        "peak_gigabytes": _peak_gigabytes(),
        "decodings": {name: _steps(reports, name) for name in ("T=1", "T=0.7", "greedy")},
        "reward_accuracy": accuracy,
    }


def overoptimise() -> dict[str, Any]:
    """A weak reward model trusted too long: the proxy ends highest, gold peaks inside the run and falls."""
    with tempfile.TemporaryDirectory() as home:
        seconds, stages = _run("overoptimise", home)
        path = Path(stages["ppo 1"]["directory"]) / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    curve = [{name: row[name] for name in ("step", "score", "gold", "gold se", "kl_nats")} for row in rows]
    peak = max(curve, key=lambda row: row["gold"])
    last = curve[-10:]
    end = sum(row["gold"] for row in last) / len(last)
    error = math.hypot(peak["gold se"], last[-1]["gold se"])
    return {
        "recipe": "recipes/overoptimise.yaml",
        "seconds": seconds,
        "gold_start": curve[0]["gold"],
        "gold_peak": peak["gold"],
        "gold_peak_step": peak["step"],
        "gold_peak_kl_nats": peak["kl_nats"],
        "gold_end": end,
        "fall_in_standard_errors": (peak["gold"] - end) / error,
        "proxy_start": curve[0]["score"],
        "proxy_end": sum(row["score"] for row in last) / len(last),
        "proxy_highest": max(row["score"] for row in curve),
        "steps": len(curve),
        "curve": curve,
    }


def large() -> dict[str, Any]:
    """The larger recipe, whose cues mislead half of the time: does truth decide where wording does not?"""
    with tempfile.TemporaryDirectory() as home:
        seconds, stages = _run("microworld-large", home)
        found = truth_or_wording(stages)
    return {"recipe": "recipes/microworld-large.yaml", "seed": 7, "seconds": seconds, **found}


def truth_or_wording(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Cue-swap cells, wordings and the hard kinds of every stage, at both probed decodings."""
    table: dict[str, Any] = {}
    for stage in STAGES:
        decodings = _json(stages[f"evaluate {stage}"], "report.json")["decodings"]
        table[stage] = {
            name: {
                "gold": decodings[name]["gold"],
                "cue_swap": decodings[name]["cue_swap"],
                "wordings": decodings[name]["wordings"],
                "behaviours": {kind: item["success"] for kind, item in decodings[name]["behaviours"].items()},
            }
            for name in ("T=0.7", "greedy")
        }
    return {
        "parameters": stages["base"]["figures"]["parameters"],
        "tokens": stages["base"]["figures"]["tokens"],
        "stages": table,
    }


def public() -> dict[str, Any]:
    """People's real words, small: bits per byte, loss on unseen dialogues, reward accuracy with interval."""
    with tempfile.TemporaryDirectory() as home:
        seconds, stages = _run("public-smoke", home)
    names = ("base", "sft", "reward 1", "ppo 1", "evaluate base", "evaluate sft", "evaluate ppo-1")
    figures = {name: stages[name]["figures"] for name in names}
    peak = _peak_gigabytes()
    return {
        "recipe": "recipes/public-smoke.yaml",
        "seconds": seconds,
        "peak_gigabytes": peak,
        "figures": figures,
    }


def words() -> dict[str, Any]:
    """People's real words at the size of a laptop: every figure that the recipe's report rests on."""
    with tempfile.TemporaryDirectory() as home:
        seconds, stages = _run("public-data", home)
        reports = {
            name: _json(stages[name], "report.json")
            for name in ("evaluate base", "evaluate sft", "measure reward-1", "evaluate ppo-1")
        }
    judged = reports["measure reward-1"]["models"]
    return {
        "recipe": "recipes/public-data.yaml",
        "seconds": seconds,
        "peak_gigabytes": _peak_gigabytes(),
        "stage_seconds": {name: round(_json(stage, MANIFEST)["seconds"]) for name, stage in stages.items()},
        "parameters": stages["base"]["figures"]["parameters"],
        "tokens": stages["base"]["figures"]["tokens"],
        "memory": {name.split()[1]: found["memory"] for name, found in reports.items() if "memory" in found},
        "reward": {
            name: {"pooled": found["pooled"], "sources": found["sources"]} for name, found in judged.items()
        },
        "ppo": stages["evaluate ppo-1"]["figures"],
        "samples": reports["evaluate ppo-1"]["side_by_side"][:6],
    }


def stories() -> dict[str, Any]:
    """stories260K, fine-tuned on its own stories, then PPO on a rule that is checked: tell of the hero in 15 to
    40 words, say nothing twice, end happily."""
    data = ROOT / "workspace" / "stories"
    make_stories(data)
    with tempfile.TemporaryDirectory() as place:
        seeds = {str(seed): _story_run(Path(place) / str(seed), data, seed) for seed in STORY_SEEDS}
    ppo = read_recipe(ROOT / "recipes" / "stories.yaml").rounds[0].ppo
    prompts = round(next(iter(seeds.values()))["figures"]["reward_gain n"])
    about = {"recipe": "recipes/stories.yaml", "steps": ppo.steps, "batch": ppo.batch, "prompts": prompts}
    return {**about, "seeds": seeds}


def _story_run(home: Path, data: Path, seed: int) -> dict[str, Any]:
    flags = ("--seed", str(seed), "--data.files.root", str(data), "--base.from", str(data / "model"))
    seconds, stages = _run("stories", str(home), *flags)
    report = _json(stages["evaluate ppo-1"], "report.json")
    rows = (Path(stages["ppo 1"]["directory"]) / "metrics.jsonl").read_text().splitlines()
    names = ("step", "score", "kl_nats", "length_tokens", "ended")
    both = {
        when: [sample[when]["reply"] for sample in report["side_by_side"]] for when in ("before", "after")
    }
    return {
        "seconds": seconds,
        "figures": stages["evaluate ppo-1"]["figures"],
        "sft": stages["sft"]["figures"],
        "checks": report["checks"],
        "different": {when: different(replies) for when, replies in both.items()},
        "curve": [{name: row[name] for name in names} for row in map(json.loads, rows)],
        "samples": report["side_by_side"][:8],
    }


def learning() -> dict[str, Any]:
    """One part of the method at a time, added to plain PPO or taken away, on seeds that nothing was chosen by."""
    directory = ROOT / "workspace" / "learning"  # stays, so that two hours need not be spent at once
    run_all(directory, SEEDS)
    return learning_table(directory, SEEDS)


def _run(recipe: str, home: str, *flags: str) -> tuple[int, dict[str, Any]]:
    """Seconds that a shipped recipe took, and its stages."""
    began = time.monotonic()
    done = subprocess.run(
        command("run", str(ROOT / "recipes" / f"{recipe}.yaml"), *flags, "--json"),
        env=environment(Path(home)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return round(time.monotonic() - began), json.loads(done.stdout)["stages"]


def _json(stage: Mapping[str, Any], name: str) -> Any:
    return json.loads((Path(stage["directory"]) / name).read_text())


def _peak_gigabytes() -> float:
    """The largest memory of any child process so far."""
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 2)


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


def soak() -> dict[str, Any]:
    """Twenty minutes of requests of every kind at a bounded rate: none is lost, and the server does not grow."""
    return soaked.soak(minutes=20)


def mutations() -> dict[str, Any]:
    """Planted errors in losses, advantages and masks: which of them the tests notice."""
    with tempfile.TemporaryDirectory() as place:
        found = list(verdicts(MUTATIONS, Path(place)))
    survivors = [item["what"] for item in found if item["verdict"] != "killed"]
    return {
        "planted": len(found),
        "killed": len(found) - len(survivors),
        "survivors": survivors,
        "each": found,
    }


RUNS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "kills": kills,
    "everything": everything,
    "mutations": mutations,
    "overoptimise": overoptimise,
    "public": public,
    "words": words,
    "large": large,
    "ladder": ladder,
    "stories": stories,
    "learning": learning,
    "soak": soak,
}


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
            "what": " ".join((RUNS[name].__doc__ or "").split()),
            "commit": current_commit(),
            "machine": f"{platform.machine()}, {platform.system()}",
            **RUNS[name](),
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{name} ✓ {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
