"""A service over the real engine and a tiny model with random weights, for tests of `/v1`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from parley.engine.batcher import Batcher
from parley.engine.engine import Engine
from parley.engine.packed import runner_for
from parley.engine.responder import CheckpointResponder
from parley.engine.runner import Runner, Step
from parley.model.checkpoint import save_checkpoint
from parley.model.language_model import LanguageModel
from parley.model.render import ChatFormat
from parley.numerics import NumericPlan
from parley.ports import Load, ReleaseInfo
from parley.service.common.settings import Settings
from parley.service.common.tracing import Tracer
from tests.tiny import tiny_decoder, tiny_tokenizer

from .conftest import Service, running

TINY = ReleaseInfo("tiny", "sft", "test", 1_700_000_000, digest="0123456789abcdef0123")
CONTEXT = 128
SLOTS = 4


class Slow:
    """A runner that takes its time over every step."""

    def __init__(self, inner: Runner, step_seconds: float) -> None:
        self.shape, self.device, self.slots = inner.shape, inner.device, inner.slots
        self._inner, self._seconds = inner, step_seconds

    def run(self, step: Step) -> Tensor:
        time.sleep(self._seconds)
        return self._inner.run(step)


def starting(step_seconds: float, most_waiting: int = 128) -> Callable[[LanguageModel, NumericPlan], Engine]:
    """Makes engines of a few slots whose steps take so long."""

    def start(decoder: LanguageModel, plan: NumericPlan) -> Engine:
        runner = Slow(runner_for(decoder, exact=True), step_seconds)
        return Engine(
            lambda: Batcher(runner, slots=SLOTS, columns=CONTEXT, reserved=1),
            threads=plan.threads,
            most_waiting=most_waiting,
        )

    return start


@dataclass(frozen=True)
class Tiny:
    """The service, its responder, and the checkpoint that it answers from."""

    service: Service
    responder: CheckpointResponder
    checkpoint: Path

    @property
    def api(self) -> str:
        return f"{self.service.url}/v1"

    def load(self) -> Load:
        """Of the engine, once there is one."""
        return self.responder.loads()[0]


@contextmanager
def tiny_service(
    home: Path,
    settings: Settings | None = None,
    *,
    step_seconds: float = 0.0,
    most_waiting: int = 128,
    send_buffer: int = 0,
    tracer: Tracer | None = None,
) -> Iterator[Tiny]:
    """A service that answers as the release `tiny`."""
    checkpoint = home / "tiny"
    save_checkpoint(checkpoint, tiny_decoder(5), tiny_tokenizer(), ChatFormat(identity="I am Ada."))
    responder = CheckpointResponder(
        lambda: [(TINY, checkpoint)], start=starting(step_seconds, most_waiting), kept=1
    )
    try:
        with running(
            home,
            settings,
            responder=responder,
            completer=responder,
            send_buffer=send_buffer,
            tracer=tracer,
        ) as service:
            yield Tiny(service, responder, checkpoint)
    finally:
        responder.close()
