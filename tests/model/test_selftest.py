"""The self-test: a plan from measurements, in about a second, and denormals flushed everywhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from parley.model import selftest
from parley.model.selftest import apply_plan, choose_plan, product_error
from parley.numerics import NumericPlan


def test_a_product_that_is_too_wrong_or_too_slow_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(64, 64), torch.randn(64, 64)
    assert product_error(x, weight, torch.float32) == 0
    assert 1e-4 < product_error(x, weight, torch.bfloat16) < selftest.WORST_ERROR
    assert product_error(x * torch.inf, weight, torch.bfloat16) == torch.inf
    monkeypatch.setattr(selftest, "shortest_seconds", lambda *_: 1.0)
    assert choose_plan() == NumericPlan()  # all paths equally fast: the plain ones
    speeds = iter([1.3, 1.0] * 4 + [1.2, 1.0])  # slow then fast, at every shape and for the threads
    monkeypatch.setattr(selftest, "shortest_seconds", lambda *_: next(speeds))
    monkeypatch.setattr(selftest, "physical_cores", lambda: 8)
    assert choose_plan() == NumericPlan(threads=7, linear="bfloat16", attention="fused")
    monkeypatch.setattr(selftest, "shortest_seconds", lambda *_: 1.0)
    monkeypatch.setattr(selftest, "WORST_ERROR", 1e-6)
    monkeypatch.setattr(selftest, "GAIN_FOR_BFLOAT16", 0.0)
    assert choose_plan().linear == "float32"


def test_applying_a_plan_sets_the_threads() -> None:
    before = torch.get_num_threads()
    try:
        apply_plan(NumericPlan(threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


PROBE = """
import sys
from parley.model.process import prepare_process
assert "torch" not in sys.modules
prepare_process()
import os, threading, torch
torch.set_num_threads(2)
tiny = torch.full((1 << 20,), 1e-40)  # large enough to be shared out among the pool's threads
assert (tiny * 1.0).count_nonzero() == 0
found = []
thread = threading.Thread(target=lambda: found.append(int((tiny * 1.0).count_nonzero())))
thread.start(); thread.join()
assert found == [0], found
weight = torch.full((1 << 20,), 1e-40, requires_grad=True)
(weight * 1.0).backward(tiny)
assert weight.grad.count_nonzero() == 0
assert os.environ.get("OMP_WAIT_POLICY") or os.environ["GOMP_SPINCOUNT"]
from parley.model.selftest import choose_plan, physical_cores
assert choose_plan().threads in (1, physical_cores() - 1)
assert torch.get_num_threads() == 2
"""


def test_denormals_are_flushed_in_every_thread() -> None:
    """And the real self-test, which leaves the thread count as it was."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
