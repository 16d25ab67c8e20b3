"""Greedy generation by the built-in engine beside its peers, over sizes and batches, in one run.

Peers: transformers' `generate` (fp32, bf16) and its continuous batching, CTranslate2, llama.cpp. Each
contender has a process of its own; they take turns, round by round, so that what else the machine
does falls on all. The peers' Python is named by `--peers` (else this one, which has transformers
alone); what that environment lacks is said, not hidden. Times are CPU seconds of the process, which
on an idle core are wall seconds; prompts are included.

Before anything is timed, every contender's tokens are judged by the fp32 model: the engine's in exact
mode must be its own, all of them. Of the others the table says how many are, how many are not though
the model's choice led by 0.01 or more, and how far the engine's log-probabilities are from the
trainer's. The roofline is the rate at which weights could be read at batch 1, by the reading speed
of the memory in the same run.

    python benchmarks/generate.py [--quick] [--peers PYTHON] [--sizes 1M 30M] [--batches 1 16 64] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from parley.engine.packed import PackedRunner
from parley.engine.requests import Request, Token
from parley.engine.sampler import batcher_for
from parley.model.checkpoint import LoadedModel, save_checkpoint
from parley.model.decoder import Decoder, DecoderConfig, causal_bias, count_parameters
from parley.model.gguf import export_gguf
from parley.model.process import prepare_process
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan

PROMPT: Final = 64
CLEAR: Final = 1e-2  # logits closer than that may be taken for one another
TIE: Final = 0.95
LOAD_SECONDS: Final = 300
PEER: Final = Path(__file__).with_name("generate_peer.py")
SHAPES: Final = {
    "1M": {"vocab_size": 1024, "width": 128, "layers": 4, "heads": 4, "kv_heads": 4, "mlp_width": 352},
    "30M": {"vocab_size": 8192, "width": 512, "layers": 8, "heads": 8, "kv_heads": 8, "mlp_width": 1408},
}
EXACT, FAST, LOW, LOWEST = "engine exact fp32", "engine fast fp32", "engine fast bf16", "engine fast int8"
HF, HF_LOW, LLAMA, LLAMA_LOW = "transformers fp32", "transformers bf16", "llama.cpp f32", "llama.cpp bf16"
PEERS: Final = (HF, HF_LOW, "transformers continuous", "ctranslate2 fp32", LLAMA, LLAMA_LOW)
SKIPPED: Final = {
    ("transformers continuous", 64): "slower than generate at every smaller batch, minutes a round"
}


@dataclass(frozen=True, slots=True)
class Goal:
    """`ours` is so many times as fast as `theirs`; for the roofline `theirs` is ""."""

    size: str
    batch: int
    ours: str
    theirs: str
    factor: float


GOALS: Final = (
    *(Goal("30M", batch, FAST, HF, 2.0) for batch in (16, 64)),
    *(Goal("30M", batch, LOW, HF, 2.6) for batch in (16, 64)),
    Goal("30M", 1, FAST, HF, 1.6),
    Goal("30M", 1, LOW, HF_LOW, 1.6),
    Goal("30M", 1, FAST, LLAMA, 0.55),
    Goal("30M", 1, LOW, LLAMA_LOW, 0.55),
    Goal("30M", 16, FAST, LLAMA, 1.0),
    Goal("30M", 64, FAST, LLAMA, 1.05),
    Goal("30M", 1, FAST, "", 0.6),
    Goal("30M", 1, LOW, "", 0.45),
    *(Goal("1M", batch, FAST, HF, factor) for batch, factor in ((1, 1.2), (16, 1.35), (64, 1.8))),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A contender's tokens against the fp32 model, fed with them."""

    equal: float  # share of tokens that are the model's own choice
    wrong: int  # tokens that are not, though the choice was clear
    logprob_gap: float | None  # largest, in nats; of the engine alone


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one size and batch; `seconds` are of every round."""

    size: str
    batch: int
    name: str
    how: str
    seconds: tuple[float, ...]
    tokens_per_second: float
    roofline: float | None
    judged: Judged


@dataclass(frozen=True, slots=True)
class Case:
    """What all contenders of one size are asked at one batch."""

    size: str
    prompts: tuple[tuple[int, ...], ...]
    new: int
    unused: int  # a token that the model never chooses here: peers take it for the end

    @property
    def batch(self) -> int:
        return len(self.prompts)


def main() -> None:
    arguments = _arguments()
    prepare_process()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    rows: list[Row] = []
    missing: dict[str, str] = {}
    speeds: dict[str, float] = {}
    for size in arguments.sizes:
        decoder = _decoder(size, arguments.new)
        speeds[size] = _reading_speed(count_parameters(decoder) * 4)
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            _save(decoder, Path(directory))
            peers = _peers(arguments, Path(directory), stack, missing)
            ours = _engines(decoder)
            for batch in arguments.batches:
                case = _case(decoder, size, batch, arguments.new)
                found = _measure(decoder, case, ours, peers, arguments, speeds[size])
                _show(found, heading=not rows)
                rows += found
                if arguments.json:
                    _write(arguments.json, _result(rows, missing, speeds, arguments))
    _show_goals(list(_goals(rows)), missing)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of 16 tokens at batch 1 and 16, no peers but transformers",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=128, help="new tokens a reply")
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--contenders", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--peers", default=sys.executable, help="the Python of the environment that has the peers"
    )
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    found = parser.parse_args()
    if found.quick:
        found.rounds, found.new, found.batches, found.contenders = 1, 16, [1, 16], [HF]
    return found


def _decoder(size: str, new: int) -> Decoder:
    config = DecoderConfig(**SHAPES[size], max_positions=PROMPT + new)
    return Decoder(config).initialise(torch.Generator().manual_seed(0)).use(NumericPlan())


def _save(decoder: Decoder, directory: Path) -> None:
    """The model for all peers: a checkpoint, and GGUF where that can be written."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(PEER.parent.glob("*.py"))]
    model = LoadedModel(decoder, Tokenizer.train(texts, decoder.config.vocab_size), ChatFormat())
    save_checkpoint(directory, decoder, model.tokenizer, model.chat_format)
    for precision in ("f32", "bf16"):
        export_gguf(model, directory / f"model-{precision}.gguf", precision=precision, name="benchmark")


