"""Choosing tokens: the softmax's frequencies, truncation, bias, log-probabilities, noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from parley.engine.choice import Roster, choose, kept
from parley.engine.requests import Ended, Request, Ticket, Token
from parley.errors import ConfigError
from parley.model.decoder import Decoder
from tests.engine.conftest import hidden

ASKED = Request(prompt=(1,), max_new_tokens=4)
CPU = torch.device("cpu")


def _chosen(logits: Tensor, requests: list[Request], uniform: list[float]) -> list[Token]:
    found = choose(logits, Roster.of(requests, logits.shape[1], CPU), uniform)
    return [token for token in found if token is not None]


def _ids(logits: Tensor, requests: list[Request], uniform: list[float]) -> list[int]:
    return [token.id for token in _chosen(logits, requests, uniform)]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.8)])
def test_frequencies_follow_the_softmax(decoder: Decoder, temperature: float, top_p: float) -> None:
    draws = 20_000
    logits = decoder.logits(hidden(decoder, [7, 8, 9])[-1]).detach() / 4  # flat enough to draw many tokens
    request = replace(ASKED, temperature=temperature, top_p=top_p, max_new_tokens=draws)
    ids = _ids(logits.expand(draws, -1), [request] * draws, request.noise())
    counts = torch.tensor(ids).bincount(minlength=len(logits)).double()
    expected = torch.softmax(logits.double() / temperature, -1)
    if top_p < 1:
        stays = kept(expected[None].float(), torch.tensor([[top_p]]), torch.tensor([[len(logits)]]))[0] > 0
        assert expected[stays].sum() >= top_p
        assert expected[stays].sum() - expected[stays].min() < top_p
        expected = expected * stays / expected[stays].sum()
        assert counts[~stays].sum() == 0
    expected = expected * draws
    large = expected >= 5
    observed = torch.cat([counts[large], counts[~large].sum()[None]])
    wanted = torch.cat([expected[large], expected[~large].sum()[None]]).clamp(min=1e-9)
    square = float(((observed - wanted) ** 2 / wanted).sum())
    freedom = len(wanted) - 1
    assert freedom > 20
    assert square < freedom + 4 * (2 * freedom) ** 0.5  # about four standard deviations


def test_the_inverse_of_the_distribution_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    for uniform, token in ((0.0, 0), (0.49, 0), (0.51, 1), (0.74, 1), (0.76, 2), (1 - 2**-53, 2)):
        assert _ids(logits, [ASKED], [uniform]) == [token]
    nothing = torch.tensor([[-np.inf, 0.0, -np.inf]])
    assert [_ids(nothing, [ASKED], [u]) for u in (0.0, 0.5, 1 - 2**-53)] == [[1]] * 3


def test_every_row_has_its_own_settings() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]]).expand(6, -1)
    requests = [
        replace(ASKED, temperature=0.0),
        replace(ASKED, temperature=0.0, logit_bias={3: 9.0}),
        replace(ASKED, top_k=1),
        replace(ASKED, top_k=2),
        replace(ASKED, top_p=1e-9),
        replace(ASKED, logit_bias={0: -100.0, 1: -100.0, 2: -100.0}),
    ]
    assert _ids(logits, requests, [0.999999] * 6) == [0, 3, 0, 1, 0, 3]
    whole = [_ids(logits[:1], [one], [0.999999])[0] for one in requests]
    assert whole == [0, 3, 0, 1, 0, 3]


def test_of_equal_tokens_the_first_stay() -> None:
    equal = torch.full((1, 5), 0.2)
    assert kept(equal, torch.tensor([[0.5]]), torch.tensor([[5]]))[0].nonzero()[:, 0].tolist() == [0, 1, 2]
    assert kept(equal, torch.tensor([[1.0]]), torch.tensor([[2]]))[0].nonzero()[:, 0].tolist() == [0, 1]


def test_logprobs_are_the_models_own() -> None:
    logits = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    told = replace(ASKED, temperature=0.5, logit_bias={4: 50.0}, logprobs=3)
    plain, found = _chosen(logits, [ASKED, told], [0.5, 0.5])
    assert plain.logprob is None
    assert found.id == 4
    own = torch.log_softmax(logits[1], -1)
    assert found.logprob == pytest.approx(float(own[4]))
    assert [token for token, _ in found.likeliest] == own.argsort(descending=True)[:3].tolist()
    assert _chosen(logits[1:], [replace(told, logprobs=0)], [0.5])[0].likeliest == ()


def test_what_is_not_a_number_is_not_chosen_from() -> None:
    logits = torch.zeros(3, 4)
    logits[1, 2] = torch.nan
    for temperature in (0.0, 1.0):
        requests = [replace(ASKED, temperature=temperature, logprobs=1)] * 3
        found = choose(logits, Roster.of(requests, 4, CPU), [0.1] * 3)
        assert [token is None for token in found] == [False, True, False]


def test_noise_is_philox_by_seed_and_position() -> None:
    """Known answer: Philox 4x64-10 with key 7, its first outputs, by Random123's definition."""
    noise = replace(ASKED, seed=7, max_new_tokens=9).noise()
    raw = _philox(key=7, count=9)
    assert noise == [(word >> 11) * 2.0**-53 for word in raw]
    assert replace(ASKED, seed=7, max_new_tokens=3).noise() == noise[:3]
    assert replace(ASKED, seed=-1).noise() == replace(ASKED, seed=2**64 - 1).noise() != noise[:4]
    many = np.array([replace(ASKED, seed=seed, max_new_tokens=1).noise()[0] for seed in range(4000)])
    assert abs(np.histogram(many, 10, (0, 1))[0] - 400).max() < 5 * 400**0.5


