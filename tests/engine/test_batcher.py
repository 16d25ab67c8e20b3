"""Continuous batching: every reply is what it would be alone, whatever comes and goes beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from parley.engine.batcher import Batcher
from parley.engine.packed import PackedRunner
from parley.engine.requests import Ended, Request, Ticket
from parley.engine.runner import CHUNK, ModelRunner, Runner
from parley.engine.sampler import complete
from parley.errors import InvariantError
from parley.model.decoder import Decoder
from parley.numerics import NumericPlan
from tests.engine.conftest import (
    Heard,
    Watched,
    alone,
    batcher_of,
    finish,
    hidden,
    prompts_of,
    strong,
)

ASKED = Request(prompt=(5, 6, 7), max_new_tokens=6, seed=3)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, when it comes, and after how many of its tokens it is cancelled (0: never)."""

    request: Request
    arrives: int
    leaves: int


_WORDS = prompts_of(6, vocabulary=211, longest=150, seed=1)
_PROMPTS = st.one_of(
    st.sampled_from(_WORDS),  # equal prompts
    st.builds(
        lambda a, b: (a + b)[:180], st.sampled_from(_WORDS), st.sampled_from(_WORDS)
    ),  # shared beginnings
    st.lists(st.integers(0, 210), min_size=1, max_size=70).map(tuple),
)
_REQUESTS = st.builds(
    Request,
    prompt=_PROMPTS,
    max_new_tokens=st.integers(1, 12),
    temperature=st.sampled_from((0.0, 0.8, 1.5)),
    top_p=st.sampled_from((1.0, 0.9)),
    top_k=st.sampled_from((0, 5)),
    seed=st.integers(-(2**63), 2**63 - 1),
    stop_ids=st.sampled_from((frozenset[int](), frozenset(range(0, 211, 7)))),
    logit_bias=st.sampled_from(({}, {3: 2.0})),
    logprobs=st.sampled_from((None, 2)),
    bulk=st.booleans(),
    remember=st.booleans(),
)
_VISITS = st.lists(st.builds(Visit, _REQUESTS, st.integers(0, 15), st.integers(0, 6)), min_size=1, max_size=9)


def _visited(batcher: Batcher, visits: list[Visit]) -> list[Heard]:
    heard = [Heard() for _ in visits]
    tickets: dict[int, Ticket] = {}
    clock = 0
    while not batcher.idle or len(tickets) < len(visits):
        for number, visit in enumerate(visits):
            if visit.arrives == clock:
                tickets[number] = batcher.add(visit.request, heard[number])
            if number in tickets and visit.leaves and len(heard[number].tokens) >= visit.leaves:
                tickets[number].cancelled = True
        batcher.step()
        clock += 1
    return heard


@pytest.mark.parametrize("kind", ["packed", "model"])
def test_replies_hang_on_weights_prompt_and_seed_alone(grouped: Decoder, kind: str) -> None:
    """Tokens and log-probabilities, bit for bit, under any arrivals and cancellations, with prefixes
    shared and remembered, in batches of any size."""
    runner: Runner = PackedRunner(grouped, exact=True)
    if kind == "model":
        runner = ModelRunner(grouped, exact=True)
    # `ModelRunner`'s shapes are those of its slots: then the reply alone has as many.
    slots = st.sampled_from((1, 3, 5)) if kind == "packed" else st.just(3)

    @settings(max_examples=60 if kind == "packed" else 15, deadline=None, derandomize=True)
    @given(visits=_VISITS, slots=slots, prefix_bytes=st.sampled_from((0, 40_000, 10**8)))
    def check(visits: list[Visit], slots: int, prefix_bytes: int) -> None:
        found = _visited(batcher_of(runner, slots=slots, prefix_bytes=prefix_bytes), visits)
        for visit, heard in zip(visits, found, strict=True):
            batcher, whole = batcher_of(runner, slots=1 if kind == "packed" else 3), Heard()
            batcher.add(replace(visit.request, remember=False), whole)
            finish(batcher)
            if heard.reason == "cancelled":
                assert len(heard.tokens) == visit.leaves
                assert heard.tokens == whole.tokens[: visit.leaves]
            else:
                assert heard.tokens == whole.tokens
                assert heard.reason == whole.reason

    check()


