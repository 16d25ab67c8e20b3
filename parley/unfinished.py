"""What an unfinished stage began with, so that whoever goes on with it is told what changed since (rule C1).

A stage whose inputs changed has another directory and begins anew; one whose code changed goes on. Neither
happens in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

BEGUN: Final = "begun.json"
CODE: Final = "the code"
LIBRARIES: Final = ("torch", "numpy", "tokenizers")


@dataclass(frozen=True, slots=True)
class Begun:
    """`inputs` by the names of the stage's arguments; `code` and libraries as they were."""

    inputs: Mapping[str, Any]
    versions: Mapping[str, str]

    @classmethod
    def now(cls, names: Sequence[str], inputs: Sequence[Any], *, seed: int) -> Begun:
        """A stage that begins at this moment."""
        return cls({"seed": seed, **dict(zip(names, inputs, strict=True))}, _versions())

    @classmethod
    def read(cls, state: Path) -> Begun | None:
        """What lies beside the saved steps; None where nothing does, or nothing that can be read."""
        try:
            found = json.loads((state / BEGUN).read_text(encoding="utf-8"))
            return cls(found["inputs"], found["versions"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, state: Path) -> None:
        """Keep it beside the saved steps."""
        state.mkdir(exist_ok=True)
        text = json.dumps({"inputs": self.inputs, "versions": self.versions}, ensure_ascii=False)
        (state / BEGUN).write_text(text, encoding="utf-8")

    def changes(self, later: Begun) -> list[str]:
        """What is not as it was, as people name it."""
        names = dict.fromkeys((*self.inputs, *later.inputs))
        told = [
            change
            for name in names
            for change in _changes(name, self.inputs.get(name), later.inputs.get(name))
        ]
        return told + self.changed_versions(later)

    def changed_versions(self, later: Begun) -> list[str]:
        """Code and libraries that are not the same."""
        names = dict.fromkeys((*self.versions, *later.versions))
        pairs = ((name, self.versions.get(name, "none"), later.versions.get(name, "none")) for name in names)
        return [
            name if name == CODE else f"{name} ({before} then, {after} now)"
            for name, before, after in pairs
            if before != after
        ]


def steps_saved(state: Path) -> bool:
    """Whether there is anything to go on from."""
    return state.is_dir() and any(path.is_dir() for path in state.glob("[0-9]*"))


def _changes(name: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        if "digest" in before or "digest" in after:
            yield f"{name} (other content)"
            return
        first, second = (
            part["value"] if isinstance(part.get("value"), dict) else part for part in (before, after)
        )
        for key in dict.fromkeys((*first, *second)):
            yield from _changes(f"{name}.{key}", first.get(key), second.get(key))
        return
    if isinstance(before, list | dict) or isinstance(after, list | dict):
        yield f"{name} (other content)"
        return
    yield f"{name} ({before} then, {after} now)"


@cache
def _versions() -> Mapping[str, str]:
    return {CODE: _code_digest(), **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _code_digest() -> str:
    """A name for the package's own sources."""
    root = Path(__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
