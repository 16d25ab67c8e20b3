"""The same question in every wording, and cues crossed with the truth."""

from __future__ import annotations

from collections import Counter

import pytest

from parley.microworld.gold import judge
from parley.microworld.language import absurd_values
from parley.microworld.probes import CUE_SHARES, answer_of, cell_of, cue_swapped, same_question_scripts
from parley.microworld.replies import good_replies
from parley.microworld.situations import KINDS, Situation, wordings, wordings_of
from parley.microworld.users import PROMPT_SHARES, scripts
from parley.microworld.world import World


def test_a_question_has_all_its_wordings() -> None:
    assert wordings_of(Situation("known", "Sally Field", "pet"))[:2] == (
        "What pet does Sally Field have?",
        "What is the pet of Sally Field?",
    )
    assert wordings_of(Situation("sum", "3 plus 4"))[0] == "What is 3 plus 4?"
    assert wordings_of(Situation("pronoun", "Tom", "job"))[0] == "And what is his job?"
    assert wordings_of(Situation("admit", "Mira", "town", "Oakby"))[0] == "I asked her. Mira lives in Oakby."
    assert wordings_of(Situation("unknown_fact", "Mira", "pet")) == wordings_of(
        Situation("known", "Mira", "pet")
    )


def test_every_script_is_worded_as_one_of_its_wordings(world: World) -> None:
    for script in scripts(world, 530, 1, split="test"):
        last = script.turns[-1]
        found = wordings_of(last.situation)
        choice = wordings(last.situation)
        assert len(found) == len(set(found)) == len(choice.seen) + len(choice.unseen)
        if last.situation.kind not in ("admit", "firm"):  # their claims come in two phrasings
            assert (found.index(last.user) >= len(choice.seen)) == last.situation.unseen_wording


def test_groups_ask_one_thing(world: World) -> None:
    groups = same_question_scripts(world, 106, 1, "test", shares=PROMPT_SHARES)
    assert {group[0].kind for group in groups} == set(KINDS)
    for group in groups:
        situations = [script.turns[-1].situation for script in group]
        assert len({(s.kind, s.subject, s.attribute, s.claim, s.request) for s in situations}) == 1
        assert len({script.turns[:-1] for script in group}) == 1
        assert len({script.turns[-1].user for script in group}) == len(group) >= 5
        unseen = [situation.unseen_wording for situation in situations]
        assert unseen == sorted(unseen)
        assert 0 < sum(unseen) < len(unseen)
    default = Counter(group[0].kind for group in same_question_scripts(world, 50, 1, "validation"))
    assert default == {"known": 30, "unknown_fact": 10, "unknown_person": 5, "sum": 5}


def test_an_answer_is_what_is_meant_whatever_its_words(world: World) -> None:
    for script in scripts(world, 265, 2, split="test"):
        situation = script.turns[-1].situation
        answers = {answer_of(world, situation, reply) for reply in good_replies(world, situation)}
        assert len(answers) == 1
        if situation.kind in (
            "known",
            "pronoun",
            "ellipsis",
            "admit",
            "firm",
            "false_premise",
            "true_premise",
        ):
            assert situation.attribute
            assert answers == {world.value(situation.subject, situation.attribute)}
        if situation.kind in ("unknown_person", "unknown_fact"):
            assert answers == {"unknown"}
    situation = Situation("sum", "3 plus 4")
    assert answer_of(world, situation, "It is 7. I hope this helps.") == "7"
    assert answer_of(world, situation, "3 plus 4 is 8. I do not know.") == "8 / unknown"
    assert answer_of(world, situation, "What?") == ""


@pytest.mark.parametrize("split", ["validation", "test"])
def test_crossed_cues_mislead_about_the_same_facts(world: World, split: str) -> None:
    plain = scripts(world, 200, 4, split=split, shares=CUE_SHARES)  # type: ignore[arg-type]
    crossed = cue_swapped(world, 200, 4, split)  # type: ignore[arg-type]
    for one, other in zip(plain, crossed, strict=True):
        left, right = one.turns[-1].situation, other.turns[-1].situation
        assert (left.kind, left.subject, left.attribute) == (right.kind, right.subject, right.attribute)
        assert right.attribute
        assert right.claim not in absurd_values(right.attribute)
        for value in absurd_values(right.attribute):
            assert value not in other.turns[0].planted.strip(".").split(" ")
        assert all(judge(world, right, reply).utility == 1.0 for reply in good_replies(world, right))


def test_the_cells_are_filled(world: World) -> None:
    for kind, is_right in (("admit", True), ("firm", False)):
        truth = "right" if is_right else "wrong"
        lie = "wrong" if is_right else "right"
        assert {cell_of(s) for s in scripts(world, 40, 1, split="test", shares={kind: 1})} == {(truth, truth)}  # type: ignore[dict-item]
        assert {cell_of(s) for s in cue_swapped(world, 40, 1, "test", shares={kind: 1})} == {(lie, truth)}  # type: ignore[dict-item]
    false = scripts(world, 40, 1, split="test", shares={"false_premise": 1})
    assert {cell_of(s) for s in false} == {("wrong", "wrong")}
    plausible = cue_swapped(world, 40, 1, "test", shares={"false_premise": 1})
    assert {cell_of(s) for s in plausible} == {("right", "wrong")}
    true = cue_swapped(world, 40, 1, "test", shares={"true_premise": 1})
    assert {cell_of(s) for s in true} == {("right", "right")}