def test_logits_are_the_same_bit_for_bit(grouped: Decoder) -> None:
    class Kept(Watched):
        def run(self, step: object) -> Tensor:
            found = super().run(step)  # type: ignore[arg-type]
            logits.append(found)
            return found

    logits: list[Tensor] = []
    runner = Kept(PackedRunner(grouped, exact=True))
    for prompt in prompts_of(4, vocabulary=211, longest=120):
        request = replace(ASKED, prompt=prompt, temperature=0.0)
        logits.clear()
        alone(runner, request)
        whole = torch.cat([found for found in logits if len(found)])
        logits.clear()
        batcher, heard = batcher_of(runner, slots=9, reading_rows=4), Heard()
        batcher.add(request, heard)
        for other in prompts_of(8, vocabulary=211, longest=190, seed=len(prompt)):
            batcher.add(replace(ASKED, prompt=other[:150], max_new_tokens=40), Heard())
            batcher.step()
        finish(batcher)
        rows = [found[0] for found in logits if len(found)][: len(whole)]
        assert torch.equal(torch.stack(rows), whole)


@pytest.mark.parametrize("exact", [True, False])
def test_greedy_tokens_are_those_of_transformers(runner: Runner, grouped: Decoder, exact: bool) -> None:
    config = LlamaConfig(**grouped.config.to_hf(), attn_implementation="eager")
    theirs = LlamaForCausalLM(config).eval()
    theirs.load_state_dict(grouped.hf_weights)
    if not exact:
        runner = type(runner)(grouped, exact=False)  # type: ignore[call-arg]
    prompts = prompts_of(7, vocabulary=211, longest=150, seed=8)
    prompts += [prompts[0], prompts[0][:CHUNK], prompts[1]]
    requests = [replace(ASKED, prompt=one, temperature=0.0, max_new_tokens=16) for one in prompts]
    batcher = batcher_of(runner, slots=6, reading_rows=3, prefix_bytes=10**8)
    heard = _visited(batcher, [Visit(one, 2 * n, 5 if n == 4 else 0) for n, one in enumerate(requests)])
    for request, found in zip(requests, heard, strict=True):
        with torch.inference_mode():
            ids = torch.tensor([request.prompt])
            whole = theirs.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=16,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )[0, len(request.prompt) :].tolist()
        assert list(found.ids) == whole[: len(found.ids)]
        assert len(found.ids) == (5 if found.reason == "cancelled" else 16)


def test_logprobs_are_those_of_teacher_forcing(runner: Runner, grouped: Decoder) -> None:
    """P1: what was drawn from is what the learner computes."""
    request = replace(ASKED, logprobs=1, max_new_tokens=12, prompt=prompts_of(1, vocabulary=211)[0])
    heard = alone(runner, request)
    whole = [*request.prompt, *heard.ids]
    forced = grouped.token_logprobs(
        hidden(grouped, whole)[len(request.prompt) - 1 : -1], torch.tensor(heard.ids)
    )
    told = torch.tensor([token.logprob for token in heard.tokens])
    torch.testing.assert_close(told, forced.detach(), atol=1e-4, rtol=0)


def test_a_long_prompt_does_not_stall_a_running_reply(runner: Runner) -> None:
    watched = Watched(runner)
    batcher, first, long = batcher_of(watched), Heard(), Heard()
    batcher.add(replace(ASKED, max_new_tokens=30), first)
    batcher.step()
    batcher.add(replace(ASKED, prompt=(9,) * 170), long)
    steps = 0
    while not long.tokens:
        batcher.step()
        steps += 1
    assert steps == 3  # 170 tokens, at most 64 a step
    assert len(first.tokens) == 1 + steps
    assert max(watched.prompt_tokens) <= 64
    finish(batcher)


