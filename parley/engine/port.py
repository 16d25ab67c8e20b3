"""The seam between those who want tokens and whatever writes them.

Behind it: the built-in engine (`engine.engine`), the same with llama.cpp computing (`engine.llama`),
any server by URL (`engine.remote`). One contract holds them all: `tests/engine/contract`.
"""

from __future__ import annotations

from typing import Protocol

from parley.engine.engine import Reply
from parley.engine.requests import Request


class TokenEngine(Protocol):
    """Writes replies to prompts, token ids in and out. All methods may be called from any thread."""

    def submit(self, request: Request) -> Reply:
        """A reply that is being written; closing it stops the work.

        `ConfigError` for what the model cannot do, `Busy` where too much waits, from this call.
        """
        ...
