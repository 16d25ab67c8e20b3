"""Packing: nothing lost, nothing leaks, the loss is that of the examples alone (rules S3, S4, R7)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.model.heads import RewardModel, ValueModel
from parley.rlhf import batches
from parley.rlhf.batches import (
    Batch,
    TokenSet,
    chunks,
    epoch_batches,
    in_order_batches,
    pack,
    packed_batch,
    reply_batch,
)
from parley.rlhf.forward import (
    policy_logprobs,
    reward_scores,
    score_all,
    state_values,
    supervised_logprobs,
)
from parley.rlhf.losses import sft_loss
from tests.tiny import tiny_decoder, tiny_tokenizer

PAD = tiny_tokenizer().pad


def examples(count: int, *, seed: int = 0, longest: int = 12) -> TokenSet:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, count)
    return TokenSet.of((rng.integers(6, 280, n).tolist(), (rng.random(n) > 0.4).tolist()) for n in lengths)


def one_a_row(data: TokenSet, indices: list[int]) -> Batch:
    return packed_batch(data, [[i] for i in indices], pad=PAD, device="cpu")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10), min_size=1, max_size=60), st.integers(10, 24), st.integers(1, 5))
def test_every_example_is_packed_once_and_fits(lengths: list[int], row_tokens: int, num_rows: int) -> None:
    batches = list(pack(np.array(lengths), range(len(lengths)), row_tokens=row_tokens, num_rows=num_rows))
    seen = [index for rows in batches for row in rows for index in row]
    assert sorted(seen) == list(range(len(lengths)))
    assert all(len(rows) <= num_rows for rows in batches)
    assert all(sum(lengths[i] for i in row) <= row_tokens for rows in batches for row in rows)


def test_an_example_longer_than_a_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="11 tokens, a row only 10"):
        list(pack(np.array([3, 11]), range(2), row_tokens=10, num_rows=4))


def test_the_order_of_an_epoch_depends_on_its_seed_alone() -> None:
    data = examples(50)
    first, again, other = (
        epoch_batches(data, seed=seed, row_tokens=32, batch_tokens=128) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_chunks_predict_every_token_once() -> None:
    tokens = list(range(23))
    pieces = list(chunks(tokens, size=6))
    assert all(len(piece) <= 6 for piece in pieces)
    assert [token for piece in pieces for token in piece[1:]] == tokens[1:]
    assert list(chunks([7], size=6)) == [[7]]


def test_packed_likelihoods_equal_those_of_the_examples_alone() -> None:
    decoder, data = tiny_decoder(), examples(20)
    (rows,) = in_order_batches(data, row_tokens=40, batch_tokens=4000)
    packed = supervised_logprobs(decoder, packed_batch(data, rows, pad=PAD, device="cpu"))
    order = [index for row in rows for index in row]
    alone = torch.cat([supervised_logprobs(decoder, one_a_row(data, [i])) for i in order])
    torch.testing.assert_close(packed, alone, atol=2e-6, rtol=1e-5)
    assert len(packed) == int(data.mask.sum())


def test_a_supervised_token_is_predicted_by_the_state_before_it() -> None:
    decoder, data = tiny_decoder(), examples(12)
    for index in (n for n in range(12) if data.example(n)[1][1:].any()):
        alone = one_a_row(data, [index])
        hidden = decoder(alone.tokens, alone.positions, alone.bias)[0]
        rows = decoder.logits(hidden).double().log_softmax(-1)
        expected = [rows[t - 1, alone.tokens[0, t]] for t in alone.mask[0].nonzero().flatten().tolist()]
        torch.testing.assert_close(
            supervised_logprobs(decoder, alone).double(), torch.stack(expected), atol=2e-6, rtol=1e-5
        )


def test_the_gradient_of_a_packed_batch_is_that_of_padded_rows() -> None:
    decoder, data = tiny_decoder(), examples(12)
    gradients = []
    for rows in ([[n] for n in range(12)], in_order_batches(data, row_tokens=30, batch_tokens=9000)[0]):
        decoder.zero_grad()
        logprobs = supervised_logprobs(decoder, packed_batch(data, rows, pad=PAD, device="cpu"))
        sft_loss(logprobs, torch.ones_like(logprobs, dtype=torch.bool)).backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([p.grad.flatten() for p in decoder.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_scores_do_not_depend_on_batch_mates_or_packing() -> None:
    """R7: read at the last real token, wherever it lies; readers' surprise included."""
    torch.manual_seed(0)
    model = RewardModel(tiny_decoder(1), [tiny_decoder(2), tiny_decoder(3)])
    data = examples(15)
    alone = torch.cat([reward_scores(model, one_a_row(data, [i])) for i in range(len(data))])
    assert alone.std() > 1e-3
    for batch_tokens in (12, 40, 4000):
        found = score_all(model, data, pad=PAD, batch_tokens=batch_tokens)
        torch.testing.assert_close(found, alone.detach(), atol=2e-5, rtol=1e-4)


def test_surprise_reaches_the_score() -> None:
    torch.manual_seed(0)
    trunk = tiny_decoder(1)
    data = examples(6)
    scores = [score_all(_reward(trunk, reader), data, pad=PAD) for reader in (4, 5)]
    assert (scores[0] - scores[1]).abs().max() > 1e-4


def _reward(trunk: torch.nn.Module, reader: int) -> RewardModel:
    torch.manual_seed(9)
    return RewardModel(trunk, [tiny_decoder(reader)])  # type: ignore[arg-type]


def test_everything_is_aligned_to_the_token_it_speaks_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index t: log-probability of token t, value of the state before it, both from position t - 1; in
    the order asked for, however the examples were packed."""
    monkeypatch.setattr(batches, "PACKED_REPLIES", 30)
    decoder, data = tiny_decoder(), examples(40)
    value = ValueModel(tiny_decoder(7))
    torch.nn.init.normal_(value.head.weight)
    order = [4, 31, 0, 17, 22, 9, 38, 11, 5, 29, 14, 3]
    replies = reply_batch(data, order, pad=PAD, device="cpu")
    assert len(replies.packed.tokens) < len(order), "several a row"
    assert replies.place.tolist() != sorted(replies.place.tolist()), "in another order"
    logprobs = policy_logprobs(decoder, replies, temperature=0.7)
    values = state_values(value, replies)
    assert (logprobs[~replies.mask] == 0).all()
    assert (values[~replies.mask] == 0).all()
    for b, index in enumerate(order):
        alone = one_a_row(data, [index])
        assert replies.mask[b, : alone.tokens.shape[1]].tolist() == alone.mask[0].tolist()
        hidden = decoder(alone.tokens, alone.positions, alone.bias)[0]
        raw = value(alone.tokens, alone.positions, alone.bias)[0]
        for t in alone.mask[0].nonzero().flatten().tolist():
            row = (decoder.logits(hidden[t - 1]) / 0.7).double().log_softmax(-1)
            assert logprobs[b, t].item() == pytest.approx(row[alone.tokens[0, t]].item(), abs=1e-5)
            assert values[b, t].item() == pytest.approx(raw[t - 1].item(), abs=1e-5)


def test_the_last_token_of_every_example_is_found() -> None:
    data = examples(6)
    batch = one_a_row(data, list(range(6)))
    assert batch.last.tolist() == [b * batch.tokens.shape[1] + int(n) - 1 for b, n in enumerate(data.lengths)]
