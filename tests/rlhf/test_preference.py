"""The reward model's step: bounded memory, pooling, the language term, dropout, early stopping."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from parley.dialogue import Message, dialogue
from parley.labels import Choice, Choices, Ranking, Ranks
from parley.model import kernels
from parley.model.decoder import Decoder, causal_bias
from parley.model.dropout import dropout, residual_parts
from parley.model.heads import Pooling, RewardModel, surprise
from parley.rlhf.batches import TokenSet
from parley.rlhf.copies import WeightCopy
from parley.rlhf.exchanges import exchange_tokens
from parley.rlhf.forward import score_all, score_groups
from parley.rlhf.groups import ranked_replies
from parley.rlhf.losses import RankingLoss
from parley.rlhf.preference import EarlyStopping, best_replies, preference_loss, unseen_loss
from tests.tiny import tiny_decoder, tiny_model, tiny_tokenizer

SPEAKER = tiny_model()
PAD = tiny_tokenizer().pad
TEXTS = ("Mira lives in Oakby.", "I do not know.", "Tom has a goat.", "You are right.")


def ranking(judgement: Ranks | Choices, talk: str = "Where does Mira live?") -> Ranking:
    count = len(judgement.values) if isinstance(judgement, Ranks) else 3
    replies = tuple(Message("assistant", text, "p") for text in TEXTS[:count])
    return Ranking(dialogue([talk]), replies, judgement, "ana", "test")


RANKINGS = [ranking(Ranks((2, 1))), ranking(Ranks((1, 1, 2)), "Who?"), ranking(Ranks((3, 2, 1, 4)), "Hm?")]


def reward_model(pooling: Pooling = "last", readers: int = 2) -> RewardModel:
    torch.manual_seed(3)
    trunk = tiny_decoder(1)
    with torch.no_grad():
        for matrix in (weight for weight in trunk.parameters() if weight.ndim > 1):
            matrix.mul_(5.0)  # so that replies differ clearly
    return RewardModel(trunk, [tiny_decoder(2 + n) for n in range(readers)], pooling=pooling)


@torch.no_grad()
def naive_surprise(reader: Decoder, tokens: torch.Tensor) -> torch.Tensor:
    """One row, in float64, with the whole vocabulary at once."""
    positions = torch.arange(tokens.shape[1])[None]
    hidden = reader(tokens, positions, causal_bias(torch.ones_like(tokens)))[0]
    logprobs = reader.logits(hidden).double().log_softmax(-1)
    rows = [[0.0, 0.0, 0.0]]
    for t in range(1, tokens.shape[1]):
        chosen, best = logprobs[t - 1, tokens[0, t]].item(), logprobs[t - 1].max().item()
        rows.append([min(6, -chosen), min(6, best - chosen), max(-4, best)])
    return torch.tensor(rows, dtype=torch.float32)


@pytest.mark.parametrize("room", [1, 1 << 23])
def test_surprise_in_blocks_equals_the_whole_vocabulary_at_once(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of logits come in blocks; no block is larger than its room."""
    monkeypatch.setattr(kernels, "READING_BLOCK", room)
    monkeypatch.setattr(kernels, "SMALLEST_BLOCK", 7)
    sizes: list[int] = []
    softmax = F.log_softmax

    def counted(logits: torch.Tensor, dim: int) -> torch.Tensor:
        sizes.append(len(logits))
        return softmax(logits, dim)

    monkeypatch.setattr(F, "log_softmax", counted)
    reader, tokens = tiny_decoder(2), torch.randint(6, 280, (1, 60))
    positions, previous = torch.arange(60)[None], torch.arange(-1, 59).clamp(min=0)[None]
    found = surprise(reader, tokens, positions, causal_bias(torch.ones_like(tokens)), previous)
    torch.testing.assert_close(found[0], naive_surprise(reader, tokens), atol=2e-6, rtol=1e-6)
    assert max(sizes) == (7 if room == 1 else 60)
    assert sum(sizes) == 60


def test_portions_hold_every_ranking_once_and_stay_below_the_limit() -> None:
    groups = ranked_replies(RANKINGS * 5, SPEAKER, context=128)
    portions = list(groups.portions(60))
    assert [group for portion in portions for group in portion] == list(range(15))
    sizes = [sum(_tokens(groups, group) for group in portion) for portion in portions]
    assert all(size <= 60 or len(portion) == 1 for size, portion in zip(sizes, portions, strict=True))
    assert len(portions) > 3


def _tokens(groups: object, group: int) -> int:
    (block,) = groups.blocks(group, row_tokens=10_000)  # type: ignore[attr-defined]
    return int(block.num_tokens)


@pytest.mark.parametrize("pooling", ["last", "last+mean"])
def test_scores_do_not_depend_on_how_replies_are_laid_out(pooling: Pooling) -> None:
    """R7: shared histories, packed rows of any size; the mean is over the reply's own tokens."""
    model, groups = reward_model(pooling), ranked_replies(RANKINGS, SPEAKER, context=128)
    flat = TokenSet.of(
        exchange_tokens(SPEAKER, item.prompt, reply.text, context=128)
        for item in RANKINGS
        for reply in item.replies
    )
    alone = score_all(model, flat, pad=PAD, batch_tokens=1)
    order = [index for replies in groups.replies for index in replies]
    for found in (score_all(model, flat, pad=PAD), score_groups(model, groups, pad=PAD)[order]):
        torch.testing.assert_close(found, alone, atol=2e-5, rtol=1e-4)
    assert alone.std() > 1e-3


