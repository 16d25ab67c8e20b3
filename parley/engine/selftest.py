"""From which width on bfloat16 pays for sampling: measured, speed and error, in a second at most.

`model.selftest` chooses the rest of the plan, for learning. Sampling reads far fewer rows at a time,
where conversions cost small models more than they save: those are sampled from in fp32, and exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from parley.engine.packed import PackedRunner
from parley.engine.runner import Step
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.selftest import shortest_seconds

WIDTHS: Final = (128, 192, 256, 512)
REPLIES: Final = 64
COLUMN: Final = 48  # the token that is read is the 49th of every reply
GAIN: Final = 1.1
WORST_GAP: Final = 0.02  # nats, between a token's log-probability in both ways


def choose_bfloat16_width(device: str = "cpu") -> int:
    """The smallest of a few widths such that one token for each of 64 replies is written 1.1 times as fast
    in bfloat16, here and at every larger one, with log-probabilities within 0.02; 0 where there is none."""
    found = 0
    for width in reversed(WIDTHS):
        if not _pays(width, device):
            break
        found = width
    return found


@torch.inference_mode()
def _pays(width: int, device: str) -> bool:
    decoder = Decoder(
        DecoderConfig(
            vocab_size=256,
            width=width,
            layers=1,
            heads=width // 64,
            kv_heads=width // 64,
            mlp_width=width * 8 // 3,
            max_positions=64,
        )
    )
    decoder.initialise(torch.Generator().manual_seed(0)).to(device)
    slow, fast = (_step(decoder, dtype) for dtype in (torch.float32, torch.bfloat16))
    gap = (torch.log_softmax(slow(), -1) - torch.log_softmax(fast(), -1)).abs().max()
    if not gap <= WORST_GAP:
        return False
    return shortest_seconds(slow, device) >= GAIN * shortest_seconds(fast, device)


def _step(decoder: Decoder, dtype: torch.dtype) -> Callable[[], Tensor]:
    """One more token of every reply."""
    runner = PackedRunner(decoder, exact=False, dtype=dtype)
    writing, reading = (runner.slots(rows=rows, columns=64) for rows in (REPLIES, 1))
    tokens = list(range(REPLIES))
    step = Step(writing=writing, tokens=tokens, columns=[COLUMN] * REPLIES, reading=reading, chunks=())
    return lambda: runner.run(step)
