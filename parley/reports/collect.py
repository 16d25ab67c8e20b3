"""Reading a run's directory into a `RunReport`.

A directory can hold artifacts of several starts, since a changed recipe makes new ones beside the
old. Taken is, label by label along the walk, the newest artifact whose inputs are taken too; the
rest is set aside and named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from parley.artifacts import MANIFEST, METRICS, SAMPLES, read_manifest
from parley.config import canonical
from parley.errors import ArtifactError
from parley.evals.statistics import Estimate
from parley.metrics import MetricsFile, SamplesFile
from parley.reports.values import (
    SERVED,
    Accuracy,
    Decoding,
    Evaluation,
    Exchange,
    Measured,
    Record,
    RunReport,
)
from parley.stages.hygiene.findings import HYGIENE, Findings, read_findings
from parley.stages.release import CARD

WALK: Final = ("data", "tokenizer", "base", "sft", "rank", "reward", "measure", "ppo", "evaluate", "release")
RATES: Final = ("asserts_false", "complies_with_harm", "stock_phrase", "junk")
UNKNOWN: Final = 10**9  # stages that this report does not know come last
REPORT: Final = "report.json"
TRANSCRIPTS: Final = "transcripts.jsonl"


def collect(run_directory: Path, *, only: Collection[str] = ()) -> RunReport:
    """Everything that the sealed artifacts of a run tell.

    `only` names the directories to take; without it the newest that fit together are taken.
    Raises `ArtifactError` where nothing is finished yet, or a file is not what it should be.
    """
    manifests = {path.parent.name: read_manifest(path.parent) for path in run_directory.glob(f"*/{MANIFEST}")}
    if not manifests:
        raise ArtifactError(f"{run_directory} holds no finished stage, so there is nothing to report yet")
    taken = [name for name in _walk(manifests) if name in only] if only else _newest(manifests)
    records = tuple(_record(run_directory / name, manifests[name]) for name in taken)
    evaluations = [
        read_evaluation(
            run_directory / item.directory, item.label.partition(" ")[2], manifests[item.directory]
        )
        for item in records
        if item.label.startswith("evaluate ")
    ]
    busy = (path.name for path in run_directory.iterdir() if path.is_dir() and path.name not in manifests)
    return RunReport(
        recipe=_recipe_name(run_directory, records),
        records=records,
        evaluations=tuple(evaluations),
        accuracies=tuple(found for item in records if (found := _accuracy(item))),
        measured=tuple(of for item in records if (of := _measured(run_directory, item))),
        hygiene=_hygiene(run_directory, records),
        plan={key: str(value) for key, value in _json(run_directory / "plan.json", {}).items()},
        unfinished=tuple(sorted(name for name in busy if not name.startswith("."))),
        set_aside=tuple(sorted(set(manifests) - set(taken))),
    )


def read_evaluation(directory: Path, stage: str, manifest: Mapping[str, Any]) -> Evaluation:
    """The figures in a directory's `report.json`, with the transcripts beside it."""
    report = _json(directory / REPORT, {})
    kind: Literal["micro-world", "words"] = "micro-world" if "decodings" in report else "words"
    decodings = {
        str(name): _decoding(str(name), found, directory)
        for name, found in report.get("decodings", {}).items()
    }
    transcribed = _transcribed(kind, manifest)
    judged = decodings.get(transcribed)
    return Evaluation(
        stage=stage,
        directory=directory.name,
        kind=kind,
        split=str(report.get("split", "")),
        asked=canonical([item for item in manifest["inputs"] if not _is_checkpoint(item)]),
        decodings=decodings,
        words={key: float(value) for key, value in report.items() if isinstance(value, int | float)},
        transcribed=transcribed,
        transcripts=_transcripts(directory / TRANSCRIPTS, judged.per_prompt if judged else ()),
        memory=report.get("memory", {}),
        side_by_side=tuple(report.get("side_by_side", ())),
    )