def test_equal_prompts_are_read_once(runner: Runner) -> None:
    watched = Watched(runner)
    heard = [Heard() for _ in range(4)]
    batcher = batcher_of(watched)
    for number, one in enumerate(heard):
        batcher.add(replace(ASKED, prompt=(9,) * 50, seed=number, temperature=2.0), one)
    finish(batcher)
    assert sum(watched.prompt_tokens) == 50
    assert len({one.ids for one in heard}) == 4
    reused = [one.ended.prompt_reused for one in heard if isinstance(one.ended, Ended)]
    assert reused == [0, 50, 50, 50]


def test_several_replies_are_independent_ones_to_one_reading(runner: Runner) -> None:
    asked = Request(prompt=tuple(range(40)), max_new_tokens=9, seed=7).several(6)
    assert len({one.seed for one in asked}) == 6
    assert asked[0].seed == 7
    assert asked[0].several(2) == asked[:2]
    for slots in (2, 6):  # the others wait; what was read stays for them
        watched = Watched(runner)
        batcher, heard = batcher_of(watched, slots=slots), [Heard() for _ in asked]
        for one, sink in zip(asked, heard, strict=True):
            batcher.add(replace(one, stop_ids=frozenset(range(0, 211, 9))), sink)
        finish(batcher)
        assert sum(watched.prompt_tokens) == 40
        whole = [alone(runner, one).ids for one in asked]
        assert all(own.ids == ids[: len(own.ids)] for own, ids in zip(heard, whole, strict=True))


def test_a_prompt_that_was_read_stays_only_while_somebody_waits_for_it(runner: Runner) -> None:
    asked = replace(ASKED, prompt=tuple(range(40)), remember=False).several(3)
    watched = Watched(runner)
    batcher, heard = batcher_of(watched, slots=1, reading_rows=1), [Heard() for _ in range(4)]
    first, second = (batcher.add(one, sink) for one, sink in zip(asked[:2], heard, strict=False))
    batcher.step()
    assert watched.prompt_tokens == [40]
    second.cancelled = True
    other = replace(ASKED, prompt=(9,) * 30)
    batcher.add(other, heard[2])
    batcher.add(asked[2], heard[3])
    first.cancelled = True
    finish(batcher)
    assert sum(watched.prompt_tokens) == 40 + 30 + 40  # the other one needed the row
    assert heard[2].ids == alone(runner, other).ids
    assert heard[3].ids == alone(runner, asked[2]).ids
    assert [one.reason for one in heard[:2]] == ["cancelled"] * 2


def test_new_weights_read_a_prompt_again_that_stayed(grouped: Decoder) -> None:
    old, new = PackedRunner(grouped, exact=True), PackedRunner(strong(grouped.config, seed=9), exact=True)
    batcher, heard = batcher_of(old, slots=1, reading_rows=1), [Heard(), Heard()]
    asked = replace(ASKED, prompt=tuple(range(40))).several(2)
    for one, sink in zip(asked, heard, strict=True):
        batcher.add(one, sink)
    batcher.step()
    batcher.swap(new)
    finish(batcher)
    assert heard[1].ids == alone(new, asked[1]).ids


def test_the_next_turn_reads_only_what_is_new(runner: Runner) -> None:
    watched = Watched(runner)
    block = 2 * 2 * 2 * CHUNK * 10 * 4  # keys and values, layers, heads, tokens, width, bytes
    batcher = batcher_of(watched, prefix_bytes=3 * block)
    first = tuple(range(70))

    def read(prompt: tuple[int, ...], *, remember: bool = True) -> int:
        before, heard = sum(watched.prompt_tokens), Heard()
        batcher.add(replace(ASKED, prompt=prompt, remember=remember), heard)
        finish(batcher)
        assert isinstance(heard.ended, Ended)
        count = sum(watched.prompt_tokens) - before
        assert heard.ended.prompt_reused == len(prompt) - count
        return count

    assert read(first) == 70
    assert read((*first, *range(30))) == 36
    assert read(first[:64]) == 32  # the last token is always read, with its chunk
    assert read((*first, *range(30)), remember=False) == 100
    assert read((1, *first)) == 71
    assert read((2, *first)) == 71  # only three chunks fit: what was longest unused has left
    assert read(first) == 70
    batcher.swap(watched)
    assert read(first) == 70  # other weights


