"""What a run has measured, read from its directory while it goes: behind the live page.

Sealed stages are read from their manifests and reports, the stage at work from the lines of
`metrics.jsonl` that are there by now. What is absent, half written or of another version is left
out: the page shows what there is. (`reports.collect` is the strict reader of finished runs.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite, sqrt
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

from parley.artifacts import MANIFEST, METRICS
from parley.service.common.run_view import (
    Agreement,
    Curve,
    Decoding,
    Evaluation,
    Exchange,
    Interval,
    RunDetails,
    RunStatus,
    Source,
    StageView,
)

MAX_POINTS: Final = 200
MAX_EXCHANGES: Final = 60
MAX_CHARACTERS: Final = 4000
SERVED: Final = "T=0.7"
Z95: Final = 1.96
RATES: Final = ("asserts_false", "complies_with_harm", "stock_phrase", "junk")
DIRECTORY: Final = re.compile(r"(?P<stage>.+)-[0-9a-f]{12}")
UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
T = TypeVar("T")
Columns = Mapping[str, tuple[float | None, ...]]
NO_REPORT: Final[Mapping[str, Any]] = {}
NO_ROWS: Final[tuple[Exchange | None, ...]] = ()
NOTHING: Final[tuple[int, Columns]] = (1, {})
Stamp = tuple[int, int]  # time of the last change, and size


class Files:
    """Reads each file once for as long as it stays as it is."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[Stamp | None, Any]] = {}
        self._used: dict[Path, tuple[Stamp | None, Any]] = {}

    def read(self, path: Path, parse: Callable[[str], T], otherwise: T) -> T:
        """What `parse` makes of the file's text; `otherwise` where it is absent or makes no sense."""
        stamp = _stamp(path)
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp:
            kept = (stamp, otherwise if stamp is None else _parsed(path, parse, otherwise))
        self._used[path] = kept
        value: T = kept[1]
        return value

    def finish(self) -> str:
        """Forgets what was not asked for again. Returns a name for the state of all that was."""
        self._kept, self._used = self._used, {}
        stamps = sorted((str(path), stamp) for path, (stamp, _) in self._kept.items())
        return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _parsed(path: Path, parse: Callable[[str], T], otherwise: T) -> T:
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except UNREADABLE:
        return otherwise


@dataclass(frozen=True, slots=True)
class Found:
    """A stage's directory; its manifest is empty while the stage is at work."""

    stage: str
    path: Path
    manifest: Mapping[str, Any]


class DetailsReader:
    """Reads `RunDetails`, again and again. Several threads may ask at once."""

    def __init__(self) -> None:
        self._files = Files()
        self._lock = Lock()

    def read(self, run: Path, status: RunStatus) -> RunDetails:
        """What the stages that `status` names as begun have left in the run's directory."""
        with self._lock:
            details = _details(run, status, self._files)
            begun = [(stage.name, stage.state) for stage in status.stages]
            return replace(details, revision=f"{self._files.finish()}-{_short(repr((run.name, begun)))}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def _details(run: Path, status: RunStatus, files: Files) -> RunDetails:
    found = _begun(run, status, files)
    sealed = [item for item in found if item.manifest]
    names = [stage.name for stage in status.stages]
    policies = [name.removeprefix("evaluate-") for name in names if name.startswith("evaluate-")]
    made = sealed[0].manifest if sealed else {}
    return RunDetails(
        revision="",
        recipe=status.recipe,
        run=run.name,
        seed=made["seed"] if isinstance(made.get("seed"), int) else None,
        plan={_text(key): _text(value) for key, value in _mapping(made.get("plan")).items()},
        policies=tuple(policies),
        curves=tuple(curve for item in found if (curve := _curve(item, files))),
        agreements=tuple(agreement for item in sealed if (agreement := _agreement(item))),
        evaluations=tuple(measured for item in sealed if (measured := _evaluation(item, files))),
        sources=tuple(_source(item) for item in sealed),
    )


# Which directories


def _begun(run: Path, status: RunStatus, files: Files) -> list[Found]:
    """One directory for each stage that is done or at work, in the run's order."""
    by_stage = _directories(run)
    begun = (_chosen(stage, by_stage.get(stage.name, ()), files) for stage in status.stages)
    return [item for item in begun if item]


def _directories(run: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    try:
        names = sorted(item.name for item in run.iterdir())
    except OSError:
        return found
    for name in names:
        if match := DIRECTORY.fullmatch(name):
            found.setdefault(match["stage"], []).append(run / name)
    return found


def _chosen(stage: StageView, directories: Sequence[Path], files: Files) -> Found | None:
    """A changed recipe leaves other directories of the same name: taken is the one whose figures the
    status tells, and of several the newest."""
    every = [
        Found(stage.name, path, files.read(path / MANIFEST, _manifest, NO_REPORT)) for path in directories
    ]
    if stage.state == "done":
        sealed = [item for item in every if item.manifest]
        told = [item for item in sealed if stage.figures.items() <= item.manifest["figures"].items()]
        return max(told or sealed, key=lambda item: item.manifest["finished"], default=None)
    if stage.state == "waiting":
        return None
    at_work = [item for item in every if not item.manifest]
    return max(at_work, key=lambda item: _stamp(item.path / METRICS) or (0, 0), default=None)


def _manifest(text: str) -> Mapping[str, Any]:
    manifest: dict[str, Any] = json.loads(text)
    return {
        "seed": manifest["seed"],
        "plan": manifest.get("plan"),
        "finished": int(manifest["finished"]),
        "seconds": float(manifest["seconds"]),
        "digest": str(manifest["digest"]),
        "figures": {str(name): float(value) for name, value in manifest["figures"].items()},
    }


def _source(found: Found) -> Source:
    manifest = found.manifest
    return Source(found.stage, found.path.name, manifest["digest"], manifest["seconds"], manifest["finished"])


# Curves


def _curve(found: Found, files: Files) -> Curve | None:
    together, columns = files.read(found.path / METRICS, _thinned, NOTHING)
    return Curve(found.stage, together, columns) if columns else None


def _thinned(text: str) -> tuple[int, Columns]:
    """How many lines make a point, and the points. A line that is still being written, or was damaged,
    is left out."""
    found = (_row(line) for line in text[: text.rfind("\n") + 1].splitlines())
    rows = [row for row in found if "step" in row]
    together = max(1, ceil(len(rows) / MAX_POINTS))
    points = [_mean_row(rows[n : n + together]) for n in range(0, len(rows), together)]
    names = dict.fromkeys(name for point in points for name in point)
    return together, {name: tuple(point.get(name) for point in points) for name in names}


def _row(line: str) -> dict[str, float]:
    try:
        return _finite(json.loads(line))
    except UNREADABLE:
        return {}


def _finite(values: Any) -> dict[str, float]:
    return {
        _text(name): float(value)
        for name, value in _mapping(values).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    }


def _mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row[name] for row in rows if name in row] for name in names}
    means = {name: _rounded(sum(values) / len(values)) for name, values in columns.items()}
    return {**means, "step": rows[-1]["step"]}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


