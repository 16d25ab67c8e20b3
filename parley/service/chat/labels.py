"""What people call a release."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from parley.ports import ReleaseInfo

ACRONYMS: Final = frozenset({"sft", "ppo", "dpo", "rm"})


def labels(releases: Sequence[ReleaseInfo]) -> tuple[str, ...]:
    """By stage, as in `base`, `SFT`, `PPO 1`; by its whole name where that would not tell it from another."""
    short = [stage_label(release.stage) for release in releases]
    times = Counter(short)
    return tuple(
        label if times[label] == 1 else release.name for label, release in zip(short, releases, strict=True)
    )


def stage_label(stage: str) -> str:
    """`ppo-1` → `PPO 1`."""
    words = re.findall(r"[A-Za-z]+|[0-9]+", stage)
    return " ".join(word.upper() if word.lower() in ACRONYMS else word for word in words) or stage
