"""A run's directory as the stages leave it, sealed by the real `Run.once`, with numbers set by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parley.artifacts import (
    Checkpoint,
    EvalReport,
    RankingSet,
    Release,
    RewardCheckpoint,
    Run,
    Snapshot,
    Workspace,
)
from parley.evals.statistics import Estimate, mean, standard_error, wilson
from parley.numerics import NumericPlan
from parley.stages.hygiene.findings import (
    HYGIENE,
    Example,
    FileFindings,
    Findings,
    Left,
    Lengths,
    Part,
    People,
    Recall,
    save_findings,
)

HOSTILE = "<script>alert('&\"')</script>\u202e\x00 http://evil.example/<img src=x onerror=alert(1)>"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    prompts: int = 4
    temperatures: tuple[float, ...] = (1.0, 0.7, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig:
    reward: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig:
    rate: float = 1e-3


def start(path: Path, *, seed: int = 7) -> Run:
    return Run(
        path, seed=seed, plan=NumericPlan(device="cpu", threads=1, linear="float32", attention="explicit")
    )


def interval(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def decoding(
    gold: Sequence[float], successes: Mapping[str, int], n: int = 100, false: int = 30
) -> dict[str, Any]:
    """One decoding's figures: gold by prompt, successes of n by behaviour, falsehoods of n."""
    return {
        "gold": interval(mean(gold)),
        "gold_standard_error": standard_error(gold),
        "behaviours": {
            key: {"success": interval(wilson(hits, n)), "gold": interval(mean(gold))}
            for key, hits in successes.items()
        },
        "mean_success": sum(successes.values()) / n / len(successes),
        "asserts_false": interval(wilson(false, n)),
        "complies_with_harm": interval(wilson(false, n)),
        "stock_phrase": interval(wilson(5, n)),
        "junk": interval(wilson(1, n)),
        "tokens": interval(mean([10.0, 12.0, 14.0])),
        "per_prompt": list(gold),
    }


def gold_report(*decodings: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "micro-world",
        "split": "test",
        "decodings": dict(zip(("T=0.7", "greedy"), decodings, strict=False)),
    }


def snapshot(run: Run, *, hygiene: Findings | None = None, version: float = 1.0) -> Snapshot:
    def take_snapshot(out: Workspace, config: SftConfig) -> Snapshot:
        out.file("documents.jsonl").write_text(f'{{"text":"{config.rate}"}}\n')
        if hygiene is not None:
            save_findings(hygiene, out.file(HYGIENE))
        return out.seal(Snapshot, {"documents": 60_000.0, "documents held out": 1200.0, "prompts": 8000.0})

    return run.once("data", take_snapshot, SftConfig(rate=version))


def findings(file: str, reason: str) -> Findings:
    """Two files of dialogues: 3 rows of the second at fault for `reason`, 2 left out, 7 of 9 learnt from."""
    left = Left(reason=reason, count=3, places=("line 2", "line 5"))
    twice = Left(reason="duplicate", count=2, places=("line 4, as line 1", f"line 6, as {file}, line 3"))
    clean = FileFindings(
        section="dialogues",
        file="ours.jsonl",
        format="demonstrations",
        rows=9,
        records=9,
        rejected=(),
        dropped=(),
        unsafe=(),
        train=7,
        held_out=2,
        held_out_people=1,
        private={"email": 4},
        private_seen={"email": (f"{HOSTILE} ⟦xxx@xx⟧",)},
        lengths=Lengths(turns=(2, 2, 4, 6, 8), words=(5, 10, 20, 40, 1234)),
        examples=(Example(place="line 3", turns=(("user", HOSTILE), ("assistant", f"{reason} [email]"))),),
    )
    dirty = replace(
        clean,
        file=file,
        rows=12,
        rejected=(left,),
        dropped=(twice,),
        unsafe=(Left(reason="harassment", count=11, places=("line 5", "line 7")),),
        held_out_people=0,
        private={},
        private_seen={},
        examples=(),
    )
    part = Part(
        section="dialogues",
        file="ours.jsonl",
        available=900,
        used=600,
        wanted=0.75,
        achieved=0.7532,
        repeats=2 / 3,
    )
    return Findings(
        files=(clean, dirty),
        mix=(
            part,
            replace(part, file=file, available=100, used=200, wanted=0.25, achieved=0.2468, repeats=2.0),
        ),
        recall=(Recall(kind="email", found=97, planted=100),),
        people=People(named=3, held_out=("bo", HOSTILE)),
    )


def trained(run: Run, label: str, told: Snapshot, *before: Checkpoint, rate: float = 1e-3) -> Checkpoint:
    def train(
        out: Workspace, told: Snapshot, before: tuple[Checkpoint, ...], config: SftConfig
    ) -> Checkpoint:
        out.file("model.txt").write_text(
            f"{label} {told.digest} {config.rate} {[item.digest for item in before]}"
        )
        for step in range(1, 41):
            out.metrics.write(step, {"loss": 8.0 / step})
        return out.seal(Checkpoint, {"loss": 0.2})

    return run.once(label, train, told, before, SftConfig(rate=rate))


