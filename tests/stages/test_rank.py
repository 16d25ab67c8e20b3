"""Comparisons: the draw over model-written messages is uniform and never falls on anything else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from parley.dialogue import Conversation
from parley.errors import ConfigError
from parley.labels import Ranks
from parley.microworld.situations import Situation
from parley.microworld.users import scripts
from parley.microworld.world import World, WorldConfig
from parley.stages.rank import Collector, RankConfig, Talk, collect_rankings, draw_messages
from tests.tiny import tiny_model, workspace

WORLD = World.build(WorldConfig.smoke(), 1)


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    config = RankConfig(replies=3, max_new_tokens=6, max_prompt_tokens=120)
    model = tiny_model()
    return Collector(workspace(tmp_path), WORLD, model, "policy", config)


def test_every_model_written_message_is_drawn_equally_often() -> None:
    """Chi-square over 10,000 draws of one message from talks of unequal length."""
    empty = Conversation(())
    places = ((1, Situation("known", "x", "town")), (3, Situation("known", "x", "town")))
    talks = [Talk(empty, places[:count]) for count in (1, 2, 0, 2, 1, 2)]
    drawn = Counter(draw_messages(talks, 1, seed=seed)[0] for seed in range(10_000))
    assert set(drawn) == {(n, k) for n, talk in enumerate(talks) for k in range(len(talk.open_at))}
    expected = 10_000 / 8
    chi_square = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert chi_square < 18.48  # the 0.99 quantile with 7 degrees of freedom


def test_a_draw_is_without_replacement_and_reproducible() -> None:
    talks = [Talk(Conversation(()), ((1, Situation("known", "x", "town")),)) for _ in range(50)]
    first = draw_messages(talks, 30, seed=4)
    assert first == draw_messages(talks, 30, seed=4)
    assert len(set(first)) == 30
    assert len(draw_messages(talks, 99, seed=4)) == 50


def test_planted_and_human_messages_are_never_eligible(collector: Collector) -> None:
    told = scripts(WORLD, 120, 3, split="train")
    for talk, script in zip(collector.talks(told, "train"), told, strict=True):
        assert len(talk.conversation.messages) == 2 * len(script.turns)
        eligible = {index for index, _ in talk.open_at}
        for index, message in enumerate(talk.conversation.messages):
            assert (message.author == "policy") is (index in eligible)
        planted = [turn.planted for turn in script.turns if turn.planted]
        assert [m.text for m in talk.conversation.messages if m.author == "planted"] == planted


def test_a_ranking_holds_k_replies_to_the_drawn_history(collector: Collector) -> None:
    found = list(collector.rankings("train", 12, collector.config.trainers))
    assert len(found) == 12
    for ranking in found:
        assert len(ranking.replies) == 3
        assert [reply.author for reply in ranking.replies] == ["policy", "policy", "trainer"]
        assert isinstance(ranking.judgement, Ranks)
        assert ranking.prompt.messages[-1].role == "user"
        assert ranking.trainer


def test_collecting_again_collects_the_same(collector: Collector) -> None:
    config = collector.config.trainers
    assert list(collector.rankings("train", 5, config)) == list(collector.rankings("train", 5, config))
    other = replace(collector, out=replace(collector.out, seed=2))
    assert list(other.rankings("train", 5, config)) != list(collector.rankings("train", 5, config))


def test_files_have_nobody_who_ranks(tmp_path: Path) -> None:
    from parley.artifacts import Checkpoint, Snapshot

    told = Snapshot(tmp_path, "x", {})
    with pytest.raises(ConfigError, match="people who rank"):
        collect_rankings(workspace(tmp_path / "w"), Checkpoint(tmp_path, "y", {}), told, RankConfig())
