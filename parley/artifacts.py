"""Sealed artifact directories, and `Run.once`, which makes each exactly once.

A stage is a plain function from artifacts to an artifact. `Run.once` names its directory by
label, stage, seed, config and the *content* digests of its inputs; a directory whose
`manifest.json` is there is opened, not made again. The manifest is written last and renamed
into place, so it never stands beside half-written files; until then the directory is a
`Workspace` in which the stage saves its steps and from which it goes on after a kill.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import logging
import math
import os
import shutil
import subprocess
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, runtime_checkable

from parley.config import build, canonical, plain
from parley.errors import ArtifactError, ConfigError, InvariantError
from parley.metrics import MetricsFile, Pace, Sample, SamplesFile, Silent, Watcher
from parley.numerics import NumericPlan
from parley.unfinished import Begun, steps_saved

log = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"
METRICS: Final = "metrics.jsonl"
SAMPLES: Final = "samples.jsonl"
NAME: Final = 12  # hexadecimal digits in a directory's name
STATE: Final = "state"  # saved steps of an unfinished stage
NOT_CONTENT: Final = (MANIFEST, METRICS, SAMPLES)  # carry times, or follow from the content


@dataclass(frozen=True, slots=True)
class Artifact:
    """A sealed directory. `digest` names its content, whatever made it and when."""

    path: Path
    digest: str
    figures: Mapping[str, float]

    def file(self, name: str) -> Path:
        """The path of one file inside."""
        return self.path / name


class Snapshot(Artifact):
    """What trainers and users told us, as of one moment: texts, demonstrations, rankings, prompts."""

    __slots__ = ()


class Checkpoint(Artifact):
    """A language model in Hugging Face layout: weights, tokenizer, chat format, config."""

    __slots__ = ()


class RewardCheckpoint(Artifact):
    """A reward model, with the frozen models that its features need."""

    __slots__ = ()


class Vocabulary(Artifact):
    """A fitted tokenizer."""

    __slots__ = ()


class RankingSet(Artifact):
    """Rankings of completions, ready for the reward model."""

    __slots__ = ()


class EvalReport(Artifact):
    """Figures of one policy, as JSON."""

    __slots__ = ()


class Release(Artifact):
    """A named checkpoint that may answer people, with its card."""

    __slots__ = ()


@runtime_checkable
class Fingerprinted(Protocol):
    """An input that is no artifact and knows what its content depends on (a source of data)."""

    def fingerprint(self) -> Mapping[str, Any]:
        """JSON-able values; equal ones stand for equal content."""
        ...


A = TypeVar("A", bound=Artifact)
P = ParamSpec("P")
Stage = Callable[Concatenate["Workspace", P], A]


def open_artifact(cls: type[A], path: Path, *, verify: bool = True) -> A:
    """The sealed artifact at `path`; with `verify` every file is compared with the manifest."""
    manifest = read_manifest(path)
    if verify:
        for name, entry in manifest["files"].items():
            _check_file(path / name, entry)
    return cls(path, manifest["digest"], manifest["figures"])


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a sealed directory."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is not a finished artifact: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path / MANIFEST}: cannot be read ({error})") from None
    return manifest


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory of a stage that is at work, and what the stage may use there."""

    path: Path
    label: str
    seed: int
    plan: NumericPlan
    watcher: Watcher
    origin: Mapping[str, Any]  # stage, config and inputs, for the manifest
    pace: Pace

    def file(self, name: str) -> Path:
        """A path for one file of the artifact."""
        return self.path / name

    def seed_for(self, stream: str, step: int = 0) -> int:
        """The seed of one stream of randomness at one step: a pure function of its arguments."""
        text = f"{self.seed}/{self.label}/{stream}/{step}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    @property
    def metrics(self) -> MetricsFile:
        """The stage's `metrics.jsonl`."""
        return MetricsFile(self.path / METRICS)

    @property
    def samples(self) -> SamplesFile:
        """The stage's `samples.jsonl`."""
        return SamplesFile(self.path / SAMPLES)

    def rewind(self, step: int) -> None:
        """Forget what was written of later steps."""
        self.metrics.rewind(step)
        self.samples.rewind(step)

    def measure(self, step: int, figures: Mapping[str, float]) -> None:
        """Write a line of figures, and tell whoever watches."""
        self.metrics.write(step, figures)
        self.watcher.measured(self.label, step, figures)

    def keep(self, step: int, samples: Sequence[Sample]) -> None:
        """Write replies of a step, and tell whoever watches."""
        self.samples.write(step, samples)
        self.watcher.sampled(self.label, step, samples)

    def progress(self, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        """Tell whoever watches."""
        self.watcher.progressed(self.label, done, total, figures or {})

    def seal(self, cls: type[A], figures: Mapping[str, float]) -> A:
        """Hash every file, write the manifest, and return the finished artifact.

        The saved steps go last: a kill before the manifest stands finds them whole. A figure that is
        not finite is refused (`InvariantError`): nothing good is in such an artifact.
        """
        _check_finite(figures, self.label)
        files = {name: _describe(self.path / name) for name in _files_of(self.path)}
        content = {name: entry["sha256"] for name, entry in files.items() if name not in NOT_CONTENT}
        manifest = {
            **self.origin,
            "label": self.label,
            "kind": cls.__name__,
            "seed": self.seed,
            "plan": plain(self.plan),
            "commit": current_commit(),
            "finished": int(time.time()),
            "seconds": round(self.pace.elapsed_seconds, 2),
            "figures": dict(figures),
            "digest": _digest(canonical(content)),
            "files": files,
        }
        write_atomically(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        shutil.rmtree(self.path / STATE, ignore_errors=True)
        return cls(self.path, manifest["digest"], manifest["figures"])


class Run:
    """One recipe's directory of artifacts. Use as a context: one process at a time may hold it.

    Its numeric plan is the one recorded when the run began, not the one offered now (rule C1).
    """

    def __init__(self, path: Path, *, seed: int, plan: NumericPlan, watcher: Watcher | None = None) -> None:
        self.path = path
        self.seed = seed
        self.watcher = watcher or Silent()
        self.made: dict[str, Artifact] = {}
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot make the run's directory ({error.strerror})") from None
        self.plan = self._recorded(plan)

    def _recorded(self, plan: NumericPlan) -> NumericPlan:
        file = self.path / "plan.json"
        if not file.exists():
            write_atomically(file, json.dumps(plain(plan)))
        try:
            return build(NumericPlan, json.loads(file.read_text(encoding="utf-8")), str(file))
        except ValueError:
            raise ArtifactError(
                f"{file}: not a numeric plan; remove {self.path} to begin the run anew"
            ) from None

    @contextmanager
    def held(self) -> Iterator[Run]:
        """Hold the run's lock; `ConfigError` when another process holds it."""
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(f"another process is working on {self.path}: stop it, or wait") from None
            yield self

    def once(self, label: str, stage: Stage[P, A], *args: P.args, **kwargs: P.kwargs) -> A:
        """The stage's artifact: opened where it was made before, else made now."""
        kind = _result_of(stage)
        origin = _origin_of(stage, args, kwargs)
        name = _digest(canonical({**origin, "seed": self.seed, "label": label}))[:NAME]
        path = self.path / f"{label.replace(' ', '-')}-{name}"
        if (path / MANIFEST).exists():
            artifact = open_artifact(kind, path)
            shutil.rmtree(path / STATE, ignore_errors=True)  # left by a kill just after the manifest
            self.watcher.finished(label, float(read_manifest(path)["seconds"]), artifact.figures, reused=True)
            self.made[label] = artifact
            return artifact
        path.mkdir(exist_ok=True)
        self._say_what_changed(
            label, path, Begun.now(_names_of(stage, args, kwargs), origin["inputs"], seed=self.seed)
        )
        self.watcher.started(label)
        out = Workspace(path, label, self.seed, self.plan, self.watcher, origin, Pace())
        artifact = stage(out, *args, **kwargs)
        self.watcher.finished(label, out.pace.elapsed_seconds, artifact.figures, reused=False)
        self.made[label] = artifact
        return artifact

    def _say_what_changed(self, label: str, path: Path, begun: Begun) -> None:
        """Whoever goes on with other code, or begins anew beside saved steps, is told (rule C1)."""
        before = Begun.read(path / STATE)
        changed = before.changed_versions(begun) if before and steps_saved(path / STATE) else []
        if changed:
            log.warning(
                "%s goes on from its saved steps, with other versions of %s: what comes out is bit for bit neither's; "
                "remove %s to begin it anew",
                label,
                ", ".join(changed),
                path,
            )
        for other in sorted(self.path.glob(f"{label.replace(' ', '-')}-{'[0-9a-f]' * NAME}")):
            left = Begun.read(other / STATE) if other != path and not (other / MANIFEST).exists() else None
            if left and not steps_saved(path / STATE) and steps_saved(other / STATE):
                log.warning(
                    "%s begins anew, not from its saved steps in %s: changed since then: %s; set that back to go on "
                    "with them, or remove the directory",
                    label,
                    other,
                    ", ".join(left.changes(begun)),
                )
        begun.write(path / STATE)


def write_atomically(path: Path, text: str) -> None:
    """Write beside the file, flush to disk, rename into place."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@cache
def current_commit() -> str:
    """The commit of the code at work, with `-dirty` where files differ from it; "" outside a checkout."""
    here = str(Path(__file__).parent)
    command = ["git", "-C", here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _result_of(stage: Callable[..., A]) -> type[A]:
    kind = typing.get_type_hints(stage).get("return")
    if not (isinstance(kind, type) and issubclass(kind, Artifact)):
        raise TypeError(f"stage {stage.__name__} must say which artifact it returns")
    return kind  # type: ignore[return-value]


def _origin_of(stage: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    values = [*args, *(kwargs[key] for key in sorted(kwargs))]
    return {"stage": stage.__name__, "inputs": [_described_input(value) for value in values]}


def _names_of(stage: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """The stage's names of its inputs, in the order in which `_origin_of` tells them."""
    names = list(inspect.signature(stage).parameters)[1 : 1 + len(args)]
    return [*names, *(f"input {n}" for n in range(len(names) + 1, len(args) + 1)), *sorted(kwargs)]


def _described_input(value: Any) -> Any:
    if isinstance(value, Artifact):
        return {"artifact": type(value).__name__, "digest": value.digest}
    if isinstance(value, tuple | list):
        return [_described_input(item) for item in value]
    if isinstance(value, Fingerprinted):
        return {"source": type(value).__name__, "value": plain(value.fingerprint())}
    return {"config": type(value).__name__, "value": plain(value)}


def _files_of(path: Path) -> list[str]:
    """Every file of the artifact; saved steps and temporary files do not belong to it."""
    found = (item for item in path.rglob("*") if item.is_file())
    names = (item.relative_to(path) for item in found)
    return sorted(
        name.as_posix() for name in names if name.parts[0] != STATE and not name.name.startswith(".")
    )


def _check_finite(figures: Mapping[str, float], label: str) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise InvariantError(
                f"{label}: {name} came out as {value}; lower the learning rate of this stage"
            )


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return {"sha256": digest, "bytes": path.stat().st_size}


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}, though the manifest lists it") from None
    if size != entry["bytes"] or digest != entry["sha256"]:
        raise ArtifactError(f"{path} is not what its manifest says: remove {path.parent} to make it again")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
