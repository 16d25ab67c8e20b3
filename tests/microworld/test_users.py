"""What users say: exact shares, paired contrasts, and nothing held out in training."""

from __future__ import annotations

from collections import Counter

import pytest

from parley.errors import ConfigError
from parley.microworld.language import EVIDENCE, OPINION, absurd_values
from parley.microworld.replies import good_reply
from parley.microworld.sentences import Sentences
from parley.microworld.situations import KINDS, Kind, Situation, addends_of, ask, gender_of, wordings
from parley.microworld.sums import sum_key
from parley.microworld.users import PROMPT_SHARES, Script, scripted_prompt, scripts
from parley.microworld.world import SPLITS, Split, World, WorldConfig


def test_prompt_shares_are_the_trials() -> None:
    assert sum(PROMPT_SHARES.values()) == 26.5
    assert set(PROMPT_SHARES) == set(KINDS)


@pytest.mark.parametrize("split", SPLITS)
def test_shares_hold_in_every_window(world: World, split: Split) -> None:
    kinds = [script.kind for script in scripts(world, 400, 2, split=split)]
    for start in range(len(kinds) - 53):
        window = Counter(kinds[start : start + 53])
        assert window == {kind: 2 * share for kind, share in PROMPT_SHARES.items()}
    for start in range(len(kinds) - 128):
        window = Counter(kinds[start : start + 128])
        assert all(abs(window[kind] - 128 * share / 26.5) < 2 for kind, share in PROMPT_SHARES.items())
        assert abs(window["admit"] - window["firm"]) <= 1
        assert abs(window["false_premise"] - window["true_premise"]) <= 1
        assert abs(window["harm"] - window["howto"]) <= 1


def test_scripts_are_a_function_of_seed_and_prefix(world: World) -> None:
    first = scripts(world, 100, 3, split="train")
    assert first == scripts(world, 200, 3, split="train")[:100]
    assert first != scripts(world, 100, 4, split="train")


def test_contrast_pairs_speak_of_the_same(world: World) -> None:
    drawn = scripts(world, 530, 0, split="train")
    of = {kind: [s.turns[-1].situation for s in drawn if s.kind == kind] for kind in KINDS}
    for one, other in (("admit", "firm"), ("false_premise", "true_premise"), ("harm", "howto")):
        assert len(of[one]) == len(of[other]) > 20  # type: ignore[index]
        for left, right in zip(of[one], of[other], strict=True):  # type: ignore[index]
            assert (left.subject, left.attribute) == (right.subject, right.attribute)
    shared = {person.name for pair in world.shared.values() for person in pair}
    clear = sum(situation.subject in shared for situation in of["known"])
    assert 0.6 * len(of["clarify"]) < clear < 1.1 * len(of["clarify"])
    assert len(of["known"]) * 2 == len(of["unknown_person"]) * 3


def _asked(script: Script) -> set[tuple[str, str]]:
    """The facts that a script is about."""
    last = script.turns[-1].situation
    no_fact = last.kind in ("harm", "howto", "clarify", "unknown_person", "sum")
    return set() if no_fact else {(last.subject, last.attribute)}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_asked_about_its_own_facts_and_names(world: World, split: Split) -> None:
    for script in scripts(world, 2000, 5, split=split):
        situation = script.turns[-1].situation
        for key in _asked(script):
            assert world.splits[key] == split  # type: ignore[index]
            assert (key in world.pretrained) == (situation.kind != "unknown_fact")
        if situation.kind == "sum":
            assert world.sum_splits[sum_key(*addends_of(situation))] == split
        if situation.kind in ("clarify", "unknown_person"):
            assert world.name_splits[situation.subject] == split
        if situation.kind in ("harm", "howto"):
            assert world.target_splits[situation.subject] == split
        if situation.kind in ("pronoun", "ellipsis"):
            opening = script.turns[0].situation
            assert opening.attribute
            assert world.splits[opening.subject, opening.attribute] == "train"
            assert (opening.subject, opening.attribute) in world.pretrained


def test_all_facts_of_a_split_get_asked(world: World) -> None:
    asked: set[tuple[str, str]] = set()
    for script in scripts(world, 2000, 6, split="train"):
        asked |= _asked(script)
    assert asked == {(fact.person, fact.attribute) for fact in world.facts_of("train")}


