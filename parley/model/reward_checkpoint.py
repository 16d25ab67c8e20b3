"""Reward models on disk: self-contained, the frozen readers of surprise inside.

reward.json           shape of the trunk, context, digests of the readers, how many models an ensemble has
model.safetensors     trunk, head, shift
tokenizer.json …      as in any checkpoint
readers/0, readers/1  whole checkpoints in Hugging Face layout
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from parley.errors import ArtifactError
from parley.model.checkpoint import chat_format_of, empty_model, load_checkpoint, save_checkpoint
from parley.model.heads import Pooling, RewardEnsemble, RewardModel
from parley.model.language_model import LanguageModel
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.model.weights import WEIGHTS_FILE, read_json, read_weights, save_weights
from parley.numerics import NumericPlan

REWARD_FILE: Final = "reward.json"


@dataclass(frozen=True, slots=True)
class LoadedReward:
    """A reward model, or several, ready to score. `context` is how many tokens of history and reply it
    reads."""

    model: RewardModel | RewardEnsemble
    tokenizer: Tokenizer
    chat_format: ChatFormat
    context: int

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """The one model, or those of the ensemble."""
        return self.model.each if isinstance(self.model, RewardEnsemble) else (self.model,)


def save_reward(directory: Path, loaded: LoadedReward) -> None:
    """Write the whole directory; the caller seals it."""
    directory.mkdir(parents=True, exist_ok=True)
    for n, reader in enumerate(loaded.model.readers):
        save_checkpoint(directory / "readers" / str(n), reader, loaded.tokenizer, loaded.chat_format)
    save_weights(directory / WEIGHTS_FILE, loaded.model.state_dict())
    loaded.tokenizer.save(directory)
    readers = [_digest(directory / "readers" / str(n)) for n in range(len(loaded.model.readers))]
    first, count = loaded.members[0], len(loaded.members)
    about = {
        "kind": "parley reward model",
        "decoder": first.trunk.config.to_hf(),
        "chat_format": {
            "name": loaded.chat_format.name,
            "identity": loaded.chat_format.identity,
            "system_prompt": loaded.chat_format.system_prompt,
        },
        "context": loaded.context,
        "pooling": first.pooling,
        "readers": readers,
    }
    about |= {"ensemble": count} if count > 1 else {}
    (directory / REWARD_FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")


def load_reward(directory: Path, plan: NumericPlan) -> LoadedReward:
    """The reward model on the plan's device; `ArtifactError` names what is missing or was changed."""
    about = read_json(directory / REWARD_FILE)
    shape, pooling = _mapping(about, "decoder", directory), _pooling(about, directory)
    readers = [
        _reader(directory / "readers" / str(n), str(digest), plan)
        for n, digest in enumerate(_list(about, "readers", directory))
    ]
    members = [
        RewardModel(empty_model(shape), readers, pooling=pooling) for _ in range(_count(about, directory))
    ]
    model = members[0] if len(members) == 1 else RewardEnsemble(members)
    try:
        model.load_state_dict(read_weights(directory / WEIGHTS_FILE))
    except RuntimeError as error:
        raise ArtifactError(
            f"{directory / WEIGHTS_FILE}: not the weights of this reward model ({error})"
        ) from None
    for member in members:
        member.trunk.use(plan)
    chat = chat_format_of(_mapping(about, "chat_format", directory), directory / REWARD_FILE)
    context = about.get("context", members[0].trunk.config.max_positions)
    if not isinstance(context, int):
        raise ArtifactError(f"{directory / REWARD_FILE}: 'context' must be a whole number, not {context!r}")
    return LoadedReward(model.to(plan.device), Tokenizer.load(directory), chat, context)


def _count(about: Mapping[str, object], directory: Path) -> int:
    found = about.get("ensemble", 1)
    if not isinstance(found, int) or found < 1:
        raise ArtifactError(f"{directory / REWARD_FILE}: 'ensemble' must be a whole number, not {found!r}")
    return found


def _pooling(about: Mapping[str, object], directory: Path) -> Pooling:
    found = about.get("pooling", "last")
    if found not in get_args(Pooling):
        raise ArtifactError(f"{directory / REWARD_FILE}: 'pooling' {found!r} is not of this version")
    return cast("Pooling", found)


def _reader(path: Path, digest: str, plan: NumericPlan) -> LanguageModel:
    if _digest(path) != digest:
        raise ArtifactError(f"{path}: not the model that this reward model was trained with")
    return load_checkpoint(path, plan).decoder


def _digest(directory: Path) -> str:
    path = directory / WEIGHTS_FILE
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None


def _mapping(found: Mapping[str, object], key: str, directory: Path) -> dict[str, Any]:
    value = found.get(key)
    if not isinstance(value, dict):
        raise ArtifactError(f"{directory / REWARD_FILE}: '{key}' is missing: not a reward checkpoint")
    return value


def _list(found: Mapping[str, object], key: str, directory: Path) -> list[object]:
    value = found.get(key)
    if not isinstance(value, list):
        raise ArtifactError(f"{directory / REWARD_FILE}: '{key}' is missing: not a reward checkpoint")
    return value
