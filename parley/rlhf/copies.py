"""Copies of a module's weights that are saved with its steps: the best so far, a moving average."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightCopy(nn.Module):
    """A second set of a module's weights, which no optimizer touches.

    A module itself so that `rlhf.loop.SavedSteps` writes and restores it like any other.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name, tensor in module.state_dict().items():
            self.register_buffer(_key(name), tensor.detach().clone())

    @torch.no_grad()
    def take(self, module: nn.Module) -> None:
        """Become equal to the module."""
        for name, tensor in module.state_dict().items():
            self._copy(name).copy_(tensor)

    @torch.no_grad()
    def average(self, module: nn.Module, *, decay: float) -> None:
        """Move towards the module: `decay` of the copy, the rest of the module (rule P21)."""
        for name, tensor in module.state_dict().items():
            self._copy(name).mul_(decay).add_(tensor, alpha=1 - decay)

    def give(self, module: nn.Module) -> None:
        """Make the module equal to the copy."""
        module.load_state_dict({name: self._copy(name) for name in module.state_dict()})

    def _copy(self, name: str) -> Tensor:
        return self.get_buffer(_key(name))


def _key(name: str) -> str:
    """Buffers' names hold no dots."""
    return name.replace(".", "/")
