"""The numeric plan of a run: chosen once by a self-test, recorded, reused on resume (rule C1).

Pure values; `model.selftest` measures and chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bfloat16"]
AttentionPath = Literal["explicit", "fused"]


@dataclass(frozen=True, slots=True)
class NumericPlan:
    """Which path every matrix product of a run takes.

    `linear` is the dtype in which linear layers multiply (master weights, norms, attention and
    losses stay fp32). `attention` is explicit products with a mask, or torch's fused kernel. Our
    decoders are sampled from in bfloat16 from `bfloat16_width` on, in fp32 below; 0: always fp32.
    """

    device: str = "cpu"
    threads: int = 1
    linear: Precision = "float32"
    attention: AttentionPath = "explicit"
    bfloat16_width: int = 0

    def sampling(self, width: int) -> Precision:
        """In what linear layers multiply when a decoder of this width is sampled from."""
        return "bfloat16" if 0 < self.bfloat16_width <= width else "float32"
