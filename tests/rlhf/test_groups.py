"""Rankings whose history is computed once: the same scores, gradients and pairs as exchange by exchange."""

from __future__ import annotations

import pytest
import torch

from parley.dialogue import Message, dialogue
from parley.labels import Ranking, Ranks
from parley.model.heads import RewardModel
from parley.rlhf.batches import TokenSet
from parley.rlhf.exchanges import exchange_tokens
from parley.rlhf.forward import reward_scores, score_all, score_groups
from parley.rlhf.groups import group_batch, ranked_replies
from tests.tiny import tiny_decoder, tiny_model, tiny_tokenizer

SPEAKER = tiny_model()
PAD = tiny_tokenizer().pad


def rankings() -> list[Ranking]:
    texts = [
        "Mira lives in Oakby.",
        "I do not know.",
        "Tom has a goat.",
        "",
        "You are right, I made a mistake.",
    ]
    talks = [
        ["Where?"],
        ["Where does Mira live?", "Mira lives in Oakby.", "Who?"],
        ["Tom?"],
        ["Which Sally?"],
    ]
    return [
        Ranking(
            dialogue(talk),
            tuple(Message("assistant", text, "p") for text in texts[: 2 + n]),
            Ranks(tuple(range(1, 3 + n))),
            "ana",
            "test",
        )
        for n, talk in enumerate(talks)
    ]


def reward_model() -> RewardModel:
    torch.manual_seed(3)
    return RewardModel(tiny_decoder(1), [tiny_decoder(2), tiny_decoder(3)])


def flat(context: int) -> TokenSet:
    return TokenSet.of(
        exchange_tokens(SPEAKER, ranking.prompt, reply.text, context=context)
        for ranking in rankings()
        for reply in ranking.replies
    )


@pytest.mark.parametrize("row_tokens", [8, 100, 256])
def test_scores_equal_those_of_the_exchanges_alone(row_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In rows of any size: one reply a row, a ranking over several rows, several rankings a row."""
    monkeypatch.setattr("parley.rlhf.groups.ROW_TOKENS", row_tokens)
    model, groups = reward_model(), ranked_replies(rankings(), SPEAKER, context=128)
    alone = score_all(model, flat(128), pad=PAD)
    together = score_groups(model, groups, pad=PAD, batch_tokens=60)
    order = [index for replies in groups.replies for index in replies]
    assert alone.std() > 1e-3
    torch.testing.assert_close(together[order], alone, atol=2e-5, rtol=1e-4)


def test_gradients_equal_those_of_the_exchanges_alone() -> None:
    groups = ranked_replies(rankings(), SPEAKER, context=128)
    weights = torch.randn(len(groups.answers), generator=torch.Generator().manual_seed(0))
    gradients = []
    for shared in (True, False):
        model = reward_model()
        if shared:
            batch, place = group_batch(groups, range(len(groups)), pad=PAD, device="cpu")
            scores = reward_scores(model, batch)[[place[n] for n in range(len(groups.answers))]]
        else:
            scores = torch.cat([_one(model, n) for n in range(len(groups.answers))])
        (scores * weights).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients, atol=2e-5, rtol=1e-3)


def _one(model: RewardModel, index: int) -> torch.Tensor:
    from parley.rlhf.batches import packed_batch

    return reward_scores(model, packed_batch(flat(128), [[index]], pad=PAD, device="cpu"))


def test_equal_replies_are_one_and_keep_their_place() -> None:
    ranking = rankings()[3]
    doubled = Ranking(
        ranking.prompt, (*ranking.replies, ranking.replies[1]), Ranks((1, 2, 3, 4, 5, 2)), "a", "t"
    )
    groups = ranked_replies([doubled], SPEAKER, context=128)
    assert groups.replies[0] == (0, 1, 2, 3, 4, 1)
    assert len(groups.answers) == 5


def test_a_history_too_long_for_the_context_loses_its_oldest_turns() -> None:
    turns = ["What about Mira and Oakby and Tom and the goat?", "Mira lives in Oakby."] * 12
    long = Ranking(dialogue([*turns, "Who?"]), rankings()[0].replies, Ranks((1, 2)), "a", "t")
    groups = ranked_replies([long], SPEAKER, context=96)
    assert groups.histories.lengths[0] + groups.answers.lengths.max() <= 96
    assert groups.histories.lengths[0] > 30