def test_cancelling_frees_the_slot_within_a_token(runner: Runner) -> None:
    batcher, first, second = batcher_of(runner, slots=1), Heard(), Heard()
    ticket = batcher.add(replace(ASKED, max_new_tokens=50), first)
    batcher.add(ASKED, second)
    for _ in range(4):
        batcher.step()
    ticket.cancelled = True
    batcher.step()
    assert (first.reason, len(first.tokens), len(second.tokens)) == ("cancelled", 4, 1)
    finish(batcher)
    assert second.tokens == alone(runner, ASKED).tokens


def test_cancelled_while_waiting_or_reading(runner: Runner) -> None:
    batcher, heard = batcher_of(runner, slots=2, reading_rows=1), [Heard() for _ in range(4)]
    long = replace(ASKED, prompt=(9,) * 150)
    tickets = [
        batcher.add(request, one) for request, one in zip((long, long, long, ASKED), heard, strict=True)
    ]
    batcher.step()
    tickets[0].cancelled = tickets[2].cancelled = True  # a leader of two, and one that waits
    batcher.step()
    assert [one.ended is not None for one in heard] == [True, False, True, False]
    finish(batcher)
    assert [one.reason for one in heard] == ["cancelled", "length", "cancelled", "length"]
    assert heard[1].tokens == alone(runner, long).tokens


def test_deadlines_end_replies_wherever_they_are(runner: Runner) -> None:
    batcher, heard = batcher_of(runner, slots=1), [Heard(), Heard(), Heard()]
    soon = time.monotonic() + 0.05
    batcher.add(replace(ASKED, max_new_tokens=150, deadline=time.monotonic() + 60), heard[0])
    batcher.add(replace(ASKED, deadline=soon), heard[1])
    batcher.add(replace(ASKED, deadline=0.0), heard[2])
    batcher.step()
    assert heard[2].reason == "deadline"
    time.sleep(0.06)
    batcher.step()
    assert (heard[1].reason, heard[1].tokens) == ("deadline", [])
    finish(batcher)
    assert heard[0].reason == "length"


def test_people_come_before_bulk_work_and_do_not_starve_it(runner: Runner) -> None:
    batcher = batcher_of(runner, slots=1)
    began: list[str] = []

    def named(name: str) -> Heard:
        class Named(Heard):
            def end(self, ended: object) -> None:
                began.append(name)

        return Named()

    for number in range(3):
        batcher.add(replace(ASKED, bulk=True, max_new_tokens=1), named(f"bulk {number}"))
    for number in range(9):
        batcher.add(replace(ASKED, max_new_tokens=1), named(f"person {number}"))
    finish(batcher)
    people = [f"person {number}" for number in range(9)]
    assert began == [*people[:4], "bulk 0", *people[4:8], "bulk 1", people[8], "bulk 2"]


def test_some_slots_are_kept_from_bulk_work(grouped: Decoder) -> None:
    runner = Watched(PackedRunner(grouped, exact=True))
    batcher = Batcher(runner, slots=4, columns=200, reserved=1)
    for seed in range(9):
        batcher.add(replace(ASKED, bulk=True, seed=seed, max_new_tokens=20), Heard())
    for _ in range(5):
        batcher.step()
    assert batcher.num_running == 3
    person = Heard()
    batcher.add(replace(ASKED, max_new_tokens=2), person)
    batcher.step()
    assert len(person.tokens) == 1
    finish(batcher)
    assert max(runner.written) == 4


