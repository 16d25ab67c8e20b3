"""The engine's thread: many callers, cancelling, swapping, overload, failure, an orderly end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from parley.engine.batcher import Batcher
from parley.engine.engine import Engine, EngineClosed, Reply
from parley.engine.packed import PackedRunner
from parley.engine.requests import Ended, Request, Token
from parley.engine.runner import Runner, Step
from parley.engine.slots import Slots
from parley.errors import Busy, ConfigError
from parley.model.decoder import Decoder
from parley.model.language_model import ModelShape
from tests.engine.conftest import alone, batcher_of, strong

ASKED = Request(prompt=(5, 6, 7), max_new_tokens=12, seed=3)


class Gated:
    """A runner that waits for leave before every step."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self.shape: ModelShape = inner.shape
        self.device = inner.device
        self.leave = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)

    def slots(self, *, rows: int, columns: int) -> Slots:
        return self._inner.slots(rows=rows, columns=columns)

    def run(self, step: Step) -> Tensor:
        self.asked.release()
        assert self.leave.acquire(timeout=20)
        return self._inner.run(step)


@contextmanager
def _engine(build: Callable[[], Batcher], *, most_waiting: int = 100) -> Iterator[Engine]:
    engine = Engine(build, threads=1, most_waiting=most_waiting)
    try:
        yield engine
    finally:
        assert engine.close(timeout_seconds=20)


def _read(reply: Reply) -> tuple[list[Token], Ended]:
    events = list(reply)
    ended = events.pop()
    assert isinstance(ended, Ended)
    return [event for event in events if isinstance(event, Token)], ended


def test_many_callers_get_their_own_replies(grouped: Decoder) -> None:
    requests = [
        replace(ASKED, prompt=tuple(range(seed, seed + 20 + seed)), seed=seed, bulk=seed % 3 == 0)
        for seed in range(16)
    ]
    with (
        _engine(lambda: batcher_of(PackedRunner(grouped, exact=True))) as engine,
        ThreadPoolExecutor(8) as callers,
    ):
        found = list(callers.map(lambda request: _read(engine.submit(request))[0], requests))
    runner = PackedRunner(grouped, exact=True)
    assert found == [alone(runner, request).tokens for request in requests]
    assert engine.stats().running == 0


def test_closing_a_reply_stops_it(grouped: Decoder) -> None:
    gated = Gated(PackedRunner(grouped, exact=True))
    with _engine(lambda: batcher_of(gated, slots=1)) as engine:
        reply, other = engine.submit(replace(ASKED, max_new_tokens=100)), engine.submit(ASKED)
        for _ in range(3):
            gated.leave.release()
        read = [next(reply) for _ in range(3)]
        for _ in range(4):  # the fourth step has begun: it is the token at hand
            assert gated.asked.acquire(timeout=20)
        reply.close()
        assert list(reply) == []
        gated.leave.release(100)
        tokens, _ = _read(other)
        reply.close()
    assert len(read) == 3
    assert len(tokens) == 12
    steps = 100 + 3 - gated.leave._value
    assert steps == 3 + 1 + 11  # none for the closed reply, none to read the prompt again


def test_what_is_cancelled_before_it_begins_never_begins(grouped: Decoder) -> None:
    gated = Gated(PackedRunner(grouped, exact=True))
    with _engine(lambda: batcher_of(gated, slots=1)) as engine:
        running = engine.submit(ASKED)
        assert gated.asked.acquire(timeout=20)
        waiting = engine.submit(ASKED)
        assert waiting.handle is not None
        waiting.handle.cancel()
        gated.leave.release(50)
        tokens, ended = _read(waiting)
        assert (tokens, ended.reason) == ([], "cancelled")
        assert len(_read(running)[0]) == 12


def test_overload_is_refused_with_a_time_to_come_again(grouped: Decoder) -> None:
    gated = Gated(PackedRunner(grouped, exact=True))
    with _engine(lambda: batcher_of(gated, slots=1), most_waiting=2) as engine:
        replies = [engine.submit(ASKED)]
        assert gated.asked.acquire(timeout=20)  # it is being read: nobody waits
        replies += [engine.submit(ASKED), engine.submit(ASKED)]
        with pytest.raises(Busy, match="2 requests are waiting") as refused:
            engine.submit(ASKED)
        assert 1 <= refused.value.retry_after_seconds <= 60
        assert engine.stats().waiting == 2
        gated.leave.release(500)
        assert all(len(_read(reply)[0]) == 12 for reply in replies)
        told = engine.stats()
        assert (told.requests, told.refused, told.waiting) == (3, 1, 0)
        engine.submit(ASKED).close()


