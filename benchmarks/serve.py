"""`/v1` under streaming clients, beside `transformers serve` with continuous batching on the same model.

A model of 30 million random weights is written once; each server reads it in a process of its own
and answers the same questions, greedily, in fp32. They take turns, round by round, and whoever is
not asked is halted, so that what else the machine does falls on both. Every client asks again as
soon as it has its answer. The table gives answers and tokens a second, and the 50th and 95th
percentiles of the time to the first piece and between pieces; an answer of ours that is short of a
token ends the benchmark with an error, those of the other side are counted as failed. The share of
answers that are letter for letter the same in both is printed with them.

    python benchmarks/serve.py [--quick] [--clients N …] [--tokens N] [--rounds N] [--peer PYTHON] [--json]

`--peer` is the python of an environment that has `transformers[serving]`; without it the table has one side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHAPE = {"width": 512, "layers": 8, "heads": 8, "kv_heads": 8, "mlp_width": 1408, "max_positions": 1024}
VOCABULARY = 8192
WORDS = 24  # of a question
READY_SECONDS = 120


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = Path(folder) / "random-30m"
        words = _write_model(model)
        servers = {"parley": stack.enter_context(_parley(model, Path(folder)))}
        if arguments.peer:
            servers["transformers"] = stack.enter_context(_transformers(arguments.peer, model, folder))
        asyncio.run(_warm(servers, words, arguments.tokens))
        loads = [
            asyncio.run(_round(servers, clients, words, arguments))
            for _ in range(arguments.rounds)
            for clients in arguments.clients
        ]
    _show(loads, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 16 tokens, with 1 and 8 clients")
    parser.add_argument("--clients", type=int, nargs="+", help="default 1 8 32 64")
    parser.add_argument("--tokens", type=int, help="of each answer; default 64")
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--peer", default="", help="python of an environment with transformers[serving]")
    parser.add_argument("--json", action="store_true")
    found = parser.parse_args()
    found.clients = found.clients or ([1, 8] if found.quick else [1, 8, 32, 64])
    found.tokens = found.tokens or (16 if found.quick else 64)
    found.rounds = found.rounds or (1 if found.quick else 3)
    return found


def _write_model(directory: Path) -> list[str]:
    """A checkpoint of random weights, and the words that its tokenizer knows."""
    import torch

    from parley.model.checkpoint import save_checkpoint
    from parley.model.decoder import Decoder, DecoderConfig
    from parley.model.render import ChatFormat
    from parley.model.tokenizer import Tokenizer

    chance = random.Random(0)
    words = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)
    ]
    tokenizer = Tokenizer.train((" ".join(chance.choices(words, k=200)) for _ in range(400)), VOCABULARY)
    config = DecoderConfig(vocab_size=tokenizer.vocab_size, **SHAPE)
    decoder = Decoder(config).initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():  # so that no answer ends by itself: a special token's logit is 0, never the largest
        decoder.embedding[sorted(tokenizer.special_ids)] = 0.0
    save_checkpoint(directory, decoder, tokenizer, ChatFormat())
    return words


# --- the clients ------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A server's process, where it is, and what its requests carry."""

    process: subprocess.Popen[str]
    port: int
    model: str
    key: str
    must_answer: bool

    def halt(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@dataclass
class Answer:
    """What one client saw of one answer: when it asked and when each piece came, and the words."""

    question: str
    asked: float
    times: list[float] = field(default_factory=list)
    text: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class Load:
    """One server under so many clients, once."""

    name: str
    clients: int
    seconds: float
    answers: Sequence[Answer]


async def _warm(servers: Mapping[str, Server], words: Sequence[str], tokens: int) -> None:
    """What is done once is done, and everybody else is halted from here on."""
    for server in servers.values():
        await asyncio.gather(*(_ask(server, _question(words, -n), tokens) for n in (1, 2)))
        server.halt()


async def _round(
    servers: Mapping[str, Server], clients: int, words: Sequence[str], arguments: argparse.Namespace
) -> list[Load]:
    found = []
    for name, server in servers.items():
        server.go_on()
        began = time.perf_counter()
        each = await asyncio.gather(
            *(_client(server, n, clients, words, arguments.tokens) for n in range(clients))
        )
        seconds = time.perf_counter() - began
        server.halt()
        found.append(Load(name, clients, seconds, [answer for answers in each for answer in answers]))
    return found


async def _client(
    server: Server, number: int, clients: int, words: Sequence[str], tokens: int
) -> list[Answer]:
    """Asks, and asks again, so that few clients are measured as long as many."""
    times = max(2, 8 // clients)
    return [await _ask(server, _question(words, number * times + n), tokens) for n in range(times)]


def _question(words: Sequence[str], number: int) -> str:
    return " ".join(random.Random(number).choices(words, k=WORDS))


async def _ask(server: Server, question: str, tokens: int) -> Answer:
    body = json.dumps(
        {
            "model": server.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Authorization: Bearer {server.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    answer = Answer(question, time.perf_counter())
    writer.write(head.encode() + body)
    await _read(reader, answer)
    writer.close()
    if answer.tokens != tokens and server.must_answer:
        sys.exit(f"parley: an answer has {answer.tokens} tokens of {tokens}")
    return answer


async def _read(reader: asyncio.StreamReader, answer: Answer) -> None:
    """Until the connection is closed: not every server says that it is done."""
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        answer.tokens = (chunk.get("usage") or {}).get("completion_tokens", answer.tokens)
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                answer.times.append(time.perf_counter())
                answer.text += text


# --- the servers ------------------------------------------------------------------------------------------


@contextmanager
def _parley(model: Path, folder: Path) -> Iterator[Server]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PARLEY_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "parley.cli"]
    made = subprocess.run(
        [*command, "key", "create", "--json"], env=environment, capture_output=True, check=True
    )
    port = _free_port()
    serve = [*command, "serve", "--checkpoint", str(model), "--port", str(port)]
    with _process(serve, environment, folder / "parley.log") as process:
        _wait_for(process, port)
        yield Server(process, port, model.name, json.loads(made.stdout)["key"], True)


@contextmanager
def _transformers(python: str, model: Path, folder: str) -> Iterator[Server]:
    port = _free_port()
    serve = [python, "-m", "transformers.cli.transformers", "serve", str(model), "--continuous-batching"]
    serve += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with _process(serve, {**environment, "HF_HUB_OFFLINE": "1"}, Path(folder) / "peer.log") as process:
        _wait_for(process, port)
        yield Server(process, port, str(model), "none", False)


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, text=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    sys.exit(f"the server on port {port} did not start: {' '.join(map(str, process.args))}")


# --- the table --------------------------------------------------------------------------------------------


def _summary(loads: Sequence[Load], tokens: int) -> dict[str, float]:
    asked = [answer for load in loads for answer in load.answers]
    answers = [answer for answer in asked if answer.tokens == tokens and answer.times]
    first = [1000 * (answer.times[0] - answer.asked) for answer in answers]
    gaps = [1000 * (b - a) for one in answers for a, b in zip(one.times, one.times[1:], strict=False)]
    rate = statistics.median(
        sum(answer.tokens == tokens for answer in load.answers) / load.seconds for load in loads
    )
    return {
        "failed": float(sum(answer.tokens != tokens for answer in asked)),
        "answers a second": rate,
        "tokens a second": rate * tokens,
        "first p50 ms": _quantile(first, 0.5),
        "first p95 ms": _quantile(first, 0.95),
        "between p50 ms": _quantile(gaps, 0.5),
        "between p95 ms": _quantile(gaps, 0.95),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def _same(rounds: Sequence[Sequence[Load]]) -> float | None:
    """Share of questions that both servers answered with the same letters."""
    said: dict[str, dict[str, str]] = {}
    for load in (load for loads in rounds for load in loads):
        for answer in load.answers:
            said.setdefault(answer.question, {})[load.name] = answer.text
    pairs = [texts for texts in said.values() if len(texts) == 2]
    return sum(len(set(texts.values())) == 1 for texts in pairs) / len(pairs) if pairs else None


def _show(rounds: Sequence[Sequence[Load]], arguments: argparse.Namespace) -> None:
    names = [load.name for load in rounds[0]]
    table = {
        clients: {
            name: _summary(
                [load for loads in rounds for load in loads if (load.name, load.clients) == (name, clients)],
                arguments.tokens,
            )
            for name in names
        }
        for clients in arguments.clients
    }
    same = _same(rounds)
    if arguments.json:
        print(json.dumps({"clients": table, "same_answers": same, "tokens": arguments.tokens}))
        return
    print(f"{arguments.tokens} tokens an answer, {arguments.rounds} rounds in turns, one after the other")
    columns = list(next(iter(table.values()))[names[0]])
    print(f"{'clients':>7}  {'':<13}" + "".join(f"{name:>18}" for name in columns) + f"{'ratio':>8}")
    for clients, found in table.items():
        for name in names:
            ratio = found[name]["answers a second"] / max(found[names[-1]]["answers a second"], 1e-9)
            row = "".join(f"{value:>18.2f}" for value in found[name].values())
            print(f"{clients:>7}  {name:<13}{row}{ratio:>7.2f}x")
    if same is not None:
        print(f"{same:.1%} of the answers are letter for letter the same")


if __name__ == "__main__":
    main()