def _walk(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Directories in the order of the walk, the newest of a label first."""
    return sorted(
        manifests, key=lambda name: (_place(manifests[name]["label"]), -manifests[name]["finished"])
    )


def _place(label: str) -> tuple[int, int, str]:
    """base, evaluate base, release base, sft, …, rank 1, reward 1, ppo 1, evaluate ppo-1, …, rank 2, …"""
    word, _, rest = label.partition(" ")
    numbered = re.search(r"\b(\d+)\b", label)
    subject = rest.partition("-")[0] if word in ("evaluate", "release") else word
    if subject not in WALK or word not in WALK:
        return UNKNOWN, 0, label
    return int(numbered[1]) if numbered else 0, WALK.index(subject) * len(WALK) + WALK.index(word), label


def _newest(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    known = {manifest["digest"] for manifest in manifests.values()}
    taken: dict[str, str] = {}
    digests: set[str] = set()
    for name in _walk(manifests):
        manifest = manifests[name]
        needed = set(_digests(manifest["inputs"])) & known
        if manifest["label"] not in taken and needed <= digests:
            taken[manifest["label"]] = name
            digests.add(manifest["digest"])
    return list(taken.values())


def _digests(inputs: Iterable[Any]) -> Iterable[str]:
    for item in inputs:
        if isinstance(item, list):
            yield from _digests(item)
        elif "artifact" in item:
            yield str(item["digest"])


def _is_checkpoint(item: Any) -> bool:
    return isinstance(item, dict) and item.get("artifact") == "Checkpoint"


def _record(path: Path, manifest: Mapping[str, Any]) -> Record:
    made_with = {
        str(item.get("config") or item["source"]): json.dumps(item["value"], ensure_ascii=False)
        for item in manifest["inputs"]
        if _value(item)
    }
    return Record(
        label=str(manifest["label"]),
        directory=path.name,
        kind=str(manifest["kind"]),
        seed=int(manifest["seed"]),
        commit=str(manifest["commit"]),
        finished=int(manifest["finished"]),
        seconds=float(manifest["seconds"]),
        digest=str(manifest["digest"]),
        inputs=tuple(dict.fromkeys(_digests(manifest["inputs"]))),
        made_with=made_with,
        figures={str(key): float(value) for key, value in manifest["figures"].items()},
        steps=tuple(MetricsFile(path / METRICS).rows()),
        samples=tuple(SamplesFile(path / SAMPLES).rows()),
    )


def _recipe_name(run_directory: Path, records: Sequence[Record]) -> str:
    for item in records:
        if item.label.startswith("release "):
            card = _json(run_directory / item.directory / CARD, {})
            if "name" in card and "stage" in card:
                return str(card["name"]).removesuffix(f"-{card['stage']}")
    return run_directory.resolve().name


def _accuracy(record: Record) -> Accuracy | None:
    if not record.label.startswith("reward "):
        return None
    figures = record.figures
    found = {
        key.removeprefix("accuracy").strip(): Estimate(
            figures[key], figures[f"{key} low"], figures[f"{key} high"], int(figures[f"{key} n"])
        )
        for key in figures
        if key.split(" ")[0] == "accuracy" and {f"{key} low", f"{key} high", f"{key} n"} <= figures.keys()
    }
    overall = found.pop("", None)
    return Accuracy(record, overall, found) if overall else None


def _measured(run_directory: Path, record: Record) -> Measured | None:
    if not record.label.startswith("measure reward"):
        return None
    models = _json(run_directory / record.directory / REPORT, {}).get("models", {})
    return Measured(record, models) if models else None


def _hygiene(run_directory: Path, records: Sequence[Record]) -> Findings | None:
    data = next((item for item in records if item.label == "data"), None)
    path = run_directory / data.directory / HYGIENE if data else None
    return read_findings(path) if path and path.exists() else None


def _decoding(name: str, found: Mapping[str, Any], directory: Path) -> Decoding:
    try:
        return Decoding(
            name=name,
            gold=_estimate(found["gold"]),
            gold_error=float(found["gold_standard_error"]),
            behaviours={str(key): _estimate(value["success"]) for key, value in found["behaviours"].items()},
            rates={key: _estimate(found[key]) for key in RATES if key in found},
            tokens=_estimate(found["tokens"]) if "tokens" in found else None,
            per_prompt=tuple(float(value) for value in found.get("per_prompt", ())),
            cue_swap=_estimates(found.get("cue_swap", {})),
            wordings=_estimates(found.get("wordings", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{directory / REPORT}: decoding {name!r} is not of this version ({error!r})"
        ) from None


def _estimates(found: Mapping[str, Any]) -> dict[str, Estimate]:
    """Intervals by name. Each may hold its own `n`, or share the one that stands beside them."""
    shared = int(found["n"]) if isinstance(found.get("n"), int | float) else 0
    cells = {str(key): value for key, value in found.items() if isinstance(value, Mapping)}
    return {
        key: _estimate(value.get("success", value), int(value.get("n", shared)))
        for key, value in cells.items()
    }


def _estimate(found: Mapping[str, Any], n: int = 0) -> Estimate:
    return Estimate(float(found["value"]), float(found["low"]), float(found["high"]), int(found.get("n", n)))


def _transcribed(kind: str, manifest: Mapping[str, Any]) -> str:
    """What `stages.evaluate` transcribes: the served decoding, else the first; people's words at T=1."""
    if kind == "words":
        return "T=1"
    configs = [item["value"] for item in manifest["inputs"] if "temperatures" in _value(item)]
    temperatures = configs[0]["temperatures"] if configs else []
    if 0.7 in temperatures:
        return SERVED
    return "" if not temperatures else f"T={temperatures[0]:g}" if temperatures[0] else "greedy"


def _value(item: Any) -> Mapping[str, Any]:
    value = item.get("value") if isinstance(item, dict) else None
    return value if isinstance(value, dict) else {}


def _transcripts(path: Path, gold: Sequence[float]) -> tuple[Exchange, ...]:
    if not path.exists():
        return ()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return tuple(
        Exchange(
            messages=tuple((str(message[0]), str(message[1])) for message in row["messages"]),
            reply=str(row["reply"]),
            behaviour=_behaviour(str(row.get("situation", ""))),
            gold=gold[n] if n < len(gold) else None,
        )
        for n, row in enumerate(rows)
    )


def _behaviour(situation: str) -> str:
    try:
        found = json.loads(situation)
    except ValueError:
        return ""
    return str(found.get("kind", "")) if isinstance(found, dict) else ""


def _json(path: Path, default: Any) -> Any:
    if not path.exists():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from None