# Measurements


def _agreement(found: Found) -> Agreement | None:
    if not found.stage.startswith("reward"):
        return None
    figures = found.manifest["figures"]
    names = [name for name in figures if re.fullmatch(r"accuracy( .+)?", name) and f"{name} low" in figures]
    told = _intervals((name.removeprefix("accuracy").strip(), _around(figures, name)) for name in names)
    overall = told.pop("", None)
    return Agreement(found.stage, overall, told) if overall else None


def _around(figures: Mapping[str, float], name: str) -> dict[str, float | None]:
    ends = {end: figures.get(f"{name} {end}") for end in ("low", "high", "n")}
    return {"value": figures[name], **ends}


def _evaluation(found: Found, files: Files) -> Evaluation | None:
    if not found.stage.startswith("evaluate-"):
        return None
    report = files.read(found.path / "report.json", _report, NO_REPORT)
    rows = files.read(found.path / "transcripts.jsonl", _exchanges, NO_ROWS)
    judged = _mapping(report.get("decodings"))
    transcribed = SERVED if SERVED in judged else next(iter(judged), "T=1")
    gold = _mapping(judged.get(transcribed)).get("per_prompt")
    decodings = (_decoding(str(name), _mapping(value)) for name, value in judged.items())
    return Evaluation(
        stage=found.stage.removeprefix("evaluate-"),
        decodings=tuple(decoding for decoding in decodings if decoding),
        figures=_finite(report),
        transcribed=_text(transcribed),
        transcripts=tuple(_judged(rows, gold if isinstance(gold, list) else ())),
    )


def _decoding(name: str, found: Mapping[str, Any]) -> Decoding | None:
    gold = _interval(found.get("gold"))
    if gold is None:
        return None
    told = _mapping(found.get("behaviours"))
    behaviours = _intervals((key, _mapping(value).get("success")) for key, value in told.items())
    return Decoding(
        name=_text(name),
        gold=gold,
        mean_success=_mean(list(behaviours.values())),
        behaviours=behaviours,
        rates=_intervals((key, found.get(key)) for key in RATES),
    )


def _mean(rates: Sequence[Interval]) -> Interval | None:
    """Of independent rates, each weighing the same."""
    if not rates:
        return None
    value = sum(rate.value for rate in rates) / len(rates)
    spread = Z95 * sqrt(sum(r.value * (1 - r.value) / max(1, r.n) for r in rates)) / len(rates)
    return Interval(
        _rounded(value), max(0.0, value - spread), min(1.0, value + spread), sum(r.n for r in rates)
    )


def _intervals(found: Iterable[tuple[str, Any]]) -> dict[str, Interval]:
    told = ((_text(name), _interval(value)) for name, value in found)
    return {name: interval for name, interval in told if interval}


def _interval(found: Any) -> Interval | None:
    figures = _finite(found)
    if not {"value", "low", "high"} <= figures.keys():
        return None
    return Interval(figures["value"], figures["low"], figures["high"], int(figures.get("n", 0)))


def _exchanges(text: str) -> tuple[Exchange | None, ...]:
    return tuple(_exchange(line) for line in text.split("\n")[:MAX_EXCHANGES])


def _exchange(line: str) -> Exchange | None:
    try:
        row = json.loads(line)
        messages = tuple((_text(role), _text(text)) for role, text in row["messages"])
        return Exchange(messages, _text(row["reply"]), _behaviour(row.get("situation")), None)
    except UNREADABLE:
        return None


def _behaviour(situation: Any) -> str:
    try:
        return _text(json.loads(situation)["kind"])
    except UNREADABLE:
        return ""


def _judged(rows: Sequence[Exchange | None], gold: Sequence[Any]) -> Iterator[Exchange]:
    """The transcripts are of the first prompts, in their order."""
    for n, row in enumerate(rows):
        value = gold[n] if n < len(gold) else None
        if row:
            yield replace(row, gold=_finite({"gold": value}).get("gold"))


def _report(text: str) -> Mapping[str, Any]:
    return _mapping(json.loads(text))


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    """Valid text of bounded length, whatever stood in the file."""
    return str(found)[:MAX_CHARACTERS].encode("utf-8", "replace").decode()
