"""PPO's rollouts by the engine of this checkout beside those of another one.

Both sample with the same call that PPO makes, in processes of their own that take turns, so that what
else the machine does falls on both. The models have random weights but for a chance to end that makes
replies of uneven length; a reply a prompt, as in PPO. `--linear` is the dtype in which a run learns.
The table gives median seconds of a rollout (of processor time where one thread computes: waiting for
other jobs is not counted), the median ratio of a turn, and how many tokens each wrote (they draw by
noise of their own, so lengths agree on average).

    python benchmarks/rollout.py --other CHECKOUT [--sizes micro 30M] [--linear float32 bfloat16]
                                 [--batch N] [--rounds N] [--threads N] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

END: Final = 1
NEW: Final = 32
LONGEST_PROMPT: Final = 96
MEAN_REPLY: Final = 14  # tokens, as the micro-world's policies write them
HERE: Final = Path(__file__).resolve()
SIZES: Final[Mapping[str, Mapping[str, int]]] = {
    "micro": {"vocab_size": 768, "width": 96, "layers": 4, "heads": 3, "kv_heads": 3, "mlp_width": 256},
    "large": {"vocab_size": 1536, "width": 192, "layers": 5, "heads": 6, "kv_heads": 6, "mlp_width": 512},
    "30M": {"vocab_size": 8192, "width": 512, "layers": 8, "heads": 8, "kv_heads": 8, "mlp_width": 1408},
}


@dataclass(frozen=True, slots=True)
class Row:
    """Both sides at one size and dtype; `ratio` above 1: this checkout is faster."""

    size: str
    linear: str
    seconds: float
    other_seconds: float
    ratio: float
    tokens: float
    other_tokens: float


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        _work(json.loads(arguments.worker))
        return
    rows = [_measure(size, linear, arguments) for size in arguments.sizes for linear in arguments.linear]
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(f"{'size':<7}{'linear':<10}{'here, ms':>10}{'other, ms':>11}{'ratio':>8}{'tokens':>9}{'other':>8}")
    for row in rows:
        print(
            f"{row.size:<7}{row.linear:<10}{row.seconds * 1e3:>10.1f}{row.other_seconds * 1e3:>11.1f}"
            f"{row.ratio:>7.2f}x{row.tokens:>9.0f}{row.other_tokens:>8.0f}"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, default=HERE.parents[1], help="the other checkout's root")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["micro"])
    parser.add_argument("--linear", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(size: str, linear: str, arguments: argparse.Namespace) -> Row:
    asked = {"size": size, "linear": linear, "batch": arguments.batch, "threads": arguments.threads}
    with ExitStack() as stack:
        sides = [
            stack.enter_context(_started(root, asked))
            for root in (HERE.parents[1], arguments.other.resolve())
        ]
        found = [[_ask(side, number) for side in sides] for number in range(arguments.rounds + 1)][1:]
    (ours, tokens), (theirs, other_tokens) = (
        [statistics.median(turn[side][part] for turn in found) for part in (0, 1)] for side in (0, 1)
    )
    ratio = statistics.median(turn[1][0] / turn[0][0] for turn in found)
    return Row(size, linear, ours, theirs, ratio, tokens, other_tokens)


def _started(root: Path, asked: Mapping[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE), "--worker", json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
        cwd=root,
        text=True,
    )


def _ask(side: subprocess.Popen[str], number: int) -> tuple[float, int]:
    """Seconds and tokens of one rollout of that side; round 0 is the warm-up."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write(f"{number}\n")
    side.stdin.flush()
    seconds, tokens = json.loads(side.stdout.readline())
    return seconds, tokens


def _work(asked: Mapping[str, Any]) -> None:
    """In a process of its own: a rollout for every line of the input."""
    import torch

    from parley.engine.sampler import sample
    from parley.model.process import prepare_process

    prepare_process()
    torch.set_num_threads(asked["threads"])
    torch.set_flush_denormal(True)
    decoder = _model(asked["size"], asked["linear"])
    clock = time.process_time if asked["threads"] == 1 else time.perf_counter
    for line in sys.stdin:
        prompts = _prompts(asked["batch"], SIZES[asked["size"]]["vocab_size"], seed=int(line))
        generator = torch.Generator().manual_seed(int(line))
        began = clock()
        found = sample(
            decoder,
            prompts,
            max_new_tokens=NEW,
            temperature=1.0,
            end_id=END,
            generator=generator,
            batch_size=len(prompts),
        )
        seconds = clock() - began
        print(json.dumps([seconds, sum(len(done.tokens) for done in found)]), flush=True)


def _model(size: str, linear: Any) -> Any:
    """Random weights; the first coordinate of every state is the same and decides about the end."""
    import torch

    from parley.model.decoder import Decoder, DecoderConfig, causal_bias
    from parley.numerics import NumericPlan

    config = DecoderConfig(**SIZES[size], max_positions=256, tied=False)
    decoder = Decoder(config).initialise(torch.Generator().manual_seed(0))
    head = decoder.untied_head
    assert head is not None
    with torch.no_grad():
        decoder.embedding[:, 0] = 1.0
        row = torch.arange(config.vocab_size)[None, :64]
        first = decoder(row, torch.arange(64)[None], causal_bias(torch.ones_like(row)))[..., 0].mean()
        head[:, 0] = 0.0
        head[END, 0] = math.log((config.vocab_size - 1) / (MEAN_REPLY - 1)) / first
    return decoder.use(NumericPlan(linear=linear, **_measured()))


def _measured() -> dict[str, int]:
    """What a run would find out about sampling on this machine; older checkouts do not ask."""
    try:
        from parley.engine.selftest import choose_bfloat16_width
    except ImportError:
        return {}
    return {"bfloat16_width": choose_bfloat16_width()}


def _prompts(count: int, vocabulary: int, *, seed: int) -> Sequence[list[int]]:
    rng = random.Random(seed)
    lengths = [round(math.exp(rng.uniform(math.log(12), math.log(LONGEST_PROMPT)))) for _ in range(count)]
    return [[rng.randrange(2, vocabulary) for _ in range(length)] for length in lengths]


if __name__ == "__main__":
    main()