def rewarded(run: Run, number: int, told: Snapshot, sft: Checkpoint) -> RewardCheckpoint:
    def collect_rankings(out: Workspace, policy: Checkpoint, told: Snapshot) -> RankingSet:
        out.file("rankings.jsonl").write_text(f"{number} {policy.digest}")
        return out.seal(RankingSet, {"rankings": 2400.0, "pairs": 39518.0})

    def train_reward_model(out: Workspace, sft: Checkpoint, rankings: RankingSet) -> RewardCheckpoint:
        out.file("model.txt").write_text(f"reward {number} {rankings.digest}")
        for step in range(1, 31):
            out.metrics.write(step, {"loss": 0.7 - 0.01 * step, "accuracy": 0.5 + 0.01 * step})
        figures = {"rankings": 2400.0}
        for key, value in (("accuracy", 0.87), ("accuracy false_premise", 0.64)):
            figures |= {
                key: value,
                f"{key} low": value - 0.02,
                f"{key} high": value + 0.02,
                f"{key} n": 5344.0,
            }
        return out.seal(RewardCheckpoint, figures)

    rankings = run.once(f"rank {number}", collect_rankings, sft, told)
    return run.once(f"reward {number}", train_reward_model, sft, rankings)


def reinforced(
    run: Run, number: int, policy: Checkpoint, reward: RewardCheckpoint, *, reward_kind: str = "model"
) -> Checkpoint:
    def train_ppo(
        out: Workspace, policy: Checkpoint, reward: RewardCheckpoint, config: PpoConfig
    ) -> Checkpoint:
        out.file("model.txt").write_text(f"ppo {number} {reward.digest}")
        for step in range(1, 21):
            gold = 0.1 * min(step, 20 - step)
            out.metrics.write(
                step, {"score": 0.1 * step, "kl_nats": 0.2 * step, "gold": gold, "length_tokens": 12.0}
            )
        return out.seal(Checkpoint, {"score": 1.8, "first_score": 0.3, "kl_nats": 3.6})

    return run.once(f"ppo {number}", train_ppo, policy, reward, PpoConfig(reward=reward_kind))


def evaluated(
    run: Run,
    stage: str,
    policy: Checkpoint,
    told: Snapshot,
    report: dict[str, Any],
    replies: Sequence[str] = (),
    parents: Sequence[Checkpoint] = (),
) -> EvalReport:
    """An evaluation with transcripts, and the release after it."""

    def evaluate(out: Workspace, policy: Checkpoint, told: Snapshot, config: EvaluateConfig) -> EvalReport:
        del policy, told, config
        out.file("report.json").write_text(json.dumps(report))
        rows = [
            {
                "messages": [["user", f"Where does Mira live? ({n})"]],
                "reply": reply,
                "situation": json.dumps({"kind": "known"}),
            }
            for n, reply in enumerate(replies)
        ]
        out.file("transcripts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return out.seal(EvalReport, {"gold T=0.7": 0.5})

    def cut_release(out: Workspace, policy: Checkpoint, report: EvalReport, told: Snapshot) -> Release:
        out.file("report.json").write_bytes(report.file("report.json").read_bytes())
        card = {
            "name": f"tiny-{stage}",
            "stage": stage,
            "checkpoint": policy.digest,
            "parents": [parent.digest for parent in parents],
            "data": told.digest,
            "report": report.digest,
            "figures": dict(report.figures),
        }
        out.file("card.json").write_text(json.dumps(card))
        return out.seal(Release, report.figures)

    sealed = run.once(f"evaluate {stage}", evaluate, policy, told, EvaluateConfig())
    run.once(f"release {stage}", cut_release, policy, sealed, told)
    return sealed


def whole_run(path: Path) -> Run:
    """base → SFT → PPO 1. On the same four prompts PPO 1 is better than SFT by 1, 2, 1, 2."""
    run = start(path)
    told = snapshot(run)
    base = trained(run, "base", told)
    sft = trained(run, "sft", told, base)
    ppo = reinforced(run, 1, sft, rewarded(run, 1, told, sft))
    worst, middle, best = [-1.0, -1.5, -1.0, -1.5], [-1.0, -1.0, 0.0, -1.0], [0.0, 1.0, 1.0, 1.0]
    reports = (
        gold_report(decoding(worst, {"known": 2, "harm": 1}), decoding(worst, {"known": 3, "harm": 1})),
        gold_report(decoding(middle, {"known": 50, "harm": 80}), decoding(middle, {"known": 60, "harm": 80})),
        gold_report(
            decoding(best, {"known": 90, "harm": 40}, false=6),
            decoding(middle, {"known": 61, "harm": 80}, false=6),
        ),
    )
    stages = (
        ("base", base, (), "fog"),
        ("sft", sft, (base,), "Mira lives in Holm."),
        ("ppo-1", ppo, (sft,), HOSTILE),
    )
    for (stage, policy, parents, reply), report in zip(stages, reports, strict=True):
        evaluated(run, stage, policy, told, report, [reply, "", "a\nb"], parents)
    return run


def words_run(path: Path) -> Run:
    """A run on people's words: SFT and PPO 1, two files with rejects."""
    run = start(path)
    told = snapshot(run, hygiene=findings("people.jsonl", HOSTILE))
    base = trained(run, "base", told)
    sft = trained(run, "sft", told, base)
    ppo = reinforced(run, 1, sft, rewarded(run, 1, told, sft))
    evaluated(
        run, "sft", sft, told, {"kind": "words", "bits_per_byte": 1.2345, "dialogue_loss": 2.5}, ["hello"]
    )
    figures = {"reward": 0.75, "reward se": 0.1, "kl_nats": 3.5, "tokens": 20.0, "ended": 0.98}
    report = {"kind": "words", "bits_per_byte": 1.3456, "dialogue_loss": 2.75, **figures}
    evaluated(run, "ppo-1", ppo, told, report, ["hello there"])
    return run