def test_what_it_did_is_counted(grouped: Decoder) -> None:
    with _engine(lambda: batcher_of(PackedRunner(grouped, exact=True), prefix_bytes=1 << 20)) as engine:
        long = replace(ASKED, prompt=tuple(range(70)), max_new_tokens=5)
        began = time.monotonic()
        for _ in range(2):
            assert _read(engine.submit(long))[1].tokens == 5
        ended = _read(engine.submit(replace(ASKED, deadline=0.0)))[1]
        seconds = time.monotonic() - began
        told = engine.stats()
    assert (ended.reason, told.ended) == ("deadline", {"length": 2, "deadline": 1})
    assert (told.requests, told.refused, told.slots) == (3, 0, 4)
    assert (told.prompt_tokens, told.prompt_reused, told.tokens) == (140, 64, 10)
    assert told.steps == 11  # 70 tokens are too many for one step, their last 6 are not
    assert sum(told.first_token.counts) == 2
    assert 0 < told.first_token.mean_seconds < seconds
    assert told.tokens_per_second > 10 / seconds
    assert told.retry_after_seconds >= 1


def test_new_weights_while_it_writes(grouped: Decoder) -> None:
    gated = Gated(PackedRunner(grouped, exact=True))
    other = strong(grouped.config, seed=4)
    with _engine(lambda: batcher_of(gated)) as engine:
        reply = engine.submit(ASKED)
        gated.leave.release(4)
        read = [next(reply) for _ in range(4)]
        swapped = engine.swap(lambda: PackedRunner(other, exact=True))
        gated.leave.release(1)
        swapped.result(timeout=20)
        tokens, ended = _read(reply)
        assert ended.versions == (0, 1)
        assert len(read) + len(tokens) == 12
        after = _read(engine.submit(ASKED))[0]
    assert after == alone(PackedRunner(other, exact=True), ASKED).tokens


def test_weights_that_cannot_be_had_change_nothing(grouped: Decoder) -> None:
    def missing() -> Runner:
        raise ConfigError("no such weights")

    with _engine(lambda: batcher_of(PackedRunner(grouped, exact=True))) as engine:
        with pytest.raises(ConfigError, match="no such weights"):
            engine.swap(missing).result(timeout=20)
        assert _read(engine.submit(ASKED))[1].versions == (0, 0)


def test_an_engine_that_cannot_be_built_says_why() -> None:
    def missing() -> Batcher:
        raise ConfigError("no such model")

    with pytest.raises(ConfigError, match="no such model"):
        Engine(missing, threads=1)


def test_a_step_that_fails_is_told_and_the_engine_goes_on(grouped: Decoder) -> None:
    class Failing(Gated):
        broken = True

        def run(self, step: Step) -> Tensor:
            if self.broken and len(step.tokens) == 2:
                raise MemoryError("no room")
            return self._inner.run(step)

    failing = Failing(PackedRunner(grouped, exact=True))
    with _engine(lambda: batcher_of(failing)) as engine:
        replies = [engine.submit(replace(ASKED, max_new_tokens=190, seed=n)) for n in range(2)]
        for reply in replies:
            with pytest.raises(MemoryError, match="no room"):
                list(reply)
        failing.broken = False
        assert len(_read(engine.submit(ASKED))[0]) == 12


def test_what_is_wrong_is_said_at_once(grouped: Decoder) -> None:
    with (
        _engine(lambda: batcher_of(PackedRunner(grouped, exact=True))) as engine,
        pytest.raises(ConfigError, match="temperature"),
    ):
        engine.submit(replace(ASKED, temperature=-1.0))


def test_closing_writes_what_was_taken(grouped: Decoder) -> None:
    engine = Engine(lambda: batcher_of(PackedRunner(grouped, exact=True), slots=1), threads=1)
    replies = [engine.submit(replace(ASKED, seed=seed)) for seed in range(4)]
    engine.close(timeout_seconds=0)
    with pytest.raises(EngineClosed):
        engine.submit(ASKED)
    with pytest.raises(EngineClosed):
        engine.swap(lambda: PackedRunner(grouped, exact=True))
    assert [len(_read(reply)[0]) for reply in replies] == [12] * 4
    assert engine.close(timeout_seconds=20)


def test_the_model_runs_in_one_thread_with_its_own_settings(grouped: Decoder) -> None:
    seen: set[tuple[str, int]] = set()

    class Noting(Gated):
        def run(self, step: Step) -> Tensor:
            seen.add((threading.current_thread().name, torch.get_num_threads()))
            return self._inner.run(step)

    with _engine(lambda: batcher_of(Noting(PackedRunner(grouped, exact=True)))) as engine:
        _read(engine.submit(ASKED))
        began = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - began < 0.2  # an idle engine sleeps
    assert seen == {("engine", 1)}
