"""What a worker of `benchmarks/train.py` says to its driver: one JSON line a round, then it waits.

Imported by both sides, so it knows neither torch nor parley.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

MARK = "@@"


class Gate:
    """The first step is the warm-up. Then every round is `steps` steps, timed from the driver's word on."""

    def __init__(self, steps: int, about: dict[str, Any]) -> None:
        self.steps, self.about = steps, about
        self.count, self.units = -1, 0.0
        self.figures: list[dict[str, Any]] = []

    def passed(self, units: float, figures: dict[str, Any]) -> None:
        """A step is done."""
        self.count, self.units = self.count + 1, self.units + units
        self.figures.append(figures)
        if self.count == 0 or self.count == self.steps:
            self._tell()
            self._wait()

    def _tell(self) -> None:
        said = {"figures": self.figures, "peak_gigabytes": _peak(), **self.about}
        if self.count:
            said |= {
                "units": self.units,
                "cpu_seconds": time.process_time() - self.cpu_began,
                "seconds": time.perf_counter() - self.began,
            }
        sys.stdout.write(f"\n{MARK}{json.dumps(said)}\n")
        sys.stdout.flush()

    def _wait(self) -> None:
        if sys.stdin.readline().strip() != "go":
            sys.stdout.flush()
            raise SystemExit(0)
        self.count, self.units, self.figures = 0, 0.0, []
        self.cpu_began, self.began = time.process_time(), time.perf_counter()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