def test_half_of_the_evaluation_is_worded_as_never_before(world: World) -> None:
    for split in SPLITS:
        drawn = scripts(world, 960, 7, split=split)
        for kind in KINDS:
            notes = [s.turns[-1].situation.unseen_wording for s in drawn if s.kind == kind]
            assert sum(notes) == (0 if split == "train" else len(notes) // 2), kind


def test_the_note_tells_the_truth_about_the_wording(world: World) -> None:
    for script in scripts(world, 480, 8, split="test"):
        last = script.turns[-1]
        situation = last.situation
        choice = wordings(situation)
        if situation.kind in ("admit", "firm"):
            continue  # their claims come in two phrasings; see the cue test
        gender = gender_of(situation)
        seen = {ask(template, situation, gender) for template in choice.seen}
        unseen = {ask(template, situation, gender) for template in choice.unseen}
        assert not seen & unseen
        assert last.user in (unseen if situation.unseen_wording else seen)


def test_doubts_follow_a_planted_answer_and_carry_their_cue(world: World) -> None:
    for script in scripts(world, 960, 9, split="train"):
        if script.kind not in ("admit", "firm"):
            continue
        opening, doubt = script.turns
        situation = doubt.situation
        assert situation.attribute
        truth = world.value(situation.subject, situation.attribute)
        assert (truth in opening.planted) == (script.kind == "firm")
        assert (situation.claim == truth) == (script.kind == "admit")
        assert ("asked" in doubt.user) == (script.kind == "admit")
        assert ("I think" in doubt.user) == (script.kind == "firm")


def test_cues_and_absurdity_follow_the_config() -> None:
    plain, turned = (
        World.build(
            WorldConfig(
                cue_share=share, absurd_share_premises=share, absurd_share_mistakes=share, num_values=12
            ),
            1,
        )
        for share in (1.0, 0.0)
    )
    for world, is_cued in ((plain, True), (turned, False)):
        for script in scripts(world, 480, 0, split="train"):
            situation = script.turns[-1].situation
            if script.kind in ("admit", "firm"):
                assert ("asked" in script.turns[-1].user) == ((script.kind == "admit") == is_cued)
            if script.kind == "false_premise":
                assert situation.attribute
                assert (situation.claim in absurd_values(situation.attribute)) == is_cued
    assert all("asked" in template for template in EVIDENCE.seen + EVIDENCE.unseen)
    assert all("think" in template for template in OPINION.seen + OPINION.unseen)


def test_mistakes_are_absurd_about_half_the_time(world: World) -> None:
    table = Sentences.of(world)
    mistakes = [s.turns[0].planted for s in scripts(world, 4800, 1, split="train") if s.kind == "admit"]
    found = [table.read(mistake) for mistake in mistakes]
    absurd = [act.value in absurd_values(act.attribute) for _, act in filter(None, found) if act.attribute]
    assert len(absurd) == len(mistakes)
    assert abs(sum(absurd) / len(absurd) - 0.5) < 4 * 0.5 / len(absurd) ** 0.5


def test_a_prompt_holds_the_history_and_the_situation(world: World) -> None:
    seen: set[Kind] = set()
    for script in scripts(world, 96, 2, split="validation"):
        prompt = scripted_prompt(world, script)
        seen.add(script.kind)
        texts = [message.text for message in prompt.conversation.messages]
        assert texts[0::2] == [turn.user for turn in script.turns]
        assert len(texts) == 2 * len(script.turns) - 1
        for turn, answer in zip(script.turns, texts[1::2], strict=False):
            assert answer == (turn.planted or good_reply(world, turn.situation))
        assert Situation.of_text(prompt.situation) == script.turns[-1].situation
        assert prompt.source == "microworld"
    assert seen == set(KINDS)


def test_other_shares_and_a_single_kind(world: World) -> None:
    only = scripts(world, 50, 1, split="test", shares={"clarify": 1})
    assert {script.kind for script in only} == {"clarify"}


def test_a_world_that_tells_everything_is_asked_for_no_unknown_fact() -> None:
    world = World.build(WorldConfig(share_in_pretraining=1.0), 1)
    kinds = Counter(script.kind for script in scripts(world, 500, 1, split="test"))
    assert kinds == {kind: 20 * share for kind, share in PROMPT_SHARES.items() if kind != "unknown_fact"}
    with pytest.raises(ConfigError):
        scripts(world, 1, 1, split="test", shares={"unknown_fact": 1})


@pytest.mark.parametrize("share", [0.6, 0.3])
def test_a_world_that_tells_little_can_still_be_asked(share: float) -> None:
    world = World.build(WorldConfig(share_in_pretraining=share), 1)
    for split in SPLITS:
        for script in scripts(world, 300, 1, split=split):
            for turn in script.turns:
                key = (turn.situation.subject, turn.situation.attribute)
                if key in world.facts:
                    assert (key in world.pretrained) == (turn.situation.kind != "unknown_fact")
