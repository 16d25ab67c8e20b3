"""Where a pretrained model lies: a directory, or a name on the Hugging Face hub.

From the hub come config, tokenizer and safetensors alone; weights as pickles, which can run code when
opened, are neither fetched nor read, and no code of a repository ever runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.errors import ConfigError

WANTED: Final = ("*.json", "*.safetensors", "merges.txt")
PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Somebody's model on this machine: what the recipe calls it, and the digest of every file that is
    read, because the same name may hold another model tomorrow."""

    name: str
    path: Path
    digests: Mapping[str, str]

    def fingerprint(self) -> Mapping[str, str]:
        """Equal for equal files, wherever they lie."""
        return self.digests


def find_pretrained(name: str) -> Pretrained:
    """The directory `name`, or the hub's model of that name (`owner/model`, `owner/model@revision`),
    downloaded where it is not in the hub's cache. `ConfigError` says what is missing."""
    path = Path(name).expanduser()
    if not path.is_dir():
        path = _download(name)
    if not (path / "config.json").exists():
        raise ConfigError(f"base.from: {name} has no config.json: not a Hugging Face model")
    if not any(path.glob("*.safetensors")):
        raise ConfigError(f"base.from: {name} {_without_safetensors(path)}")
    files = sorted({found for pattern in WANTED for found in path.glob(pattern)})
    return Pretrained(name, path, {file.name: _digest(file) for file in files})


def _without_safetensors(path: Path) -> str:
    pickles = sorted(found.name for pattern in PICKLES for found in path.glob(pattern))
    if not pickles:
        return "has no weights (*.safetensors)"
    return (
        f"holds its weights as pickles ({pickles[0]}), which can run code when opened and are never read "
        "here; take a revision with safetensors, or save it anew with save_pretrained"
    )


def _download(name: str) -> Path:
    """The hub's own client: its cache, its environment (`HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN`)."""
    from huggingface_hub import snapshot_download  # slow to import, and seldom needed

    repository, _, revision = name.partition("@")
    if name.startswith((".", "/", "~")) or repository.count("/") > 1:
        raise ConfigError(f"base.from: there is no directory {name}")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(WANTED)))
    except Exception as error:  # what the client and the network below it raise has no common root
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"base.from: {name} is no directory here, and the hub did not give it ({reason}); "
            "name a directory, or download the model beforehand where there is a network"
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
