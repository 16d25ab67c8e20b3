"""What a policy's behaviour rests on: cues crossed with truth, and one question in many wordings.

Wording decides where the truth should: the announcement's "sensitive to tweaks to the input
phrasing", and this world's own limit, that small models read the cue ("I asked her") instead of
comparing the claim with what they know. `evaluate` adds these tables to its report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, Final

from parley.evals.statistics import wilson
from parley.microworld.gold import judge
from parley.microworld.probes import CUE_SHARES, answer_of, cell_of, cue_swapped, same_question_scripts
from parley.microworld.users import Script, scripts
from parley.microworld.world import Split, World

SEED: Final = 2  # of the probes' scripts, the same for every policy
DOUBTS: Final = ("admit", "firm")

Reply = Callable[[Sequence[Script]], list[str]]


def cue_table(world: World, reply: Reply, *, num: int, split: Split) -> dict[str, Any]:
    """Success by `behaviours/what the cue says/what is true`, as `{n, success with interval}`.

    Half of the cells hold the world's own cues, half misleading ones about the same facts.
    """
    asked = [
        *scripts(world, num, SEED, split=split, shares=CUE_SHARES),
        *cue_swapped(world, num, SEED, split),
    ]
    cells: dict[str, list[bool]] = defaultdict(list)
    for script, text in zip(asked, reply(asked), strict=True):
        seems, truth = cell_of(script)
        group = "doubts" if script.kind in DOUBTS else "premises"
        success = judge(world, script.turns[-1].situation, text).success
        cells[f"{group}/{seems}/{truth}"].append(success)
    return {
        name: {"n": len(flags), "success": asdict(wilson(sum(flags), len(flags)))}
        for name, flags in sorted(cells.items())
    }


def wording_table(world: World, reply: Reply, *, num: int, split: Split) -> dict[str, Any]:
    """Over questions that are asked in every wording: the same answer to all, all right, and know-flips
    ("I do not know" to one wording, the truth to another)."""
    groups = same_question_scripts(world, num, SEED, split)
    texts = iter(reply(list(chain.from_iterable(groups))))
    same = all_right = flips = 0
    for group in groups:
        replies = [next(texts) for _ in group]
        situation = group[0].turns[-1].situation
        answers = {answer_of(world, situation, text) for text in replies}
        right = [judge(world, situation, text).success for text in replies]
        same += len(answers) == 1 and answers != {""}
        all_right += all(right)
        flips += situation.kind == "known" and "unknown" in answers and any(right)
    counts = {"same": same, "all_right": all_right, "know_flip": flips}
    return {"n": len(groups), **{name: asdict(wilson(hits, len(groups))) for name, hits in counts.items()}}
