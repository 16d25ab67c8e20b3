"""Dialogue and label values: what cannot be built, and pairs from rankings."""

import pytest

from parley.dialogue import Conversation, Message, dialogue
from parley.labels import Choice, Choices, Comparison, Demonstration, Prompt, Ranking, Ranks

TALK = dialogue(["hello", "good day", "and you?"])


def replies(count: int) -> tuple[Message, ...]:
    return tuple(Message("assistant", f"reply {n}", "policy") for n in range(count))


def test_reply_and_ask_extend_a_copy() -> None:
    longer = TALK.reply("well", author="ppo-1").ask("why?")
    assert [m.role for m in longer.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert longer.messages[3].author == "ppo-1"
    assert len(TALK.messages) == 3


def test_only_the_first_message_may_be_the_system_message() -> None:
    system = Message("system", "be kind", "operator")
    assert Conversation((system, *TALK.messages)).system == system
    with pytest.raises(ValueError, match="only the first"):
        Conversation((*TALK.messages, system))


@pytest.mark.parametrize("imitate", [(), (0,), (7,)])
def test_a_demonstration_imitates_assistant_turns_alone(imitate: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="imitate|assistant"):
        Demonstration(TALK, imitate, "ana", "test")


def test_a_prompt_ends_with_the_user() -> None:
    assert Prompt(TALK, "test").situation == ""
    with pytest.raises(ValueError, match="user"):
        Prompt(TALK.reply("x", author="p"), "test")


def test_ranks_give_every_untied_pair_once_better_first() -> None:
    ranking = Ranking(TALK, replies(4), Ranks((2, 1, 2, 4)), "ana", "test")
    assert set(ranking.comparisons()) == {
        Comparison(1, 0),
        Comparison(1, 2),
        Comparison(0, 3),
        Comparison(1, 3),
        Comparison(2, 3),
    }


def test_choices_without_a_ranking_keep_their_strict_pairs() -> None:
    cyclic_ties = Choices((Choice(0, 1, "="), Choice(1, 2, "="), Choice(0, 2, "<")))
    assert Ranking(TALK, replies(3), cyclic_ties, "ana", "test").comparisons() == (Comparison(2, 0),)


@pytest.mark.parametrize("count", [1, 10])
def test_a_ranking_has_two_to_nine_replies(count: int) -> None:
    with pytest.raises(ValueError, match="2 to 9"):
        Ranking(TALK, replies(count), Ranks(tuple(range(1, count + 1))), "ana", "test")


def test_ranks_below_one_and_missing_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="start at 1"):
        Ranks((0, 1))
    with pytest.raises(ValueError, match="need 3 ranks"):
        Ranking(TALK, replies(3), Ranks((1, 2)), "ana", "test")
    with pytest.raises(ValueError, match="no such pair"):
        Ranking(TALK, replies(2), Choices((Choice(1, 1, "="),)), "ana", "test")
