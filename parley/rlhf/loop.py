"""The training loop's plumbing: optimizers, schedules, saved steps, resume.

There is no trainer class: a stage is a `for step in state.steps(total)` loop that anybody can
read. `SavedSteps` makes that loop survive a kill: everything that later steps depend on is
written in one directory that is renamed into place, so a resumed run is bit for bit the
undisturbed one (rule C1).
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from parley.artifacts import STATE, Workspace
from parley.errors import ArtifactError, ConfigError, InvariantError
from parley.model.weights import read_weights, save_weights

Schedule = Literal["cosine", "linear", "constant"]
AdamForm = Literal["torch", "tensorflow"]

SAVE_SECONDS: Final = 1.0  # a step is saved at least this often ...
SAVE_SHARE: Final = 0.05  # ... but saving takes at most this share of the time
REPORT_SECONDS: Final = 0.2  # how often whoever watches is told


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    form: AdamForm = "torch",
) -> AdamW:
    """AdamW whose rate is set at every step by `set_rate`; decay falls on matrices alone.

    `ConfigError` for weights that are not fp32: in bfloat16 a step of less than 1/256 of a weight is
    lost in rounding (rule P27).
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    _check_masters(trained)
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    kind = AdamW if form == "torch" else TensorflowAdam
    return kind([group for group in groups if group["params"]], lr=0.0, betas=betas, eps=eps, fused=True)


def _check_masters(weights: Iterable[nn.Parameter]) -> None:
    kinds = {weight.dtype for weight in weights} - {torch.float32}
    if kinds:
        raise ConfigError(
            f"weights to be trained are {kinds.pop()}, whose rounding swallows the steps of the rate: keep them "
            "in float32 and let the numeric plan multiply in bfloat16"
        )


class TensorflowAdam(AdamW):
    """Adam as TensorFlow has it, which OpenAI's first RLHF was trained with (rule P18):
    `p -= rate √(1-β2ᵗ)/(1-β1ᵗ) · m/(√v + ε)`.

    That is torch's form with ε/√(1-β2ᵗ) in the place of ε, so early steps are smaller.
    """

    def step(self, closure: Any = None) -> Any:
        """One step; the groups' `eps` is ε again afterwards."""
        before = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            taken = self.state.get(group["params"][0], {}).get("step", torch.zeros(()))
            group["eps"] /= math.sqrt(1 - group["betas"][1] ** (float(taken) + 1))
        try:
            return super().step(closure)
        finally:
            for group, eps in zip(self.param_groups, before, strict=True):
                group["eps"] = eps


def scheduled(
    kind: Schedule, step: int, total: int, *, warmup: int = 0, floor: float = 0.0, start: float = 0.0
) -> float:
    """The share of the peak rate at `step` (0-based): linear warm-up over `warmup` steps, then a
    fall to `floor`, or none.

    The warm-up begins at `start` (InstructGPT: 0.1), or one step above 0 (rule P19).
    """
    if step < warmup:
        return start + (1 - start) * step / warmup if start else (step + 1) / (warmup + 1)
    if kind == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    fall = 0.5 * (1 + math.cos(math.pi * done)) if kind == "cosine" else 1 - done
    return floor + (1 - floor) * fall


def set_rate(optimizer: AdamW, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Descent(NamedTuple):
    """What one step went down: the sum of its losses, and their gradient's norm before clipping."""

    loss: float
    norm: float


def descend(optimizer: AdamW, *losses: Callable[[], Tensor] | Tensor, clip_norm: float) -> Descent:
    """One step down the gradient of the sum of `losses`.

    Gradients gather in one buffer, loss by loss; one given as a function is computed when its turn
    comes, so that two of them never hold their graphs at the same time. No loss at all, or one that is
    not finite, stops the stage before it can spoil the weights (`InvariantError`).
    """
    if not losses:
        raise InvariantError("a step has an empty batch: lower the number of minibatches, or give more data")
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for item in losses:
        loss = item if isinstance(item, Tensor) else item()
        if not torch.isfinite(loss):
            raise InvariantError(
                f"the loss became {loss.item()}: lower the learning rate of this stage, or look for "
                "scores or weights that are not finite"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
    if not torch.isfinite(norm):
        raise InvariantError("the gradient is not finite: lower the learning rate of this stage")
    optimizer.step()
    return Descent(total, norm.item())


@dataclass(slots=True)
class SavedSteps:
    """The saved steps of one stage at work.

    `modules` and `optimizers` are restored in place when the stage had been interrupted;
    `values` holds whatever numbers later steps depend on (a KL coefficient, say).
    """

    out: Workspace
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, AdamW]
    values: dict[str, float] = field(default_factory=dict)
    step: int = 0
    _saved_at: float = field(default_factory=time.monotonic)
    _save_seconds: float = 0.0
    _told_at: float = 0.0

    def __post_init__(self) -> None:
        self._restore()
        self.out.rewind(self.step)
        self.out.pace.offset = self.step

    def steps(self, total: int) -> Iterator[int]:
        """The steps that are still to be done, counted from 0; saves between them."""
        while self.step < total:
            yield self.step
            self.step += 1
            if self._due():
                self._save()

    def report(self, total: int, figures: Mapping[str, float], *, log: bool = True) -> None:
        """The figures of the current step: into `metrics.jsonl`, and to whoever watches."""
        if log:
            self.out.measure(self.step + 1, figures)
        now = time.monotonic()
        if now - self._told_at >= REPORT_SECONDS or self.step + 1 >= total:
            self._told_at = now
            self.out.progress(self.step + 1, total, figures)

    def _due(self) -> bool:
        since = time.monotonic() - self._saved_at
        return since >= max(SAVE_SECONDS, self._save_seconds / SAVE_SHARE)

    def _save(self) -> None:
        began = time.monotonic()
        root = self.out.path / STATE
        fresh = root / ".fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, module in self.modules.items():
            save_weights(fresh / f"{name}.safetensors", _contiguous(module.state_dict()))
        for name, optimizer in self.optimizers.items():
            save_weights(fresh / f"{name}.adam.safetensors", _moments(optimizer))
        (fresh / "values.json").write_text(json.dumps({"step": self.step, "values": self.values}))
        older = _saved(root)
        fresh.rename(root / f"{self.step:09d}")
        for path in older:
            shutil.rmtree(path)
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    def _restore(self) -> None:
        saved = _saved(self.out.path / STATE)
        if not saved:
            return
        path = saved[-1]
        try:
            values = json.loads((path / "values.json").read_text())
            for name, module in self.modules.items():
                module.load_state_dict(read_weights(path / f"{name}.safetensors"))
            for name, optimizer in self.optimizers.items():
                _set_moments(optimizer, read_weights(path / f"{name}.adam.safetensors"))
        except (ArtifactError, OSError, ValueError, RuntimeError, KeyError) as error:
            raise ArtifactError(f"{path}: the saved step cannot be read ({error}); remove it") from None
        self.step, self.values = int(values["step"]), dict(values["values"])


def _saved(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("[0-9]*") if path.is_dir()) if root.is_dir() else []


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict that safetensors takes: own storage for every tensor (tied weights)."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def _moments(optimizer: AdamW) -> dict[str, Tensor]:
    return {
        f"{n}.{key}": value.contiguous()
        for n, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def _set_moments(optimizer: AdamW, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