def _case(decoder: Decoder, size: str, batch: int, new: int) -> Case:
    drawn = torch.randint(
        decoder.config.vocab_size, (batch, PROMPT), generator=torch.Generator().manual_seed(1)
    )
    prompts = tuple(map(tuple, drawn.tolist()))
    case = Case(size, prompts, new, 0)
    taken = {token.id for reply in _written(PackedRunner(decoder, exact=True), case, None) for token in reply}
    return Case(size, prompts, new, next(n for n in range(decoder.config.vocab_size) if n not in taken))


# --- contenders ----------------------------------------------------------------------------------


class Peer:
    """A contender in a process of its own."""

    def __init__(self, python: str, name: str, directory: Path, threads: int) -> None:
        self.name, self.how = name, ""
        self._process = subprocess.Popen(
            [python, str(PEER), name, str(directory), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        """Why it cannot take part; "" where it can."""
        assert self._process.stdout is not None
        if self._process.stdout.readline():
            return ""
        _, errors = self._process.communicate(timeout=LOAD_SECONDS)
        return (errors.strip().splitlines() or ["it ended without a word"])[-1]

    def write(self, case: Case) -> tuple[list[list[Token]], float]:
        """Its tokens, and the CPU seconds they took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"prompts": case.prompts, "new": case.new, "unused": case.unused}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate(timeout=LOAD_SECONDS)
            raise SystemExit(f"{self.name} failed: {errors.strip()[-500:]}")
        answer = json.loads(line)
        self.how = answer["how"]
        return [[Token(token) for token in row] for row in answer["tokens"]], answer["cpu"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=LOAD_SECONDS)


def _peers(
    arguments: argparse.Namespace, directory: Path, stack: ExitStack, missing: dict[str, str]
) -> dict[str, Peer]:
    found: dict[str, Peer] = {}
    for name in arguments.contenders:
        peer = Peer(arguments.peers, name, directory, arguments.threads)
        if why := peer.ready():
            missing[name] = why
            continue
        stack.callback(peer.close)
        found[name] = peer
    return found


def _engines(decoder: Decoder) -> dict[str, PackedRunner]:
    exact = PackedRunner(decoder, exact=True)
    fast = PackedRunner(decoder, exact=False)
    low = PackedRunner(decoder, exact=False, dtype=torch.bfloat16)
    lowest = PackedRunner(decoder, exact=False, dtype=torch.int8)
    return {EXACT: exact, FAST: fast, LOW: low, LOWEST: lowest}


class _Kept:
    """A sink that keeps tokens."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []

    def take(self, token: Token) -> bool:
        self.tokens.append(token)
        return False

    def end(self, ended: object) -> None:
        if isinstance(ended, Exception):
            raise ended


def _written(runner: PackedRunner, case: Case, logprobs: int | None) -> list[list[Token]]:
    """The engine's replies, batcher and all."""
    requests = [
        Request(
            prompt=prompt,
            max_new_tokens=case.new,
            temperature=0.0,
            logprobs=logprobs,
            bulk=True,
            remember=False,
        )
        for prompt in case.prompts
    ]
    batcher = batcher_for(runner, requests, batch_size=len(requests))
    kept = [_Kept() for _ in requests]
    for request, sink in zip(requests, kept, strict=True):
        batcher.add(request, sink)
    while not batcher.idle:
        batcher.step()
    return [sink.tokens for sink in kept]


# --- measuring -----------------------------------------------------------------------------------


def _measure(
    decoder: Decoder,
    case: Case,
    ours: Mapping[str, PackedRunner],
    peers: Mapping[str, Peer],
    arguments: argparse.Namespace,
    speed: float,
) -> list[Row]:
    racing = {name: peer for name, peer in peers.items() if (name, case.batch) not in SKIPPED}
    judged = dict(_judge_all(decoder, case, ours, racing))
    if judged[EXACT].equal < 1:
        raise SystemExit(f"{case.size}, batch {case.batch}: the engine's exact tokens are not the model's")
    turns: dict[str, Callable[[], float]] = {
        **{name: lambda runner=runner: _timed(runner, case) for name, runner in ours.items()},
        **{name: lambda peer=peer: peer.write(case)[1] for name, peer in racing.items()},
    }
    seconds = _race(turns, arguments.rounds)
    parameters = count_parameters(decoder)
    return [
        Row(
            size=case.size,
            batch=case.batch,
            name=name,
            how=peers[name].how if name in peers else "",
            seconds=tuple(taken),
            tokens_per_second=case.batch * case.new / statistics.median(taken),
            roofline=case.new / statistics.median(taken) * parameters * _width(name) / speed
            if case.batch == 1
            else None,
            judged=judged[name],
        )
        for name, taken in seconds.items()
    ]


def _width(name: str) -> int:
    """Bytes of a weight."""
    return next((size for word, size in (("int8", 1), ("bf16", 2)) if word in name), 4)


def _timed(runner: PackedRunner, case: Case) -> float:
    began = time.process_time()
    _written(runner, case, None)
    return time.process_time() - began


def _race(turns: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round of each, taken in turns; judging them was the warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, run in turns.items():
            taken[name].append(run())
    return taken


def _judge_all(
    decoder: Decoder, case: Case, ours: Mapping[str, PackedRunner], peers: Mapping[str, Peer]
) -> Iterator[tuple[str, Judged]]:
    """Tokens that were judged once are not judged again."""
    known: list[tuple[list[list[int]], Judged]] = []
    for name in (*ours, *peers):
        telling = name in ours
        replies = _written(ours[name], case, 0) if telling else peers[name].write(case)[0]
        ids = [[token.id for token in reply] for reply in replies]
        same = next((judged for tokens, judged in known if tokens == ids), None)
        if same is not None and not telling:
            yield name, Judged(same.equal, same.wrong, None)
            continue
        judged = _judge(decoder, case, replies, telling=telling)
        known.append((ids, judged))
        yield name, judged


@torch.inference_mode()
def _judge(decoder: Decoder, case: Case, replies: Sequence[Sequence[Token]], *, telling: bool) -> Judged:
    equal = wrong = count = 0
    gap = 0.0
    for prompt, reply in zip(case.prompts, replies, strict=True):
        chosen = torch.tensor([token.id for token in reply])
        row = torch.cat((torch.tensor(prompt), chosen))[None]
        states = decoder(row, torch.arange(row.shape[1])[None], causal_bias(torch.ones_like(row)))
        logits = decoder.logits(states[0, PROMPT - 1 : -1])
        lead = logits.max(-1).values - logits.gather(1, chosen[:, None])[:, 0]
        equal += int((lead == 0).sum())
        wrong += int((lead > CLEAR).sum())
        count += len(chosen)
        if telling:
            told = torch.tensor([token.logprob for token in reply])
            forced = decoder.token_logprobs(states[0, PROMPT - 1 : -1], chosen)
            gap = max(gap, float((told - forced).abs().max()))
    return Judged(equal / count, wrong, gap if telling else None)


def _reading_speed(size: int) -> float:
    """Bytes a second that this process reads of a block as large as the model, the best of a few times."""
    block = torch.ones(size // 4)
    rounds = max(1, (1 << 29) // size)
    best = 0.0
    for _ in range(7):
        began = time.process_time()
        for _ in range(rounds):
            block.sum()
        best = max(best, rounds * size / (time.process_time() - began))
    return best


# --- telling -------------------------------------------------------------------------------------


def _result(
    rows: Sequence[Row],
    missing: Mapping[str, str],
    speeds: Mapping[str, float],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    return {
        "what": f"Greedy replies of {arguments.new} tokens to prompts of {PROMPT}, {arguments.threads} thread, "
        f"CPU seconds, median of {arguments.rounds} alternating rounds.",
        "commit": _commit(),
        "machine": f"{platform.machine()}, {platform.system()}, {_processor()}",
        "torch": torch.__version__,
        "reading_bytes_per_second": dict(speeds),
        "missing": dict(missing),
        "skipped": {f"{name}, batch {batch}": why for (name, batch), why in SKIPPED.items()},
        "rows": [asdict(row) for row in rows],
        "goals": list(_goals(rows)),
    }


def _write(path: Path, result: dict[str, Any]) -> None:
    """With the sizes and batches of an earlier part that this one has not measured."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    done = {(one["size"], one["batch"]) for one in result["rows"]}
    for name in ("rows", "goals"):
        kept = [one for one in before.get(name, ()) if (one["size"], one["batch"]) not in done]
        result[name] = kept + result[name]
    known = before.get("reading_bytes_per_second", {})
    result["reading_bytes_per_second"] = known | result["reading_bytes_per_second"]
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _goals(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    found = {(row.size, row.batch, row.name): row for row in rows}
    for goal in GOALS:
        ours, theirs = (found.get((goal.size, goal.batch, name)) for name in (goal.ours, goal.theirs))
        if ours is None or (goal.theirs and theirs is None):
            continue
        value = ours.tokens_per_second / theirs.tokens_per_second if theirs else ours.roofline or 0.0
        yield {**asdict(goal), "value": value, "met": value >= goal.factor * TIE}


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=PEER.parent)
    return found.stdout.strip()


def _processor() -> str:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    return ", ".join(name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags)


def _show(rows: Sequence[Row], *, heading: bool) -> None:
    columns = "{:<5}{:>6}  {:<26}{:>10}{:>8}{:>10}{:>8}{:>7}{:>9}"
    if heading:
        names = ("size", "batch", "", "tokens/s", "spread", "roofline", "equal", "wrong", "gap")
        print(columns.format(*names))
    for row in rows:
        told = columns.format(
            row.size,
            row.batch,
            row.name,
            f"{row.tokens_per_second:.0f}",
            f"{max(row.seconds) / min(row.seconds) - 1:.0%}",
            "" if row.roofline is None else f"{row.roofline:.2f}",
            f"{row.judged.equal:.1%}",
            row.judged.wrong,
            "" if row.judged.logprob_gap is None else f"{row.judged.logprob_gap:.1g}",
        )
        print(told, flush=True)


def _show_goals(goals: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> None:
    for goal in goals:
        told = f"{goal['ours']} / {goal['theirs'] or 'what the memory allows'}"
        figures = f"{goal['value']:>6.2f}  goal {goal['factor']:.2f}  {'met' if goal['met'] else 'NOT met'}"
        print(f"{goal['size']:<5}{goal['batch']:>3}  {told:<48}{figures}")
    for name, why in missing.items():
        print(f"missing: {name}: {why}")


if __name__ == "__main__":
    main()
