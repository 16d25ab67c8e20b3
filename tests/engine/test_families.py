"""Greedy tokens of every family that the project loads are transformers' own: batched, in chunks, with
prompts shared and remembered, beside neighbours that come, are drawn by chance and are cancelled."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.engine.packed import PackedRunner, runner_for
from parley.engine.requests import Request, Ticket
from parley.engine.runner import CHUNK, ModelRunner, Runner
from parley.model.adapters import AdapterConfig, adapted
from parley.model.checkpoint import load_model
from parley.model.decoder import Decoder
from parley.numerics import NumericPlan
from tests.engine.conftest import Heard, batcher_of
from tests.model.families import FAMILIES, NATIVE, random_peer

VOCABULARY = 330
NEW = 14
GREEDY = Request(prompt=(1,), max_new_tokens=NEW, temperature=0.0)
every_family = pytest.mark.parametrize("family", FAMILIES)


def _loaded(directory: Path, family: str) -> tuple[Any, Any]:
    """Ours and theirs: random weights in which everything matters."""
    theirs = random_peer(FAMILIES[family](VOCABULARY))
    theirs.save_pretrained(directory)
    return load_model(directory).use(NumericPlan()), theirs


def _prompts() -> list[tuple[int, ...]]:
    """One token, less than a chunk, a chunk, more than one; twice the same; with a beginning in common."""
    rng = random.Random(4)
    first, *rest = (tuple(rng.randrange(VOCABULARY) for _ in range(n)) for n in (47, 1, 9, CHUNK, 40, 18))
    return [first, *rest, first, first[:36] + rest[1], first[:CHUNK]]


def _generated(theirs: Any, prompt: tuple[int, ...]) -> list[int]:
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        found = theirs.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=-1,
            pad_token_id=0,
        )
    told: list[int] = found[0, len(prompt) :].tolist()
    return told


def _beside_others(runner: Runner, requests: list[Request]) -> list[Heard]:
    """The replies, begun at different steps beside drawn ones, of which some are cancelled on the way."""
    rng = random.Random(len(requests))
    batcher = batcher_of(runner, slots=7, reading_rows=3, prefix_bytes=1 << 22)
    heard, others = [Heard() for _ in requests], list[Ticket]()
    for number, (request, sink) in enumerate(zip(requests, heard, strict=True)):
        batcher.add(request, sink)
        for seed in range(2):
            noisy = replace(request, temperature=1.0, seed=seed, prompt=requests[number - seed].prompt)
            others.append(batcher.add(noisy, Heard()))
        batcher.step()
        rng.choice(others).cancelled = True
    while not batcher.idle:
        batcher.step()
    return heard


@every_family
def test_greedy_tokens_are_those_of_generate(family: str, tmp_path: Path) -> None:
    ours, theirs = _loaded(tmp_path, family)
    runner = runner_for(ours, exact=True)
    assert isinstance(runner, PackedRunner if family in NATIVE else ModelRunner)
    requests = [replace(GREEDY, prompt=prompt) for prompt in _prompts()]
    found = _beside_others(runner, requests)
    expected = [_generated(theirs, request.prompt) for request in requests]
    assert [list(one.ids) for one in found] == expected
    assert len({tuple(one) for one in expected}) >= 5  # the prompts matter
    reused = [one.ended.prompt_reused for one in found if not isinstance(one.ended, Exception) and one.ended]
    assert max(reused) >= CHUNK  # remembered beginnings were used


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_adapters_write_what_the_merged_model_writes(family: str, tmp_path: Path) -> None:
    ours, _ = _loaded(tmp_path, family)
    worn = adapted(ours, AdapterConfig(rank=2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for number, weight in enumerate(worn.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) * 0.2)
    requests = [replace(GREEDY, prompt=prompt) for prompt in _prompts()]
    merged = worn.merged()  # type: ignore[operator]
    with_adapters, plain, without = (
        [one.ids for one in _beside_others(runner_for(model, exact=True), requests)]
        for model in (worn, merged, ours)
    )
    assert with_adapters == plain != without
    assert isinstance(ours, Decoder) == (family != "gpt2")
