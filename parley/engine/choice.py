"""One token for each reply from its logits, each by its own settings, all in a few operations.

A draw is the place of one uniform number in the cumulative distribution: no noise for every entry of
the vocabulary, no `multinomial`. Every row is computed alone, so that its token does not depend on
the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from parley.engine.requests import Request, Token

COLDEST: Final = 1e-6  # below, logits / T leave fp32: the most probable token is taken


Entries: TypeAlias = tuple[Int[Tensor, " E"], Int[Tensor, " E"], Float[Tensor, " E"]]


@dataclass(frozen=True, slots=True)
class Roster:
    """The settings of a batch of replies, a row each, as tensors."""

    temperatures: Float[Tensor, "N 1"]
    greedy: Bool[Tensor, " N"]
    drawn: Int[Tensor, " D"]
    """Rows that are not greedy."""
    cut: Int[Tensor, " C"]
    """Those of `drawn` (by their place in it) that keep only a part of the vocabulary."""
    top_p: Float[Tensor, "C 1"]
    top_k: Int[Tensor, "C 1"]
    bias: Entries | None
    """Rows, tokens and what is added."""
    telling: tuple[tuple[int, int], ...]
    """Rows that want log-probabilities, and of how many further tokens."""
    told_temperatures: Float[Tensor, "E 1"]
    """Of these rows."""

    @classmethod
    def of(cls, requests: Sequence[Request], vocabulary: int, device: torch.device) -> Roster:
        """For replies to these requests."""
        cold = [one.temperature < COLDEST for one in requests]
        drawn = [n for n, greedy in enumerate(cold) if not greedy]
        cut = [m for m, n in enumerate(drawn) if requests[n].top_p < 1 or requests[n].top_k]
        some = [requests[drawn[m]] for m in cut]
        biases = [
            (n, token, value) for n, one in enumerate(requests) for token, value in one.logit_bias.items()
        ]
        telling = [(n, one.logprobs) for n, one in enumerate(requests) if one.logprobs is not None]

        def tensor(values: Sequence[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        rows, tokens, values = zip(*biases, strict=True) if biases else ((), (), ())
        bias = (tensor(rows, torch.int64), tensor(tokens, torch.int64), tensor(values, torch.float32))
        return cls(
            temperatures=tensor([requests[n].temperature for n in drawn], torch.float32)[:, None],
            greedy=tensor(cold, torch.bool),
            drawn=tensor(drawn, torch.int64),
            cut=tensor(cut, torch.int64),
            top_p=tensor([one.top_p for one in some], torch.float64)[:, None],
            top_k=tensor([one.top_k or vocabulary for one in some], torch.int64)[:, None],
            bias=bias if biases else None,
            telling=tuple(telling),
            told_temperatures=tensor([requests[n].logprob_temperature for n, _ in telling], torch.float32)[
                :, None
            ],
        )


def choose(
    logits: Float[Tensor, "N V"],
    roster: Roster,
    uniform: Sequence[float],
    penalties: Sequence[Mapping[int, float]] = (),
) -> list[Token | None]:
    """A token of each row; None where the logits are no numbers to choose by. `penalties` are added to
    the logits of this step, a mapping for each row."""
    told = _logprobs(logits, roster)
    for rows, tokens, values in filter(None, (roster.bias, _entries(penalties, logits))):
        logits = logits.index_put((rows, tokens), values, accumulate=True)
    best, chosen = logits.max(-1)
    if len(roster.drawn):
        some = logits if len(roster.drawn) == len(logits) else logits[roster.drawn]
        numbers = torch.tensor(uniform, dtype=torch.float64, device=logits.device)[roster.drawn]
        chosen[roster.drawn] = _drawn(some / roster.temperatures, roster, numbers)
    pairs = zip(chosen.tolist(), best.isfinite().tolist(), strict=True)
    found = [Token(token) if good else None for token, good in pairs]
    for row, logprobs in told.items():
        found[row] = _told(found[row], logprobs)
    return found


def _entries(penalties: Sequence[Mapping[int, float]], logits: Float[Tensor, "N V"]) -> Entries | None:
    found = [(row, token, value) for row, one in enumerate(penalties) for token, value in one.items()]
    if not found:
        return None
    rows, tokens, values = zip(*found, strict=True)
    device = logits.device
    return (
        torch.tensor(rows, device=device),
        torch.tensor(tokens, device=device),
        torch.tensor(values, dtype=torch.float32, device=device),
    )


def _drawn(scaled: Float[Tensor, "D V"], roster: Roster, uniform: Float[Tensor, " D"]) -> Int[Tensor, " D"]:
    chances = torch.softmax(scaled, -1)
    if len(roster.cut):
        chances[roster.cut] = kept(chances[roster.cut], roster.top_p, roster.top_k)
    mass = chances.cumsum(-1, dtype=torch.float64)
    return torch.searchsorted(mass, uniform[:, None] * mass[:, -1:], right=True)[:, 0]


def kept(
    chances: Float[Tensor, "C V"], top_p: Float[Tensor, "C 1"], top_k: Int[Tensor, "C 1"]
) -> Float[Tensor, "C V"]:
    """Chances with 0 for all but the smallest set of tokens that holds `top_p` of the mass, and but the
    `top_k` likeliest. The likeliest token always stays; of equals, those of lower ids."""
    ordered, order = chances.sort(stable=True, dim=-1, descending=True)
    before = ordered.cumsum(-1, dtype=torch.float64) - ordered
    beyond = (before >= top_p) | (torch.arange(ordered.shape[1], device=order.device) >= top_k)
    beyond[:, 0] = False
    return chances.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), 0.0)


def _logprobs(logits: Float[Tensor, "N V"], roster: Roster) -> dict[int, tuple[Tensor, int]]:
    if not roster.telling:
        return {}
    rows = [row for row, _ in roster.telling]
    found = torch.log_softmax(logits[rows] / roster.told_temperatures, -1)
    return {row: (own, count) for own, (row, count) in zip(found, roster.telling, strict=True)}


def _told(token: Token | None, logprobs: tuple[Tensor, int]) -> Token | None:
    if token is None:
        return None
    own, count = logprobs
    values, ids = own.topk(min(count, len(own)))
    likeliest = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return Token(token.id, float(own[token.id]), likeliest)