def _philox(*, key: int, count: int) -> list[int]:
    """The words of the blocks with counters 1, 2, … (Salmon et al. 2011, algorithm 4x64 with 10 rounds)."""
    found: list[int] = []
    mask = 2**64 - 1
    for block in range(1, count // 4 + 2):
        words, keys = [block, 0, 0, 0], [key, 0]
        for _ in range(10):
            a, b = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
            words = [(b >> 64) ^ words[1] ^ keys[0], b & mask, (a >> 64) ^ words[3] ^ keys[1], a & mask]
            keys = [(keys[0] + 0x9E3779B97F4A7C15) & mask, (keys[1] + 0xBB67AE8584CAA73B) & mask]
        found += words
    return found[:count]


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"logit_bias": {1: float("inf")}}, "logit_bias"),
        ({"logit_bias": {10**6: 1.0}}, "token 1000000"),
        ({"prompt": (1, -1)}, "token -1"),
        ({"prompt": ()}, "at least one token"),
        (
            {"prompt": (1,) * 90, "max_new_tokens": 7},
            "90 tokens and 7 new ones exceed the model's context of 96",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(decoder: Decoder, wrong: dict[str, object], name: str) -> None:
    ASKED.check(decoder.config)
    with pytest.raises(ConfigError, match=name):
        replace(ASKED, **wrong).check(decoder.config)  # type: ignore[arg-type]


def test_penalties_take_from_what_was_drawn_already() -> None:
    logits = torch.tensor([[2.0, 1.5, 0.0]])
    greedy = replace(ASKED, temperature=0.0, presence_penalty=0.25, frequency_penalty=0.5)
    ticket = Ticket(greedy, Unheard(), [], 0.0)
    drawn = []
    for _ in range(5):
        roster = Roster.of([greedy], 3, CPU)
        (token,) = choose(logits, roster, [0.0], [ticket.penalties()])
        assert token is not None
        drawn.append(token.id)
        ticket.take(token)
    # logits before each draw: 2, 1.5 | 1.25, 1.5 | 1.25, 0.75 | 0.75, 0.75 (the lower id) | 0.25, 0.75
    assert drawn == [0, 1, 0, 0, 1]
    assert ticket.penalties() == {0: -1.75, 1: -1.25}
    assert Ticket(ASKED, Unheard(), [], 0.0, drawn=[0, 0]).penalties() == {}


class Unheard:
    def take(self, token: Token) -> bool:
        return False

    def end(self, ended: Ended | Exception) -> None:
        pass