def test_other_weights_between_two_tokens(grouped: Decoder) -> None:
    """A reply that has begun goes on; a prompt that is being read begins again."""
    before = PackedRunner(grouped, exact=True)
    after = PackedRunner(strong(grouped.config, seed=4), exact=True)
    requests = [replace(ASKED, max_new_tokens=10), replace(ASKED, prompt=(9,) * 150), replace(ASKED, seed=8)]
    batcher, heard = batcher_of(before), [Heard() for _ in requests]
    for request, one in zip(requests[:2], heard[:2], strict=True):
        batcher.add(request, one)
    batcher.step()
    batcher.step()
    assert (len(heard[0].tokens), len(heard[1].tokens)) == (2, 0)
    batcher.swap(after)
    batcher.add(requests[2], heard[2])
    finish(batcher)
    old, new = ([alone(runner, request) for request in requests] for runner in (before, after))
    assert heard[0].tokens[:2] == old[0].tokens[:2]
    assert heard[0].tokens[2:] not in (old[0].tokens[2:], new[0].tokens[2:])
    assert [one.tokens for one in heard[1:]] == [one.tokens for one in new[1:]]
    assert [one.ended.versions for one in heard if isinstance(one.ended, Ended)] == [(0, 1), (1, 1), (1, 1)]


def test_broken_weights_are_said_to_everybody(grouped: Decoder) -> None:
    broken = strong(grouped.config)
    with torch.no_grad():
        broken.norm.weight.fill_(torch.nan)
    good = PackedRunner(grouped, exact=True)
    batcher, heard = batcher_of(good), [Heard() for _ in range(3)]
    for one in heard:
        batcher.add(ASKED, one)
    batcher.step()
    batcher.swap(PackedRunner(broken, exact=True))
    with pytest.raises(InvariantError, match="not numbers") as caught:
        batcher.step()
    batcher.fail(caught.value)
    assert [one.ended for one in heard] == [caught.value] * 3
    assert batcher.idle
    batcher.swap(good)
    again = Heard()
    batcher.add(ASKED, again)
    finish(batcher)
    assert again.tokens == alone(good, ASKED).tokens


def test_a_sink_may_end_its_reply(runner: Runner) -> None:
    class Brief(Heard):
        def take(self, token: object) -> bool:
            super().take(token)  # type: ignore[arg-type]
            return len(self.tokens) == 2

    batcher, brief = batcher_of(runner), Brief()
    batcher.add(ASKED, brief)
    finish(batcher)
    assert (brief.reason, len(brief.tokens)) == ("stop", 2)


@pytest.mark.parametrize("make", [PackedRunner, ModelRunner])
def test_bfloat16_is_close(grouped: Decoder, make: Callable[..., Runner]) -> None:
    """The fast mode: log-probabilities within 0.02 of the trainer's on this model's scale of weights."""
    gentle = Decoder(grouped.config).initialise(torch.Generator().manual_seed(0))
    gentle.use(NumericPlan(linear="bfloat16", bfloat16_width=1))
    runner = make(gentle, exact=False)
    requests = [
        replace(ASKED, prompt=prompt, max_new_tokens=20, seed=n)
        for n, prompt in enumerate(prompts_of(6, vocabulary=211))
    ]
    found = complete(runner, requests, batch_size=3)
    heard = alone(runner, replace(requests[0], logprobs=0))
    whole = [*requests[0].prompt, *heard.ids]
    gentle.use(NumericPlan())
    states = hidden(gentle, whole)[len(requests[0].prompt) - 1 : -1]
    forced = gentle.token_logprobs(states, torch.tensor(heard.ids)).detach()
    told = torch.tensor([token.logprob for token in heard.tokens])
    assert 0 < float((told - forced).abs().max()) < 0.02
    assert {len(one.tokens) for one in found} == {20}
