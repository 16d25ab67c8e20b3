"""Commands on one model: talk with it, let it write, score it."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from parley.cli import show_json, show_rejects
from parley.cli.engines import checkpoint_responder, engine_named, is_server, server_responder
from parley.cli.machine import machine_plan
from parley.cli.paths import runs
from parley.cli.releases import answering_directory
from parley.dialects import read
from parley.dialogue import Conversation
from parley.engine.sampler import sample
from parley.errors import ConfigError, DataError, NotFound
from parley.evals.reward_accuracy import accuracies
from parley.model.checkpoint import LoadedModel, load_checkpoint, load_model
from parley.model.decoder import count_parameters
from parley.model.gguf import export_gguf
from parley.model.llama2c import convert_llama2c
from parley.model.reward_checkpoint import load_reward
from parley.model.selftest import apply_plan
from parley.numerics import NumericPlan
from parley.ports import Delta, ReleaseInfo, Responder, Sampling
from parley.rlhf.exchanges import history_tokens
from parley.stages.base import bits_per_byte
from parley.stages.release import find_releases


def chat(arguments: argparse.Namespace) -> int:
    """Read a line, answer it, until the input ends."""
    _check_sampling(arguments)
    _serving_plan()
    responder, release = _talking(arguments)
    sampling = Sampling(temperature=arguments.temperature, max_tokens=arguments.max_tokens)
    conversation = Conversation(())
    for line in _lines():
        asked = conversation.ask(line)
        said = ""
        try:
            for part in responder.stream(asked, sampling, release=release):
                if isinstance(part, Delta):
                    said += part.text
                    print(part.text, end="", flush=True)
        except (ConfigError, DataError) as error:
            print(f"({error}; the conversation goes on without this message)", file=sys.stderr)
            continue
        print()
        conversation = asked.reply(said, author=release)
    return 0


def _talking(arguments: argparse.Namespace) -> tuple[Responder, str]:
    """Who answers, and the name of the release that does."""
    engine = engine_named(arguments.engine)
    if is_server(engine):
        server = server_responder(engine)
        return server, arguments.release or server.releases()[-1].name
    directory = arguments.checkpoint or _release_directory(arguments.release)
    info = ReleaseInfo(directory.name, "checkpoint", "", 0)
    return checkpoint_responder(engine, lambda: [(info, directory)], NumericPlan()), info.name


def generate(arguments: argparse.Namespace) -> int:
    """One reply, or a continuation, on stdout."""
    model = load_checkpoint(arguments.checkpoint, _serving_plan())
    _check_sampling(arguments)
    prompt = _prompt_tokens(model, arguments.prompt, raw=arguments.raw)
    room = model.decoder.config.max_positions - len(prompt)
    if room < 1:
        raise ConfigError(
            f"the prompt takes {len(prompt)} tokens, the whole context of {arguments.checkpoint}"
        )
    (done,) = sample(
        model.decoder,
        [prompt],
        max_new_tokens=min(arguments.max_tokens, room),
        temperature=arguments.temperature,
        end_id=model.tokenizer.end,
        generator=torch.Generator().manual_seed(arguments.seed),
    )
    text = model.tokenizer.decode(done.tokens, opens=not (arguments.raw and arguments.prompt))
    if arguments.json:
        show_json(
            {"text": text, "prompt_tokens": len(prompt), "tokens": len(done.tokens), "ended": done.ended}
        )
    else:
        print(text)
    return 0


def _check_sampling(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.temperature < math.inf:
        raise ConfigError(f"--temperature is 0 (greedy) or more, not {arguments.temperature}")
    if not -(2**63) <= arguments.seed < 2**64:
        raise ConfigError(f"--seed has at most 64 bits, {arguments.seed} has more")
    if arguments.max_tokens < 1:
        raise ConfigError(f"--max-tokens is 1 or more, not {arguments.max_tokens}")


def score(arguments: argparse.Namespace) -> int:
    """Accuracy of a reward model on people's rankings, ties left out."""
    reading = read(arguments.format, arguments.file)
    show_rejects(reading.rejects, arguments.file)
    rankings = [item for item in reading.rankings if item.comparisons()]
    if not rankings:
        raise DataError("holds no comparisons without ties", file=str(arguments.file))
    loaded = load_reward(arguments.checkpoint, _plan())
    found = accuracies(loaded, rankings)
    overall = found[""]
    sources = {
        name: {"accuracy": item.value, "n": item.n, "interval": item.interval}
        for name, item in found.items()
        if name
    }
    if arguments.json:
        show_json(
            {
                "accuracy": overall.value,
                "n": overall.n,
                "interval": overall.interval,
                "sources": sources,
                "read": reading.read,
                "rejected": len(reading.rejects),
            }
        )
    else:
        low, high = overall.interval
        print(f"accuracy {overall.value:.3f}  95% interval {low:.3f} to {high:.3f}  n {overall.n} pairs")
    return 0


