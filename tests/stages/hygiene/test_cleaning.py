"""What is left out, step by step: duplicates, people, long common prefixes, private details."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from parley.artifacts import Run
from parley.labels import Demonstration, Ranking
from parley.numerics import NumericPlan
from parley.stages.data import people_held_out_of, take_snapshot
from parley.stages.files import FilesSource
from parley.stages.hygiene.findings import read_findings, save_findings
from parley.stages.hygiene.settings import FileData, FilesData
from parley.stages.hygiene.sides import asker, people_of
from tests.stages.hygiene.files import (
    Row,
    counted,
    data,
    document,
    lines,
    ranking,
    talk,
    told,
    words,
    write,
)

NAMES = [f"person {n}" for n in range(12)]


@pytest.fixture
def draw() -> random.Random:
    return random.Random(3)


def asked(record: Demonstration | Ranking) -> str:
    turns = record.conversation if isinstance(record, Demonstration) else record.prompt
    return turns.messages[0].text


def test_duplicates_but_for_capitals_and_white_space(tmp_path: Path, draw: random.Random) -> None:
    rows = [talk(draw, asked="What is 2+2 then, my friend?") for _ in range(2)]
    again = json.loads(json.dumps(rows[0]).replace("What is", "what  IS"))
    other_sign = json.loads(json.dumps(rows[0]).replace("2+2", "2-2"))
    other_sign["messages"][1]["content"] = words(draw, 20)
    write(tmp_path / "dialogues.jsonl", lines([*rows, again, other_sign]))
    source, found = told(tmp_path)
    assert len([*source.demonstrations, *source.demonstrations_held_out]) == 3
    assert found.files[0].dropped[0].places == ("line 3, as line 1",)


def test_nearly_the_same_answer_to_nearly_the_same_question(tmp_path: Path, draw: random.Random) -> None:
    rows = [talk(draw) for _ in range(3)]
    near = json.loads(json.dumps(rows[0]).replace("?", ", please?"))
    passage = words(draw, 200)
    same_passage = [talk(draw, asked=passage) for _ in range(2)]  # other answers: two dialogues
    write(tmp_path / "dialogues.jsonl", lines([*rows, near, *same_passage]))
    _, found = told(tmp_path, held_out_share=0.0)
    assert counted(found.files[0]) == {"near-duplicate": 1}
    _, exact = told(tmp_path, held_out_share=0.0, near_duplicate=0.0)
    assert counted(exact.files[0]) == {}


def test_two_people_s_rankings_of_the_same_replies_are_two(tmp_path: Path, draw: random.Random) -> None:
    one = ranking(draw, trainer="ana")
    other = {**one, "trainer": "bo"}
    turned = {**one, "replies": [{**reply, "rank": 4 - reply["rank"]} for reply in one["replies"]]}
    write(tmp_path / "rankings.jsonl", lines([one, other, one, turned]))
    _, found = told(tmp_path)
    assert counted(found.files[0]) == {"duplicate": 1, "near-duplicate": 1}  # nobody ranks the same twice


def test_a_reply_is_not_better_than_itself(tmp_path: Path, draw: random.Random) -> None:
    row = ranking(draw)
    row["replies"][2]["content"] = row["replies"][0]["content"]
    write(tmp_path / "rankings.jsonl", lines([row, ranking(draw)]))
    _, found = told(tmp_path)
    assert counted(found.files[0]) == {"ranks a reply above the same reply": 1}


def people(draw: random.Random) -> list[Row]:
    shared = [words(draw, 12) for _ in range(20)]
    return [
        ranking(draw, trainer=name, asked=draw.choice(shared) if n % 4 == 0 else "")
        for name in NAMES
        for n in range(20)
    ]


def test_of_people_held_out_nothing_is_learnt_and_no_prompt_is_on_both_sides(
    tmp_path: Path, draw: random.Random
) -> None:
    write(tmp_path / "rankings.jsonl", lines(people(draw)))
    source, found = told(tmp_path, held_out_people=0.3)
    out = set(found.people.held_out)
    learnt, apart = list(source.rankings), list(source.rankings_held_out)
    assert found.people.named == 12
    assert 2 <= len(out) <= 6
    assert not out & {one.trainer for one in learnt}
    assert out <= {one.trainer for one in apart}
    assert {one.trainer for one in apart} - out, "held-out prompts of people whom the model knows"
    assert not {asked(one) for one in learnt} & {asked(one) for one in apart}
    assert found.files[0].held_out_people == sum(one.trainer in out for one in apart)
    assert counted(found.files[0])["of a person held out, but its prompt is learnt from"] > 0


def test_the_snapshot_says_who_is_held_out(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "rankings.jsonl", lines(people(draw)))
    run = Run(tmp_path / "run", seed=1, plan=NumericPlan())
    snapshot = run.once("data", take_snapshot, FilesSource(data(tmp_path, held_out_people=0.3), 1))
    _, found = told(tmp_path, held_out_people=0.3)
    assert people_held_out_of(snapshot) == set(found.people.held_out)


def test_a_person_s_side_does_not_depend_on_the_others(tmp_path: Path, draw: random.Random) -> None:
    rows = people(draw)
    write(tmp_path / "rankings.jsonl", lines(rows))
    everybody = set(told(tmp_path, held_out_people=0.3)[1].people.held_out)
    write(tmp_path / "rankings.jsonl", lines(rows[:100]))
    fewer = set(told(tmp_path, held_out_people=0.3)[1].people.held_out)
    assert fewer == everybody & set(NAMES[:5])


def test_people_can_be_held_out_by_name(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "rankings.jsonl", lines(people(draw)))
    source, found = told(tmp_path, held_out_names=("person 3", "nobody of that name"))
    assert found.people.held_out == ("person 3",)
    assert "person 3" not in {one.trainer for one in source.rankings}


def test_who_asked(draw: random.Random) -> None:
    from parley.dialects import demonstrations, rankings

    (written,) = demonstrations.parse(talk(draw, trainer="ana"))
    (judged,) = rankings.parse(ranking(draw, trainer="bo"))
    customer = ranking(draw, trainer="bo")
    customer["messages"][0]["author"] = "customer 7"
    (signed,) = rankings.parse(customer)
    assert (asker(written), asker(judged), asker(signed)) == ("ana", "", "customer 7")
    assert people_of(signed) == {"bo", "customer 7"}


def test_at_most_so_many_prompts_a_person(tmp_path: Path, draw: random.Random) -> None:
    rows = [talk(draw, trainer=name) for name in ("ana", "bo", "") for _ in range(60)]
    twice = [talk(draw, trainer="ana", asked=rows[0]["messages"][0]["content"])]
    write(tmp_path / "dialogues.jsonl", lines([*rows, *twice]))
    source, found = told(tmp_path, held_out_share=0.0, prompts_a_person=25)
    kept = list(source.demonstrations)
    for name in ("ana", "bo"):
        assert len({asked(one) for one in kept if one.trainer == name}) == 25
    assert sum(one.trainer == "" for one in kept) == 60
    assert counted(found.files[0]) == {"over the limit of prompts a person": 181 - len(kept)}
    write(tmp_path / "dialogues.jsonl", lines(reversed([*rows, *twice])))
    again, _ = told(tmp_path, held_out_share=0.0, prompts_a_person=25)
    assert set(again.demonstrations) == set(kept), "the order of the rows chose them"


def test_prompts_that_begin_alike(tmp_path: Path, draw: random.Random) -> None:
    template = "Please rewrite the following text in a friendly tone, keep it short, and sign it: "
    rows = [talk(draw, asked=template + words(draw, 20)) for _ in range(5)]
    answered_again = [talk(draw, asked=rows[0]["messages"][0]["content"])]
    write(tmp_path / "dialogues.jsonl", lines([*rows, *answered_again, talk(draw, asked=template[:60])]))
    _, found = told(tmp_path, held_out_share=0.0, common_prefix=70)
    assert counted(found.files[0]) == {"its prompt begins as another does": 4}
    assert found.files[0].dropped[0].places[0] == "line 2, as line 1"


def private_rows(draw: random.Random) -> list[Row]:
    return [talk(draw, asked=f"{words(draw, 9)} ana{n}@example.com {words(draw, 3)}") for n in range(40)]


def test_private_details_are_masked_in_the_training_part_alone(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "dialogues.jsonl", lines(private_rows(draw)))
    source, found = told(tmp_path)
    assert all("[email]" in asked(one) and "@" not in asked(one) for one in source.demonstrations)
    assert all("@example.com" in asked(one) for one in source.demonstrations_held_out)
    assert found.files[0].private == {"email": len(list(source.demonstrations))}
    assert "@" not in "".join(text for one in found.files[0].examples for _, text in one.turns)
    assert all("ana" not in one for one in found.files[0].private_seen["email"])
    assert {item.kind: item.found / item.planted for item in found.recall}["email"] >= 0.95
    assert all("@" not in prompt.conversation.messages[0].text for prompt in source.prompts)


def test_or_their_rows_dropped_or_kept(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "dialogues.jsonl", lines([*private_rows(draw), *(talk(draw) for _ in range(10))]))
    dropped, found = told(tmp_path, held_out_share=0.0, pii="drop")
    assert (len(list(dropped.demonstrations)), counted(found.files[0])) == (10, {"holds private details": 40})
    kept, unlooked = told(tmp_path, held_out_share=0.0, pii="keep")
    assert sum("@" in asked(one) for one in kept.demonstrations) == 40
    assert unlooked.recall == ()


def test_one_file_can_have_a_policy_of_its_own(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "a.jsonl", lines(private_rows(draw)))
    write(tmp_path / "b.jsonl", lines(private_rows(draw)))
    looked = FileData(file="a.jsonl", format="demonstrations", name="a")
    files = (looked, replace(looked, file="b.jsonl", name="b", pii="keep"))
    source = FilesSource(FilesData(root=str(tmp_path), dialogues=files, held_out_share=0.0), 1).tell()
    assert {one.source for one in source.demonstrations if "@" in asked(one)} == {"b"}


def test_the_mix_of_the_recipe_is_what_is_told(tmp_path: Path, draw: random.Random) -> None:
    for name, count in (("a", 400), ("b", 90), ("c", 30)):
        write(tmp_path / f"{name}.jsonl", lines(talk(draw) for _ in range(count)))
    weights = {"a": 0.2, "b": 0.5, "c": 0.3}
    files = tuple(
        FileData(file=f"{name}.jsonl", format="demonstrations", name=name, weight=weight)
        for name, weight in weights.items()
    )
    source = FilesSource(FilesData(root=str(tmp_path), dialogues=files), 2).tell()
    characters = dict.fromkeys(weights, 0)
    for one in source.demonstrations:
        characters[one.source] += sum(len(one.conversation.messages[n].text) for n in one.imitate)
    total = sum(characters.values())
    assert {name: size / total for name, size in characters.items()} == pytest.approx(weights, abs=0.01)
    assert source.hygiene is not None
    assert [part.repeats > 1 for part in source.hygiene.mix] == [False, True, True]


def test_texts_by_weight_and_by_name(tmp_path: Path, draw: random.Random) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", lines(document(draw) for _ in range(100)))
    files = tuple(
        FileData(file=f"{name}.jsonl", format="text", weight=n) for n, name in enumerate("ab", start=1)
    )
    source = FilesSource(FilesData(root=str(tmp_path), texts=files, text_characters=9000), 2).tell()
    sizes = {name: sum(len(d.text) for d in source.documents if d.source == name) for name in "ab"}
    assert sizes == {"a": 3000, "b": 6000}
    assert {one.source for one in source.documents_held_out} == {"a", "b"}


def test_documents_held_out_are_cut_but_never_learnt(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "texts.jsonl", lines(document(draw) for _ in range(100)))
    source, _ = told(tmp_path, held_out_texts=7, held_out_text_characters=50)
    apart = [one.text for one in source.documents_held_out]
    assert [len(text) for text in apart] == [50] * 7
    assert not any(one.text.startswith(text) for one in source.documents for text in apart)
    assert len(list(source.documents)) == 93


def test_a_draw_does_not_depend_on_what_else_is_there(tmp_path: Path, draw: random.Random) -> None:
    rows = lines(talk(draw) for _ in range(200))
    files = (FileData(file="dialogues.jsonl", format="demonstrations", limit=50),)
    write(tmp_path / "dialogues.jsonl", rows)
    first, _ = told(tmp_path, dialogues=files)
    write(tmp_path / "dialogues.jsonl", [b"{}", *rows[:100], *rows, b"no"])
    again, _ = told(tmp_path, dialogues=files)
    assert set(first.demonstrations) == set(again.demonstrations)
    assert len(set(first.demonstrations) | set(first.demonstrations_held_out)) == 50


def test_findings_survive_the_file(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "dialogues.jsonl", [b"no", *lines([*private_rows(draw), talk(draw), talk(draw)])])
    _, found = told(tmp_path)
    save_findings(found, tmp_path / "found.json")
    assert read_findings(tmp_path / "found.json") == found


def test_weights_are_given_to_all_or_to_none() -> None:
    one = FileData(file="a", format="text", weight=1.0)
    with pytest.raises(ValueError, match="every file of a section has a weight, or none"):
        FilesData(texts=(one, FileData(file="b", format="text")))
    with pytest.raises(ValueError, match="rankings take no weight"):
        FilesData(rankings=(one,))


def test_a_share_of_one_person_is_all_or_nothing(tmp_path: Path, draw: random.Random) -> None:
    write(tmp_path / "rankings.jsonl", lines(ranking(draw, trainer="bo") for _ in range(20)))
    for seed in range(8):
        source, found = told(tmp_path, seed, held_out_people=0.5)
        assert bool(list(source.rankings)) != bool(found.people.held_out)
