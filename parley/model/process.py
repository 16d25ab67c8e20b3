"""What a process must set before torch starts its threads. Loads no torch before it has done so.

`prepare_process()` stands first in every entry point.
"""

from __future__ import annotations

import os
import sys
from typing import Final

# How often an idle OpenMP thread looks for work before it sleeps (libgomp's own default: 300,000).
# Training steps of 47 ms on two idle cores and 73 ms on one took 48 ms so; with one of the cores
# busy 335 to 985 ms by default and 175 ms so. Sleeping at once (OMP_WAIT_POLICY=passive): 88 ms always.
SPIN_COUNT: Final = "10000"


def prepare_process() -> None:
    """Make denormal numbers zero in this thread and in every thread it starts later, and let idle
    OpenMP threads spin but briefly.

    Adam's moments of unused embedding rows decay into denormals, on which a CPU is many times
    slower. The switch is a register of the calling thread that new threads inherit, so it has to be
    set before torch's thread pool exists. The spinning is set only where torch is not loaded yet and
    the environment says nothing of it.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    import torch

    torch.set_flush_denormal(True)
