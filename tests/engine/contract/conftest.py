"""Every engine that the contract holds: in this process, in llama.cpp, behind HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from parley.engine.batcher import Batcher
from parley.engine.client import Client, Server
from parley.engine.engine import Engine
from parley.engine.llama import start_llama
from parley.engine.packed import PackedRunner
from parley.engine.port import TokenEngine
from parley.engine.remote import RemoteEngine
from parley.engine.responder import CheckpointResponder
from parley.model.checkpoint import save_checkpoint
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.ports import ReleaseInfo
from parley.store.keys import create_key
from tests.engine.conftest import strong
from tests.engine.contract.protocol import KEY, MODEL, FakeServer
from tests.service.conftest import running

HAS_LLAMA = find_spec("llama_cpp") is not None
LLAMA = pytest.mark.skipif(not HAS_LLAMA, reason="the extra llama is not installed")
NOTE = (
    "engine contract: vLLM and SGLang cannot be installed here; over HTTP it was held by our own server and, "
    "in vLLM's protocol, by the fake in tests/engine/contract/protocol.py"
)
NO_LLAMA = "engine contract: llama.cpp was left out, since its extra is not installed"
RELEASE = ReleaseInfo("tiny", "sft", "contract", 1_700_000_000)


@dataclass(frozen=True, slots=True)
class Held:
    """An engine under contract; `running` says how many replies it is writing."""

    engine: TokenEngine
    running: Callable[[], int]
    gap: float
    """Most nats that a log-probability may be off."""


@pytest.fixture(scope="session")
def decoder(tokenizer: Tokenizer) -> Decoder:
    """A decoder that never says a special token, at which our server ends every reply: one dimension
    of its states is the same for all tokens, and the rows of special tokens are against it."""
    config = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        width=60,
        layers=2,
        heads=6,
        kv_heads=2,
        mlp_width=98,
        max_positions=200,
        tied=False,
    )
    found = strong(config)
    with torch.no_grad():
        for name, weight in found.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                weight[0] = 0.0
        found.embedding[:, 0] = 1.0
        assert found.untied_head is not None
        found.untied_head[:, 0] = 0.0
        found.untied_head[sorted(tokenizer.special_ids)] = 0.0
        found.untied_head[sorted(tokenizer.special_ids), 0] = -100.0
    return found


def build(decoder: Decoder) -> Engine:
    def batcher() -> Batcher:
        return Batcher(
            PackedRunner(decoder, exact=True),
            slots=8,
            columns=decoder.config.max_positions,
            reading_rows=4,
            prefix_bytes=1 << 20,
        )

    return Engine(batcher, threads=1)


def built_in(decoder: Decoder, stack: ExitStack) -> Held:
    engine = stack.enter_context(closing(build(decoder)))
    return Held(engine, lambda: engine.stats().running, 1e-4)


def llama(decoder: Decoder, stack: ExitStack) -> Held:
    engine = stack.enter_context(closing(start_llama(decoder, NumericPlan())))
    return Held(engine, lambda: engine.stats().running, 1e-3)


def vllm_protocol(decoder: Decoder, stack: ExitStack) -> Held:
    inner = built_in(decoder, stack)
    assert isinstance(inner.engine, Engine)
    server = stack.enter_context(closing(FakeServer(inner.engine)))
    client = stack.enter_context(closing(Client(Server(url=server.url, key=KEY))))
    return Held(RemoteEngine(client, MODEL), inner.running, inner.gap)


def our_server(decoder: Decoder, stack: ExitStack, tokenizer: Tokenizer, home: Path) -> Held:
    save_checkpoint(home / "tiny", decoder, tokenizer, ChatFormat())
    responder = stack.enter_context(closing(CheckpointResponder(lambda: [(RELEASE, home / "tiny")])))
    service = stack.enter_context(running(home, responder=responder, completer=responder))
    with service.sessions.begin() as session:
        key = create_key(session, scope="chat", label="contract", now=int(time.time())).secret
    client = stack.enter_context(closing(Client(Server(url=f"{service.url}/v1", key=key))))
    return Held(
        RemoteEngine(client, RELEASE.name), lambda: sum(load.running for load in responder.loads()), 1e-4
    )


@pytest.fixture(
    scope="session",
    params=["built-in", pytest.param("llama.cpp", marks=LLAMA), "our-server", "vllm-protocol"],
)
def held(
    request: pytest.FixtureRequest,
    decoder: Decoder,
    tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Held]:
    with ExitStack() as stack:
        if request.param == "our-server":
            yield our_server(decoder, stack, tokenizer, tmp_path_factory.mktemp("contract"))
        else:
            make = {"built-in": built_in, "llama.cpp": llama, "vllm-protocol": vllm_protocol}
            yield make[request.param](decoder, stack)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(NOTE)
    if not HAS_LLAMA:
        terminalreporter.write_line(NO_LLAMA)