def perplexity(arguments: argparse.Namespace) -> int:
    """Bits per byte of plain text."""
    reading = read("text", arguments.file)
    show_rejects(reading.rejects, arguments.file)
    model = load_checkpoint(arguments.checkpoint, _serving_plan())
    texts = [document.text for document in reading.documents]
    bits = bits_per_byte(
        model.decoder, model.tokenizer, texts, row_tokens=min(512, model.decoder.config.max_positions)
    )
    num_bytes = sum(len(text.encode()) for text in texts)
    if arguments.json:
        rejected = len(reading.rejects)
        show_json({"bits_per_byte": bits, "bytes": num_bytes, "documents": len(texts), "rejected": rejected})
    else:
        print(f"{bits:.3f} bits per byte of {num_bytes:,} bytes in {len(texts):,} documents")
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Another program's model as a Hugging Face directory."""
    if arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists already: name a directory that does not")
    config = convert_llama2c(arguments.weights, arguments.tokenizer, arguments.out)
    parameters = count_parameters(load_model(arguments.out))
    if arguments.json:
        show_json({"directory": str(arguments.out), "parameters": parameters, "tokens": config.vocab_size})
    else:
        print(f"{arguments.out}: {parameters:,} parameters, {config.vocab_size:,} tokens")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """A release or any checkpoint as one GGUF file."""
    if arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists already: name a file that does not")
    directory = arguments.checkpoint or _release_directory(arguments.release)
    model = load_checkpoint(directory, NumericPlan())
    name = arguments.release or directory.name
    export_gguf(model, arguments.out, precision=arguments.precision, name=name)
    size = arguments.out.stat().st_size
    if arguments.json:
        show_json({"file": str(arguments.out), "bytes": size, "precision": arguments.precision})
    else:
        print(f"{arguments.out}: {size:,} bytes, matrices in {arguments.precision}")
    return 0


def _release_directory(name: str | None) -> Path:
    if name is None:
        return answering_directory()
    found = {one.info.name: one.path for one in find_releases(runs())}
    if name not in found:
        raise NotFound(f"there is no release {name!r}; there are: {', '.join(found) or 'none yet'}")
    return found[name]


def _prompt_tokens(model: LoadedModel, text: str, *, raw: bool) -> list[int]:
    if raw:
        return [model.tokenizer.document, *model.tokenizer.encode(text)]
    room = model.decoder.config.max_positions * 3 // 4
    return history_tokens(model, Conversation(()).ask(text), max_tokens=room)


def _plan() -> NumericPlan:
    plan = machine_plan()
    apply_plan(plan)
    return plan


def _serving_plan() -> NumericPlan:
    """Exact: fp32 on the CPU, so that greedy text is the same everywhere."""
    plan = NumericPlan(threads=_plan().threads)
    apply_plan(plan)
    return plan


def _lines() -> Iterator[str]:
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
