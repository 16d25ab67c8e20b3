"""Which engine answers: the one setting of it, `--engine` or `PARLEY_ENGINE`.

`built-in` is ours, `llama` has llama.cpp compute the same releases, and an address is another
program's server (vLLM, SGLang, llama.cpp's own, a company's), whose models then are the releases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from parley.engine.client import Client, server_at
from parley.engine.llama import start_llama
from parley.engine.remote import RemoteResponder
from parley.engine.responder import CheckpointResponder
from parley.errors import ConfigError
from parley.numerics import NumericPlan
from parley.ports import ReleaseInfo

Catalog = Callable[[], Sequence[tuple[ReleaseInfo, Path]]]

VARIABLE: Final = "PARLEY_ENGINE"
BUILT_IN, LLAMA = "built-in", "llama"


def engine_named(said: str | None) -> str:
    """The flag's word, else the environment's, else the built-in engine. `ConfigError` for no engine."""
    name = said or os.environ.get(VARIABLE) or BUILT_IN
    if name not in (BUILT_IN, LLAMA) and "://" not in name:
        raise ConfigError(f"there is no engine {name!r}: take {BUILT_IN}, {LLAMA} or the address of a server")
    return name


def checkpoint_responder(engine: str, catalog: Catalog, plan: NumericPlan) -> CheckpointResponder:
    """Answers from whole checkpoints, by the built-in engine or by llama.cpp."""
    if engine == LLAMA:
        return CheckpointResponder(catalog, plan=plan, start=start_llama)
    return CheckpointResponder(catalog, plan=plan)


def server_responder(engine: str) -> RemoteResponder:
    """Answers from the models of the server at this address."""
    return RemoteResponder(Client(server_at(engine, os.environ)))


def is_server(engine: str) -> bool:
    """Whether the engine is somebody else's server."""
    return "://" in engine
