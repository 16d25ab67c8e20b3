"""A soak of `/v1`: `parley serve` in a process of its own, asked at a bounded rate for minutes on end.

Requests are of every kind (whole, streamed, several replies, plain text, hung up in the middle), with
seeds of a small set, so that every answer is known from the first time it was given: one that is
missing, cut or different is lost. The server's memory, threads and open files are read all the while.

    python -m tests.soak [--minutes N] [--rate N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from parley.model.checkpoint import save_checkpoint
from parley.model.decoder import Decoder
from parley.model.render import ChatFormat
from tests.tiny import tiny_decoder, tiny_tokenizer

ROOT = Path(__file__).parents[1]
RATE = 5.0  # requests a second
SEEDS = 12  # of each kind
SAMPLES = 48  # of the server's process
STOPPED = 130  # exit status of who was asked to stop
WARM_SHARE = 0.25  # of the time, after which memory may not grow
MOST_GROWTH = 16.0  # MB
KINDS = ("whole", "stream", "several", "text", "hang up")


@dataclass
class Sample:
    """The server's process at a moment."""

    seconds: float
    megabytes: float
    threads: int
    files: int


@dataclass
class Tally:
    """What came of the requests."""

    known: dict[tuple[str, int], Any] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    refused: int = 0
    first: list[float] = field(default_factory=list)

    def check(self, kind: str, seed: int, answer: Any) -> None:
        if self.known.setdefault((kind, seed), answer) != answer:
            self.lost.append(f"{kind}, seed {seed}: another answer than before")
        self.answered[kind] += 1


def soak(*, minutes: float, rate: float = RATE) -> dict[str, Any]:
    """Asks for so long; `AssertionError` where a request is lost or the server grows."""
    tally, samples = Tally(), list[Sample]()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (process, url, key):
        asyncio.run(_ask_on(url, key, process.pid, tally, samples, 60 * minutes, rate))
    warm = [one for one in samples if one.seconds > WARM_SHARE * 60 * minutes]
    half = len(warm) // 2
    early, late = warm[:half], warm[half:]
    growth = max(one.megabytes for one in late) - max(one.megabytes for one in early)
    found = {
        "minutes": minutes,
        "requests_a_second": rate,
        "answered": dict(tally.answered),
        "refused_and_asked_again": tally.refused,
        "lost": len(tally.lost),
        "first_token_p50_ms": round(1000 * statistics.median(tally.first), 1),
        "first_token_p95_ms": round(1000 * statistics.quantiles(tally.first, n=20)[-1], 1),
        "megabytes": [round(one.megabytes, 1) for one in (samples[0], early[0], late[-1])],
        "growth_megabytes": round(growth, 1),
        "threads": [samples[0].threads, late[-1].threads],
        "open_files": [samples[0].files, late[-1].files],
    }
    assert not tally.lost, tally.lost[:5]
    assert growth <= MOST_GROWTH, found
    assert late[-1].threads <= max(one.threads for one in early), found
    assert late[-1].files <= max(one.files for one in early) + 2, found
    return found


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`parley serve` over a model of random weights: its process, its address, a key."""
    model = folder / "tiny"
    decoder: Decoder = tiny_decoder(5, width=64)
    save_checkpoint(model, decoder, tiny_tokenizer(), ChatFormat())
    environment = {**os.environ, "PARLEY_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "parley.cli"]
    made = subprocess.run(
        [*command, "key", "create", "--json"], env=environment, capture_output=True, check=True, text=True
    )
    process = subprocess.Popen(
        [*command, "serve", "--checkpoint", str(model), "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split("parley is at ")[1].partition("/login")[0]
        yield process, url, json.loads(made.stdout)["key"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        process.stdout.close()
    assert process.returncode == STOPPED, "the server did not stop as it should"


async def _ask_on(
    url: str, key: str, pid: int, tally: Tally, samples: list[Sample], seconds: float, rate: float
) -> None:
    chance, began = random.Random(0), time.monotonic()
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        base_url=f"{url}/v1", headers=headers, trust_env=False, timeout=60, limits=limits
    ) as http:
        open_: set[asyncio.Task[None]] = set()
        due = sampled = 0.0
        while (now := time.monotonic() - began) < seconds:
            if now >= sampled:
                samples.append(_sample(pid, now))
                sampled += seconds / SAMPLES
            task = asyncio.create_task(_ask(http, chance.choice(KINDS), chance.randrange(SEEDS), tally))
            open_.add(task)
            task.add_done_callback(open_.discard)
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - (time.monotonic() - began)))
        await asyncio.gather(*open_)
        samples.append(_sample(pid, time.monotonic() - began))


async def _ask(http: httpx.AsyncClient, kind: str, seed: int, tally: Tally) -> None:
    body: dict[str, Any] = {"model": "tiny", "seed": seed, "temperature": 1, "max_tokens": 40}
    if kind == "text":
        path, body = "/completions", body | {"prompt": "Mira lives"}
    else:
        question = [{"role": "user", "content": f"Where does Mira live? {kind}"}]
        path, body = "/chat/completions", body | {"messages": question, "n": 3 if kind == "several" else 1}
    try:
        if kind in ("stream", "hang up"):
            await _listen(http, path, body | {"stream": True}, kind, seed, tally)
            return
        while (answer := await http.post(path, json=body)).status_code == 429:
            tally.refused += 1
            await asyncio.sleep(float(answer.headers["retry-after"]))
        assert answer.status_code == 200, answer.text
        choices = answer.json()["choices"]
        tally.check(kind, seed, [one.get("text") or one.get("message") for one in choices])
    except Exception as error:
        tally.lost.append(f"{kind}, seed {seed}: {error!r}")


async def _listen(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], kind: str, seed: int, tally: Tally
) -> None:
    asked, said = time.monotonic(), list[str]()
    async with http.stream("POST", path, json=body) as answer:
        if answer.status_code == 429:
            tally.refused += 1
            return
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if not said and line:
                tally.first.append(time.monotonic() - asked)
            said += [line] if line else []
            if kind == "hang up" and len(said) == 6:
                tally.answered[kind] += 1
                return
    assert said[-1] == "data: [DONE]", said[-1]
    chunks = [json.loads(line.removeprefix("data: "))["choices"][0] for line in said[:-1]]
    tally.check(kind, seed, "".join(chunk["delta"].get("content", "") for chunk in chunks))


def _sample(pid: int, seconds: float) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(seconds, int(status["VmRSS"].split()[0]) / 1000, int(status["Threads"]), files)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second")
    arguments = parser.parse_args()
    print(json.dumps(soak(minutes=arguments.minutes, rate=arguments.rate), indent=1))


if __name__ == "__main__":
    main()
