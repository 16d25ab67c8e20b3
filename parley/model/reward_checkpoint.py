"""Reward models on disk: self-contained, the frozen readers of surprise inside.

reward.json           shape of the trunk, context, digests of the readers, how many models an ensemble has
model.safetensors     trunk, head, shift; adapters are merged into the trunk
adapters.safetensors  the same on a shared trunk: adapters, head, shift (where it was trained with adapters)
tokenizer.json …      as in any checkpoint
readers/0, readers/1  whole checkpoints in Hugging Face layout
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

import torch
from torch import Tensor

from parley.config import build
from parley.errors import ArtifactError
from parley.model.adapters import AdaptedModel, AdapterConfig, SharedTrunk
from parley.model.checkpoint import chat_format_of, empty_model, load_checkpoint, save_checkpoint
from parley.model.heads import Pooling, RewardEnsemble, RewardModel
from parley.model.language_model import LanguageModel
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.model.weights import WEIGHTS_FILE, read_json, read_weights, save_weights, weights_digest
from parley.numerics import NumericPlan

REWARD_FILE: Final = "reward.json"
ADAPTERS_FILE: Final = "adapters.safetensors"


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
    save_weights(directory / WEIGHTS_FILE, _merged(loaded))
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
    if isinstance(first.trunk, AdaptedModel):
        about["adapters"] = _about_adapters(first.trunk, loaded.model.readers)
        save_weights(directory / ADAPTERS_FILE, loaded.model.state_dict())
    (directory / REWARD_FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")


def load_reward(directory: Path, plan: NumericPlan, *, trunk: SharedTrunk | None = None) -> LoadedReward:
    """The reward model on the plan's device; `ArtifactError` names what is missing or was changed.

    Where it was trained with adapters on the very weights of `trunk`, it wears them there, so that the
    trunk is in memory once; otherwise it is a model of its own.
    """
    about = read_json(directory / REWARD_FILE)
    adapters = _adapters(about, trunk, directory)
    own = trunk if adapters else None
    readers = _readers(about, own, directory, plan)
    members = [
        RewardModel(_trunk(about, own, adapters, directory), readers, pooling=_pooling(about, directory))
        for _ in range(_count(about, directory))
    ]
    model = members[0] if len(members) == 1 else RewardEnsemble(members)
    file = directory / (ADAPTERS_FILE if own else WEIGHTS_FILE)
    try:
        model.load_state_dict(read_weights(file))
    except RuntimeError as error:
        raise ArtifactError(f"{file}: not the weights of this reward model ({error})") from None
    for member in members:
        member.trunk.use(plan)
    chat = chat_format_of(_mapping(about, "chat_format", directory), directory / REWARD_FILE)
    context = about.get("context", members[0].trunk.config.max_positions)
    if not isinstance(context, int):
        raise ArtifactError(f"{directory / REWARD_FILE}: 'context' must be a whole number, not {context!r}")
    return LoadedReward(model.to(plan.device), Tokenizer.load(directory), chat, context)


def _merged(loaded: LoadedReward) -> dict[str, Tensor]:
    """The whole state, each member's adapters part of its own trunk's matrices."""
    state = dict(loaded.model.state_dict())
    for n, member in enumerate(loaded.members):
        if not isinstance(member.trunk, AdaptedModel):
            continue
        place = f"members.{n}.trunk." if len(loaded.members) > 1 else "trunk."
        state = {name: value for name, value in state.items() if not name.startswith(place)}
        state |= {f"{place}{name}": value for name, value in member.trunk.merged().state_dict().items()}
    return state


def _about_adapters(adapted: AdaptedModel, readers: tuple[LanguageModel, ...]) -> dict[str, object]:
    """Their config, the weights they belong on, and which readers are that trunk without them."""
    trunk, config = adapted.trunk.model, adapted.adapter_config
    on_trunk = [n for n, reader in enumerate(readers) if reader is trunk]
    return {"config": asdict(config), "trunk": weights_digest(trunk), "readers": on_trunk}


def _adapters(
    about: Mapping[str, object], trunk: SharedTrunk | None, directory: Path
) -> Mapping[str, Any] | None:
    """What `reward.json` says of adapters; None where there are none, or not on this trunk."""
    if trunk is None or "adapters" not in about:
        return None
    found = _mapping(about, "adapters", directory)
    return found if found.get("trunk") == weights_digest(trunk.model) else None


def _trunk(
    about: Mapping[str, object],
    trunk: SharedTrunk | None,
    adapters: Mapping[str, Any] | None,
    directory: Path,
) -> LanguageModel:
    if trunk is None or adapters is None:
        return empty_model(_mapping(about, "decoder", directory))
    config = build(AdapterConfig, adapters.get("config", {}), str(directory / REWARD_FILE))
    return AdaptedModel(trunk, config, torch.Generator())


def _readers(
    about: Mapping[str, object], trunk: SharedTrunk | None, directory: Path, plan: NumericPlan
) -> list[LanguageModel]:
    """The frozen readers; one that is the shared trunk itself is not loaded again."""
    on_trunk = _mapping(about, "adapters", directory).get("readers", []) if trunk else []
    return [
        trunk.model if trunk and n in on_trunk else _reader(directory / "readers" / str(n), str(digest), plan)
        for n, digest in enumerate(_list(about, "readers", directory))
    ]


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
