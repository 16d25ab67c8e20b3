"""Demonstrations and instruction rows: their faults, and that nothing held out leaks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import parley
from parley.dialects import instruct
from parley.microworld.dialogues import (
    DEMONSTRATORS,
    AnnotatedDemonstration,
    Faults,
    annotated_demonstrations,
    demonstrated_reply,
    demonstrations,
    good_reply,
    instruction_rows,
)
from parley.microworld.documents import documents
from parley.microworld.gold import judge
from parley.microworld.language import CLOSINGS, GRAMMAR, HOPES, OPENINGS
from parley.microworld.situations import KINDS, Kind, Situation, ask
from parley.microworld.users import Turn, scripts
from parley.microworld.world import FactKey, Split, World, WorldConfig


@pytest.fixture(scope="module")
def written(world: World) -> list[AnnotatedDemonstration]:
    return list(annotated_demonstrations(world, 6000, 1))


def _texts(world: World) -> Iterator[str]:
    """Everything that training shows, apart from documents."""
    for demonstration in demonstrations(world, 3000, 4):
        yield from (message.text for message in demonstration.conversation.messages)
    for row in instruction_rows(world, 1500, 5):
        yield from row.values()
    for script in scripts(world, 3000, 6, split="train"):
        yield from (text for turn in script.turns for text in (turn.user, turn.planted))


def _sayings(world: World, key: FactKey) -> list[str]:
    """All ways in which a text can state or presuppose a fact."""
    name, attribute = key
    value = world.value(name, attribute)
    grammar = GRAMMAR[attribute]
    said = [f"{name} {form.format(v=value)}" for form in (*grammar.predicates, *grammar.infinitives)]
    return [text + end for text in said for end in (".", "?", ",", " ")]


def test_held_out_facts_are_in_documents_and_nowhere_else(world: World) -> None:
    told = "\n".join(_texts(world))
    read = "\n".join(document.text for document in documents(world, 15000, 2))
    for key in world.facts:
        sayings = _sayings(world, key)
        is_stated = key in world.pretrained
        assert any(saying in read for saying in sayings) == is_stated, key
        assert any(saying in told for saying in sayings) == (is_stated and not world.held_out(key)), key


def test_held_out_sums_are_in_documents_and_nowhere_else(world: World) -> None:
    told = " ".join(_texts(world))
    read = " ".join(document.text for document in documents(world, 15000, 2))
    for (a, b), split in world.sum_splits.items():
        for one, other in ((a, b), (b, a)):
            asked = rf"\b{one} (plus|and) {other}\b"
            assert re.search(rf"{asked} (is|make) {a + b}\.", read)
            assert bool(re.search(asked, told)) == (split == "train"), (one, other)


def test_unknown_facts_are_asked_for_in_training_by_their_split_only(world: World) -> None:
    drawn = annotated_demonstrations(world, 6000, 8)
    asked = {
        (reply.situation.subject, reply.situation.attribute)
        for annotated in drawn
        for reply in annotated.replies
        if reply.situation.kind == "unknown_fact"
    }
    assert asked == {(fact.person, fact.attribute) for fact in world.unstated("train")}


def test_held_out_facts_are_not_asked_for_either(world: World, written: list[AnnotatedDemonstration]) -> None:
    for annotated in written:
        for reply in annotated.replies:
            situation = reply.situation
            if situation.kind not in ("harm", "howto", "clarify", "unknown_person", "sum"):
                assert world.splits[situation.subject, situation.attribute] == "train"  # type: ignore[index]
            if situation.kind in ("clarify", "unknown_person"):
                assert world.name_splits[situation.subject] == "train"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_unseen_wordings_are_in_no_training_text(world: World, split: Split) -> None:
    shown = set(_texts(world))
    read = "\n".join(document.text for document in documents(world, 5000, 3))
    turns = [script.turns[-1] for script in scripts(world, 1200, 3, split=split)]
    for turn in turns:
        if turn.situation.unseen_wording:
            assert turn.user not in shown
            assert turn.user not in read
    _no_training_question_is_worded_so(world, shown)


def _no_training_question_is_worded_so(world: World, shown: set[str]) -> None:
    """Not about anybody: the unseen templates, filled with every name, occur nowhere."""
    for name in (*world.people, *world.shared, *world.unknown):
        for attribute, grammar in GRAMMAR.items():
            for template in grammar.questions.unseen:
                assert ask(template, Situation("known", name, attribute), world.gender(name)) not in shown


def test_unknown_people_are_in_no_document(world: World) -> None:
    words = {word.strip(".,?:") for document in documents(world, 8000, 1) for word in document.text.split()}
    assert not words & set(world.unknown)


def test_replies_without_planted_faults_are_worth_one(
    world: World, written: list[AnnotatedDemonstration]
) -> None:
    for annotated in written:
        for reply in annotated.replies:
            text = annotated.demonstration.conversation.messages[reply.message].text
            judgement = judge(world, reply.situation, text)
            assert judgement.stock_phrases == reply.stock_phrases
            assert not judgement.junk
            if reply.is_faulty:
                assert not judgement.success
                assert judgement.utility <= -0.3
            else:
                assert judgement.success
                assert judgement.utility == pytest.approx(1.0 - 0.4 * reply.stock_phrases)


def test_fault_rates_are_those_of_the_table(written: list[AnnotatedDemonstration]) -> None:
    replies = [reply for annotated in written for reply in annotated.replies]
    for kind in KINDS:
        faulty = [reply.is_faulty for reply in replies if reply.situation.kind == kind]
        rate = Faults().of(kind)
        assert abs(sum(faulty) / len(faulty) - rate) < 4 * (rate * (1 - rate) / len(faulty)) ** 0.5, kind


def test_stock_phrases_come_as_often_as_said(written: list[AnnotatedDemonstration]) -> None:
    texts = [
        annotated.demonstration.conversation.messages[reply.message].text
        for annotated in written
        for reply in annotated.replies
    ]
    found = Counter(phrase for text in texts for phrase in (HOPES, *OPENINGS, *CLOSINGS) if phrase in text)
    for phrases, rate in ((OPENINGS, 0.09), (CLOSINGS, 0.15), ((HOPES,), 0.53)):
        share = sum(found[phrase] for phrase in phrases) / len(texts)
        assert abs(share - rate) < 4 * (rate * (1 - rate) / len(texts)) ** 0.5


def test_demonstrators_have_styles_that_average_to_one(written: list[AnnotatedDemonstration]) -> None:
    assert sum(d.carelessness for d in DEMONSTRATORS) == pytest.approx(len(DEMONSTRATORS))
    assert sum(d.chatter for d in DEMONSTRATORS) == pytest.approx(len(DEMONSTRATORS))
    faulty: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for annotated in written:
        for reply in annotated.replies:
            total[annotated.demonstration.trainer] += 1
            faulty[annotated.demonstration.trainer] += reply.is_faulty
    assert set(total) == {demonstrator.name for demonstrator in DEMONSTRATORS}
    assert faulty["anke"] / total["anke"] < faulty["farah"] / total["farah"] - 0.1


def test_planted_answers_are_not_imitated(world: World, written: list[AnnotatedDemonstration]) -> None:
    planted = 0
    for annotated in written:
        demonstration = annotated.demonstration
        assert demonstration.imitate == tuple(reply.message for reply in annotated.replies)
        answers = [n for n, m in enumerate(demonstration.conversation.messages) if m.role == "assistant"]
        planted += len(answers) - len(demonstration.imitate)
        assert demonstration.conversation.messages[-1].role == "assistant"
        assert {m.author for m in demonstration.conversation.messages} == {f"trainer:{demonstration.trainer}"}
    assert planted > 1000


def test_faultless_demonstrators(world: World) -> None:
    for annotated in annotated_demonstrations(world, 500, 2, faults=Faults.none()):
        for reply in annotated.replies:
            text = annotated.demonstration.conversation.messages[reply.message].text
            assert judge(world, reply.situation, text).utility == 1.0


def test_demonstrators_do_not_tell_what_they_were_never_told() -> None:
    world = World.build(WorldConfig(share_known_to_demonstrators=0.5), 1)
    ignorant = 0
    for annotated in annotated_demonstrations(world, 800, 2, faults=Faults.none()):
        for reply in annotated.replies:
            situation = reply.situation
            key: FactKey = (situation.subject, situation.attribute)  # type: ignore[assignment]
            text = annotated.demonstration.conversation.messages[reply.message].text
            is_ignorant = key in world.facts and key not in world.demonstrable
            assert (text == "I do not know.") == reply.is_faulty == is_ignorant or (
                situation.kind in ("unknown_person", "unknown_fact")
            )
            ignorant += is_ignorant
    assert ignorant > 200


def test_demonstrators_tell_what_they_know_beyond_the_documents() -> None:
    """The model cannot know it: imitating them teaches it to assert what it does not know."""
    world = World.build(WorldConfig(share_known_beyond_documents=1.0), 1)
    told = 0
    for annotated in annotated_demonstrations(world, 800, 2, faults=Faults.none()):
        for reply in annotated.replies:
            if reply.situation.kind == "unknown_fact":
                text = annotated.demonstration.conversation.messages[reply.message].text
                assert world.value(reply.situation.subject, reply.situation.attribute) in text  # type: ignore[arg-type]
                assert reply.is_faulty
                assert judge(world, reply.situation, text).asserts_false
                told += 1
    assert told > 30


def test_a_single_demonstrated_reply_has_the_same_faults(world: World) -> None:
    turns = [s.turns[-1] for s in scripts(world, 1000, 1, split="train", shares={"firm": 1})]
    replies = [demonstrated_reply(world, turn.situation, n) for n, turn in enumerate(turns)]
    judged = [judge(world, turn.situation, text) for turn, text in zip(turns, replies, strict=True)]
    assert abs(sum(judgement.success for judgement in judged) / 1000 - 0.5) < 0.07
    assert 0.6 < sum(judgement.stock_phrases for judgement in judged) / 1000 < 0.95
    good = demonstrated_reply(world, turns[0].situation, 0, faults=Faults.none())
    assert judge(world, turns[0].situation, good).utility == 1.0


def test_longer_dialogues_come_as_often_as_said(world: World) -> None:
    assert max(_lengths(world, 0.0)) == 4
    lengths = _lengths(world, 0.3)
    longer = sum(length > 4 for length in lengths)
    assert longer
    assert all(length % 2 == 0 for length in lengths)


def _lengths(world: World, share: float) -> list[int]:
    drawn = demonstrations(world, 400, 1, share_longer=share)
    return [len(demonstration.conversation.messages) for demonstration in drawn]


def test_instruction_rows_are_answered_well(world: World) -> None:
    turns: dict[str, Turn] = {}
    for script in scripts(world, 8000, 11, split="train", shares={"known": 6, "true_premise": 2, "howto": 2}):
        turns[script.turns[-1].user] = script.turns[-1]
    forms: Counter[bool] = Counter()
    for row in instruction_rows(world, 1000, 11):
        question = row["input"] or row["instruction"]
        forms[row["input"] == ""] += 1
        if question in turns:
            assert judge(world, turns[question].situation, row["output"]).utility == 1.0
        else:
            assert row["instruction"].startswith("Tell me the ")
            assert question in world.people
    assert min(forms.values()) > 300


def test_instruction_rows_become_dialogue(world: World) -> None:
    for row in instruction_rows(world, 20, 1):
        (demonstration, *more) = instruct.to_dialogue(row)
        assert not more
        assert demonstration.conversation.messages[-1].text == row["output"]


def test_good_replies_of_the_opposite_kinds_differ(world: World) -> None:
    for one, other in (("admit", "firm"), ("false_premise", "true_premise"), ("harm", "howto")):
        left, right = (_first(world, kind) for kind in (one, other))  # type: ignore[arg-type]
        assert judge(world, left, good_reply(world, left)).success
        assert not judge(world, right, good_reply(world, left)).success
        assert not judge(world, left, good_reply(world, right)).success


def _first(world: World, kind: Kind) -> Situation:
    return scripts(world, 1, 3, split="train", shares={kind: 1})[0].turns[-1].situation


DIGEST = """
import hashlib
from parley.microworld.dialogues import demonstrations, instruction_rows
from parley.microworld.documents import documents
from parley.microworld.probes import cue_swapped, same_question_scripts
from parley.microworld.trainers import Panel, TrainerConfig
from parley.microworld.users import scripted_prompt, scripts
from parley.microworld.world import World, WorldConfig
world = World.build(WorldConfig.smoke(), 3)
panel = Panel.build(TrainerConfig(share_careless=0.2), 1)
parts = [world.facts, world.splits, world.name_splits, world.target_splits, sorted(world.pretrained)]
parts += [world.sum_splits, sorted(world.stated_sums), sorted(world.demonstrable)]
parts += [cue_swapped(world, 40, 1, "test"), same_question_scripts(world, 20, 1, "test")]
taught = WorldConfig(share_copying=0.2, share_comparing=0.2, share_verifying=0.2, share_correcting=0.2)
parts += [list(documents(World.build(taught, 3), 200, 1))]
parts += [list(documents(world, 300, 1)), list(demonstrations(world, 300, 1)), list(instruction_rows(world, 50, 1))]
parts += [[scripted_prompt(world, script) for script in scripts(world, 300, 1, split="test")]]
for n, script in enumerate(scripts(world, 50, 2, split="train")):
    situation = script.turns[-1].situation
    parts.append(panel.rank(world, situation, ["I do not know.", "I am sure.", "Hide the key.", ""], n))
print(hashlib.sha256(repr(parts).encode()).hexdigest())
"""


def test_all_of_it_is_the_same_in_every_process() -> None:
    root = str(Path(parley.__file__).parents[1])
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