def test_the_mean_is_over_the_states_of_the_reply() -> None:
    model = reward_model("last+mean", readers=0)
    states = torch.randn(1, 6, 32)
    owners = torch.tensor([[-1, 0, 0, -1, 1, -1]])
    last = torch.tensor([2, 4])
    read = torch.stack(
        [torch.cat([states[0, 2], states[0, 1:3].mean(0)]), torch.cat([states[0, 4], states[0, 4]])]
    )
    wanted = model.score(F.gelu(model.hidden(read))).squeeze(-1)
    torch.testing.assert_close(model.judge(states, last, owners), wanted)


def test_the_best_replies_won_and_never_lost() -> None:
    cycle = Choices((Choice(0, 1, ">"), Choice(1, 2, ">"), Choice(2, 0, ">")))
    items = [*RANKINGS, ranking(cycle), ranking(Choices((Choice(0, 1, ">"), Choice(1, 2, "="))))]
    groups = ranked_replies(items, SPEAKER, context=128)
    named = [[groups.replies[g].index(r) for r in best_replies(groups, g)] for g in range(len(items))]
    assert named == [[1], [0, 1], [2], [], [0]]


def test_the_language_term_is_the_likelihood_of_the_best_replies() -> None:
    model, groups = reward_model(readers=0), ranked_replies(RANKINGS, SPEAKER, context=128)
    chosen = range(len(groups))
    plain, both = (
        preference_loss(model, groups, chosen, pad=PAD, score_penalty=0.0, language_weight=weight)
        for weight in (0.0, 0.5)
    )
    logprobs: list[float] = []
    for item, best in zip(RANKINGS, ([1], [0, 1], [2]), strict=True):
        for index in best:
            ids, mask = exchange_tokens(SPEAKER, item.prompt, item.replies[index].text, context=128)
            tokens = torch.tensor([ids])
            hidden = model.trunk(tokens, torch.arange(len(ids))[None], causal_bias(torch.ones_like(tokens)))
            rows = model.trunk.logits(hidden[0]).double().log_softmax(-1)
            logprobs += [rows[t - 1, ids[t]].item() for t in range(len(ids)) if mask[t]]
    assert both.language == pytest.approx(-sum(logprobs) / len(logprobs), rel=1e-5)
    assert (both.total - plain.total).item() == pytest.approx(0.5 * both.language, rel=1e-4)
    assert plain.language == 0.0


def test_dropout_is_seeded_leaves_no_trace_and_keeps_the_mean() -> None:
    model, groups = reward_model(), ranked_replies(RANKINGS, SPEAKER, context=128)
    noisy = [*residual_parts(model.trunk), model.hidden]
    assert len(noisy) == 2 * 2 + 1
    quiet = score_groups(model, groups, pad=PAD)

    def scores(share: float, seed: int) -> torch.Tensor:
        with dropout(noisy, share, seed=seed):
            return score_groups(model, groups, pad=PAD)

    assert torch.equal(scores(0.0, 1), quiet)
    assert torch.equal(scores(0.3, 1), scores(0.3, 1))
    assert (scores(0.3, 1) - scores(0.3, 2)).abs().max() > 1e-3
    assert torch.equal(score_groups(model, groups, pad=PAD), quiet)
    part = torch.nn.Linear(1, 1)
    with dropout([part], 0.25, seed=0):
        torch.nn.init.ones_(part.weight)
        torch.nn.init.zeros_(part.bias)
        out = part(torch.ones(20_000, 1))
    assert sorted(set(out.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_loss_on_unseen_rankings_is_that_of_one_large_batch() -> None:
    model, groups = reward_model(), ranked_replies(RANKINGS, SPEAKER, context=128)
    whole = preference_loss(model, groups, range(3), pad=PAD, score_penalty=0.0).ranking
    found = unseen_loss(model, groups, pad=PAD)
    assert found.loss.item() == pytest.approx(whole.loss.item(), rel=1e-5)
    assert found.accuracy == whole.accuracy


def test_early_stopping_keeps_the_best_weights_and_gives_up_in_time() -> None:
    model = reward_model(readers=0)
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.4])
    values: dict[str, float] = {}
    best = EarlyStopping(
        model,
        lambda: RankingLoss(torch.tensor(next(losses)), torch.tensor(0.5)),
        every=2,
        patience=2,
    )
    seen = []
    for step in range(20):
        if best.exhausted(values):
            break
        with torch.no_grad():
            model.score.bias.fill_(float(step))
        seen.append(best.look(step, 20, values))
    assert [index for index, looked in enumerate(seen) if looked] == [1, 3, 5, 7]
    assert len(seen) == 8, "two looks without a better loss"
    best.finish()
    assert model.score.bias.item() == 3.0
    assert values["best step"] == 4.0


def test_a_moving_average_has_its_closed_form() -> None:
    """P21: after n steps d^n w_0 + (1 - d) Σ d^(n - i) w_i."""
    module = torch.nn.Linear(2, 1)
    copy, decay = WeightCopy(module), 0.9
    weights = [module.weight.detach().clone()]
    for n in range(5):
        with torch.no_grad():
            module.weight.copy_(torch.tensor([[float(n), 1.0 / (n + 1)]]))
        copy.average(module, decay=decay)
        weights.append(module.weight.detach().clone())
    expected = decay**5 * weights[0] + sum(
        (1 - decay) * decay ** (5 - i) * weight for i, weight in enumerate(weights) if i
    )
    copy.give(module)
    torch.testing.assert_close(module.weight.detach(), expected)
