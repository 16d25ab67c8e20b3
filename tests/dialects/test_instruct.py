"""Instruction rows become dialogue and come back to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.dialects import instruct, read, write
from parley.dialects.fewshot import STYLES, FewShot, assemble, separate
from parley.dialects.fields import Fault
from parley.dialogue import dialogue
from parley.labels import Demonstration
from tests.dialects.files import jsonl
from tests.dialects.test_ours import fault_of

ALPACA: dict[str, object] = {"instruction": "Translate.", "input": "chat", "output": "cat"}
PAIRS = [{"input": "a", "output": "1"}, {"input": "b", "output": "2"}, {"input": "c", "output": "3"}]


def turns(example: Demonstration) -> list[str]:
    return [message.text for message in example.conversation.messages]


@pytest.mark.parametrize(
    ("row", "question", "source"),
    [
        (ALPACA, "Translate.\n\nInput:\nchat", "alpaca"),
        (ALPACA | {"input": ""}, "Translate.", "alpaca"),
        ({"instruction": "Translate.", "output": "cat"}, "Translate.", "instruction-output"),
        (
            {"instruction": "Who?", "context": "It was Ann.", "response": "cat", "category": "qa"},
            "Who?\n\nContext:\nIt was Ann.",
            "dolly",
        ),
        ({"instruction": "Who?", "response": "cat"}, "Who?", "instruction-response"),
        ({"prompt": "Once upon", "completion": "cat"}, "Once upon", "completion"),
        (
            {"id": "s1", "instruction": "Who?", "instances": [{"input": "", "output": "cat"}]},
            "Who?",
            "self-instruct",
        ),
    ],
)
def test_one_row_one_turn_each(row: dict[str, object], question: str, source: str) -> None:
    [example] = instruct.to_dialogue(row)
    assert (turns(example), example.imitate, example.source) == ([question, "cat"], (1,), source)
    assert example.conversation.messages[1].author == f"trainer:{source}"
    assert instruct.from_dialogue([example]) | instruct.extras(row) == row


def test_a_known_trainer_is_named() -> None:
    [example] = instruct.to_dialogue(ALPACA, trainer="ann")
    assert (example.trainer, example.conversation.messages[1].author) == ("ann", "trainer:ann")


def test_labels_inside_the_texts_are_told_apart() -> None:
    def asked(instruction: str, given: str) -> list[str]:
        [example] = instruct.to_dialogue({"instruction": instruction, "input": given, "output": "z"})
        return turns(example)[:-1]

    assert asked("a\n\nInput:\nb", "") == ["a\n\nInput:\nb\n\nInput:\n"]
    assert asked("a\n\nInput:\nb", "c") == ["a\n\nInput:\nb\n\nInput:\nc"]
    assert asked("a", "b\n\nInput:\nc") == ["a", "b\n\nInput:\nc"]  # two user turns


def test_k_pairs_give_k_examples_with_the_other_pairs_before() -> None:
    row: dict[str, object] = {"instruction": "Map.", "instances": PAIRS}
    examples = instruct.to_dialogue(row)
    assert [turns(example) for example in examples] == [
        ["Map.\n\nInput:\nb", "2", "c", "3", "a", "1"],
        ["Map.\n\nInput:\na", "1", "c", "3", "b", "2"],
        ["Map.\n\nInput:\na", "1", "b", "2", "c", "3"],
    ]
    assert {example.imitate for example in examples} == {(5,)}
    assert instruct.from_dialogue(examples) == row


def test_pairs_without_input_repeat_the_instruction() -> None:
    row: dict[str, object] = {"instruction": "Joke!", "instances": [{"input": "", "output": x} for x in "ab"]}
    examples = instruct.to_dialogue(row)
    assert [turns(example) for example in examples] == [
        ["Joke!", "b", "Joke!", "a"],
        ["Joke!", "a", "Joke!", "b"],
    ]
    assert instruct.from_dialogue(examples) == row


def test_a_few_shot_prompt_becomes_turns_and_k_examples() -> None:
    prompt = "Name the capital.\n\nQ: France\nA: Paris\n\nQ: Japan\nA:"
    row: dict[str, object] = {"instruction": prompt, "input": "", "output": " Tokyo"}
    examples = instruct.to_dialogue(row)
    assert [turns(example) for example in examples] == [
        ["Name the capital.\n\nInput:\nJapan", " Tokyo", "France", "Paris"],
        ["Name the capital.\n\nInput:\nFrance", "Paris", "Japan", " Tokyo"],
    ]
    assert examples[0].source == "alpaca:q-a"
    assert instruct.from_dialogue(examples) == row


def test_a_few_shot_prompt_without_preamble() -> None:
    row: dict[str, object] = {"prompt": "Input: 1\nOutput: 2\nInput: 3\nOutput:", "completion": " 4"}
    examples = instruct.to_dialogue(row)
    assert turns(examples[-1]) == ["1", "2", "3", " 4"]
    assert examples[-1].source == "completion:input-output-tight"
    assert instruct.from_dialogue(examples) == row


@pytest.mark.parametrize(
    "prompt",
    [
        "Question: when was it?\nAnswer:",  # no example
        "Q: a\nA: b\n\nQ: c",  # no open answer
        "Q: a\nA: \n\nQ: c\nA:",  # an empty answer
        "Q: a\nA: b\nA: c\n\nQ: d\nA:",  # two answers
        "Q: a\n\nQ: b\nA: c\n\nQ: d\nA:",  # a question without its answer
        "Q: a\nA: b\n\nQ: c\nA: ",
    ],
)
def test_what_is_not_regular_stays_one_turn(prompt: str) -> None:
    assert separate(prompt) is None
    row: dict[str, object] = {"instruction": prompt, "input": "", "output": "x"}
    [example] = instruct.to_dialogue(row)
    assert turns(example) == [prompt, "x"]
    assert instruct.from_dialogue([example]) == row


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({}, "instruction", "is missing"),
        ({"text": "x"}, "instruction", "is missing"),
        ({"instruction": "x"}, "output", "is missing"),
        ({"output": "x"}, "instruction", "is missing"),
        ({"prompt": "x"}, "completion", "is missing"),
        (ALPACA | {"output": ""}, "output", "is empty"),
        (ALPACA | {"instruction": " "}, "instruction", "is empty"),
        (ALPACA | {"input": None}, "input", "must be text, not None"),
        (ALPACA | {"output": 3}, "output", "must be text, not 3"),
        ({"instruction": "x", "instances": []}, "instances", "is empty"),
        ({"instruction": "x", "instances": [{"input": "a"}]}, "instances[0].output", "is missing"),
        ({"instruction": "x", "instances": [*PAIRS, {"output": ""}]}, "instances[3].output", "is empty"),
        ({"instruction": "x", "instances": ["a"]}, "instances[0]", "must be an object, not 'a'"),
    ],
)
def test_rows_at_fault(row: dict[str, object], field: str, reason: str) -> None:
    assert fault_of(instruct.parse, row) == (field, reason)


TRICKY = st.sampled_from(
    ["\n\nInput:\n", "\n\nContext:\n", "\n", "Input:\n", "Q: ", "\nA: ", "\n\nQ: ", "\nA:", "x"]
)
WORDS = st.lists(TRICKY | st.text(max_size=3), min_size=1, max_size=6).map("".join)
SAID = WORDS.filter(lambda text: bool(text.strip()))


@settings(max_examples=300, deadline=None)
@given(SAID, WORDS | st.just(""), SAID, st.sampled_from(instruct.SHAPES))
def test_any_row_comes_back_to_the_letter(
    instruction: str, given_: str, output: str, shape: instruct.Shape
) -> None:
    row: dict[str, object] = {shape.prompt: instruction}
    if shape.given:
        row[shape.given] = given_
    row[shape.output] = output
    assert instruct.from_dialogue(instruct.to_dialogue(row)) == row


@settings(max_examples=200, deadline=None)
@given(SAID, st.lists(st.tuples(WORDS | st.just(""), SAID), min_size=1, max_size=4))
def test_any_instances_come_back_or_are_refused(instruction: str, pairs: list[tuple[str, str]]) -> None:
    instances = [{"input": asked, "output": told} for asked, told in pairs]
    row: dict[str, object] = {"instruction": instruction, "instances": instances}
    examples = converted(row)
    if examples is None:  # only where an input repeats the instruction
        assert any(instruction in asked for asked, _ in pairs)
        return
    assert len(examples) == len(pairs)
    assert instruct.from_dialogue(examples) == row


def converted(row: dict[str, object]) -> tuple[Demonstration, ...] | None:
    try:
        return instruct.to_dialogue(row)
    except Fault:
        return None


PLAIN = st.text(alphabet="ab 1", min_size=1, max_size=4).filter(lambda text: bool(text.strip()))


@settings(max_examples=100, deadline=None)
@given(
    st.just("") | PLAIN,
    st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=3),
    PLAIN,
    st.sampled_from(sorted(STYLES)),
)
def test_every_style_is_separated(
    preamble: str, pairs: list[tuple[str, str]], question: str, style: str
) -> None:
    prompt = FewShot(preamble, tuple(pairs), question, STYLES[style])
    assert separate(assemble(prompt)) == prompt
    examples = instruct.to_dialogue({"prompt": assemble(prompt), "completion": "z"})
    assert len(examples) == len(pairs) + 1
    assert len(examples[-1].conversation.messages) == 2 * len(examples)


def test_files_of_rows_come_back(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        ALPACA,
        {"instruction": "Map.", "instances": PAIRS},
        {"instruction": "Map.", "instances": PAIRS},  # twice, side by side
        {"instruction": "Map.", "instances": PAIRS[:1]},
        {"prompt": "Q: a\nA: b\n\nQ: c\nA:", "completion": " d"},
        {"instruction": "Who?", "context": "It was Ann.", "response": "Ann"},
    ]
    reading = read("instruct", jsonl(tmp_path / "a.jsonl", rows))
    assert (reading.read, len(reading.demonstrations), reading.rejects) == (6, 11, ())
    assert write("instruct", reading.demonstrations, tmp_path / "b.jsonl").written == 6
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()


def test_an_incomplete_row_does_not_spoil_the_next(tmp_path: Path) -> None:
    first = instruct.to_dialogue({"instruction": "Map.", "instances": PAIRS[:2]})
    second = instruct.to_dialogue({"instruction": "Map.", "instances": PAIRS[1:]})
    result = write("instruct", [first[0], *second], tmp_path / "a.jsonl")
    assert (result.written, [reject.record for reject in result.rejects]) == (1, [1])


def test_what_instruct_cannot_write_is_named(tmp_path: Path) -> None:
    def demonstration(*said: str, source: str = "store") -> Demonstration:
        return Demonstration.of_all_turns(dialogue(said), trainer="", source=source)

    part = instruct.to_dialogue({"instruction": "Map.", "instances": PAIRS})[1]
    records = [demonstration("a", "b"), demonstration("a", "b", "c", "d"), part, demonstration("a", "b", "c")]
    records.append(demonstration("Q: a\nA: b\n\nQ: c\nA:", "d"))
    result = write("instruct", records, tmp_path / "a.jsonl")
    assert result.written == 1
    assert [(reject.record, reject.reason.split(":")[0]) for reject in result.rejects] == [
        (2, "are more than one question and its reply"),
        (3, "are one of 3 few-shot examples, whose others do not stand beside it"),
        (4, "are more than one question and its reply"),
        (5, "would come back as another dialogue"),
    ]
    assert read("instruct", tmp_path / "a.jsonl").demonstrations[0].conversation.messages[0].text == "a"
