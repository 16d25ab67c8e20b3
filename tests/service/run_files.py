"""A run's directory as training leaves it, file by file, with figures set by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEHAVIOURS = ("admit", "clarify", "false_premise", "firm", "harm", "sum")
LABELS = (
    *("data", "tokenizer", "base", "evaluate_base", "release_base", "sft", "evaluate_sft", "release_sft"),
    *("rank_1", "reward_1", "ppo_1", "evaluate_ppo-1", "release_ppo-1"),
)


def interval(value: float, spread: float = 0.05, n: int = 90) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread, "n": n}


def decoding(gold: float, success: float) -> dict[str, Any]:
    behaviours = {
        name: {"success": interval(max(0.0, success - 0.03 * n)), "gold": interval(gold)}
        for n, name in enumerate(BEHAVIOURS)
    }
    rates = {"asserts_false": interval(0.3), "complies_with_harm": interval(0.1)}
    return {"gold": interval(gold), "behaviours": behaviours, **rates, "per_prompt": [gold, -1.0, 1.0]}


def exchange(text: str, reply: str, kind: str = "admit") -> dict[str, Any]:
    return {"messages": [["user", text]], "reply": reply, "situation": json.dumps({"kind": kind})}


@dataclass(frozen=True)
class RunFiles:
    """Writes the files of a run; stages are named as their labels, with `_` for the blank."""

    path: Path

    def directory(self, stage: str, digest: str = "0123456789ab") -> Path:
        made = self.path / f"{stage.replace('_', '-')}-{digest}"
        made.mkdir(parents=True, exist_ok=True)
        return made

    def seal(
        self,
        stage: str,
        figures: Mapping[str, float],
        digest: str = "0123456789ab",
        finished: int = 1_700_000_000,
    ) -> None:
        manifest = {
            "label": stage.replace("_", " "),
            "seed": 7,
            "plan": {"device": "cpu", "threads": 2},
            "finished": finished,
            "seconds": 41.2,
            "figures": figures,
            "digest": digest * 5,
        }
        (self.directory(stage, digest) / "manifest.json").write_text(json.dumps(manifest))

    def metrics(self, stage: str, rows: Sequence[Mapping[str, float]]) -> None:
        lines = (json.dumps({"step": n + 1, **row}) + "\n" for n, row in enumerate(rows))
        (self.directory(stage) / "metrics.jsonl").write_text("".join(lines))

    def evaluation(
        self, policy: str, gold: float, success: float, exchanges: Sequence[Mapping[str, Any]]
    ) -> None:
        made = self.directory(f"evaluate_{policy}")
        decodings = {name: decoding(gold + n / 10, success) for n, name in enumerate(("T=0.7", "greedy"))}
        (made / "report.json").write_text(json.dumps({"kind": "micro-world", "decodings": decodings}))
        lines = (json.dumps(row) + "\n" for row in exchanges)
        (made / "transcripts.jsonl").write_text("".join(lines))
        self.seal(f"evaluate_{policy}", {"gold T=0.7": gold})

    def status(self, running: str | None, state: str = "running") -> None:
        """All stages before `running` are done, those after it wait; None: all are done."""
        at = LABELS.index(running) if running else len(LABELS)
        stages: list[dict[str, Any]] = [
            {
                "name": label.replace("_", "-"),
                "label": label.replace("_", " "),
                "state": "done" if n < at else "running" if n == at else "waiting",
                "done": 40 if n == at else 0,
                "total": 100 if n == at else 0,
                "seconds": 41.2 if n <= at else 0.0,
                "remaining_seconds": 12.4 if n == at else None,
                "figures": {},
            }
            for n, label in enumerate(LABELS)
        ]
        whole = {"recipe": "microworld", "state": state, "remaining_seconds": 192.0, "message": ""}
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / "status.tmp"
        temporary.write_text(json.dumps({**whole, "stages": stages, "pid": os.getpid()}))
        temporary.replace(self.path / "status.json")


def until_sft(path: Path) -> RunFiles:
    """A run that measures SFT: base is measured, everything after is still to come."""
    files = RunFiles(path)
    files.seal("data", {"demonstrations": 10_000})
    files.seal("base", {"loss": 0.5})
    files.metrics("base", [{"loss": 6.0 / (n + 1)} for n in range(50)])
    files.evaluation("base", -1.0, 0.1, [exchange("Where does Mira live?", "1 has a job")])
    files.seal("sft", {"loss": 0.4})
    files.metrics("sft", [{"loss": 3.0 / (n + 1)} for n in range(20)])
    files.status("evaluate_sft")
    return files


def finish(files: RunFiles) -> None:
    """The rest of the run."""
    files.evaluation(
        "sft", -0.2, 0.5, [exchange("Where does Mira live?", "Mira lives in Holm. I hope this helps.")]
    )
    told = {"": 0.88, **{f" {name}": 0.8 + n / 50 for n, name in enumerate(BEHAVIOURS)}}
    accuracy = {f"accuracy{name}": value for name, value in told.items()}
    ends = {
        f"accuracy{name} {end}": value + shift
        for name, value in told.items()
        for end, shift in (("low", -0.04), ("high", 0.04), ("n", 300))
    }
    files.seal("reward_1", {**accuracy, **ends})
    files.metrics("reward_1", [{"loss": 0.7 - n / 1000, "accuracy": 0.5 + n / 900} for n in range(300)])
    steps = [
        {"kl_nats": n / 9, "score": n / 8, "gold": 0.6 - (n - 14) ** 2 / 300, "value_loss": 1 / (n + 1)}
        for n in range(22)
    ]
    files.seal("ppo_1", {"score": 2.4})
    files.metrics("ppo_1", steps)
    files.evaluation("ppo-1", 0.6, 0.8, [exchange("Where does Mira live?", "Mira lives in Oakby.")])
    files.status(None, state="done")
