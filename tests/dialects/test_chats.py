"""Other people's conversations: openai-chat, sharegpt, gsm8k, self-dialogue, taskmaster."""

from __future__ import annotations

import pytest

from parley.dialects import gsm8k, openai_chat, self_dialogue, sharegpt, taskmaster
from parley.dialects.fields import Fault
from parley.dialogue import Message
from parley.labels import Demonstration
from tests.dialects.files import TALK
from tests.dialects.test_ours import fault_of


def roles(record: Demonstration) -> str:
    return "".join(message.role[0] for message in record.conversation.messages)


# --- openai-chat -----------------------------------------------------------------------------------------


def test_openai_chat_keeps_weights_and_systems() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        *TALK,
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Then.", "weight": 0},
    ]
    [record] = openai_chat.parse({"messages": messages})
    assert (roles(record), record.imitate) == ("suaua", (2,))
    assert list(openai_chat.express(record)) == [{"messages": messages}]


def test_openai_chat_reads_one_text_part() -> None:
    part = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    [record] = openai_chat.parse({"messages": [part, TALK[1]]})
    assert record.conversation.messages[0].text == "Hi"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "tool", "content": "3"}, "messages[2].role"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}, "messages[2].tool_calls"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "messages[2].content"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}] * 2}, "messages[2].content"),
        ({"role": "user", "content": []}, "messages[2].content"),
        ({"role": "assistant", "content": None}, "messages[2].content"),
        ({"role": "assistant", "content": "x", "weight": 0.5}, "messages[2].weight"),
        ({"role": "assistant", "content": "x", "weight": True}, "messages[2].weight"),
    ],
)
def test_openai_chat_at_fault(message: dict[str, object], field: str) -> None:
    assert fault_of(openai_chat.parse, {"messages": [*TALK, message]})[0] == field


def test_openai_chat_without_anything_to_imitate() -> None:
    row = {"messages": [TALK[0], TALK[1] | {"weight": 0}]}
    assert "nothing is left to imitate" in fault_of(openai_chat.parse, row)[1]


# --- sharegpt --------------------------------------------------------------------------------------------


def shared(*turns: tuple[str, str]) -> dict[str, object]:
    return {"conversations": [{"from": who, "value": said} for who, said in turns]}


def test_sharegpt_both_ways() -> None:
    row = shared(("system", "Be brief."), ("human", "Hi"), ("gpt", "Hello!"), ("gpt", "Still here."))
    [record] = sharegpt.parse(row)
    assert (roles(record), record.imitate) == ("suaa", (2, 3))
    assert list(sharegpt.express(record)) == [row]


def test_sharegpt_system_key_and_other_names() -> None:
    [record] = sharegpt.parse(
        shared(("user", "Hi"), ("chatgpt", "Hello!")) | {"system": "Be brief.", "id": "x"}
    )
    assert (roles(record), record.conversation.messages[0].text) == ("sua", "Be brief.")
    [record] = sharegpt.parse(shared(("human", "Hi"), ("gpt", "Hello!")) | {"system": ""})
    assert roles(record) == "ua"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (shared(("human", "Hi")), "conversations"),
        (shared(("gpt", "Hi")), "conversations"),
        (shared(("human", "Hi"), ("gpt", "")), "conversations[1].value"),
        (shared(("human", "Hi"), ("observation", "3")), "conversations[1].from"),
        (shared(("human", "Hi"), ("system", "x"), ("gpt", "y")), "conversations[1]"),
        (shared(("system", "x"), ("human", "Hi"), ("gpt", "y")) | {"system": "z"}, "system"),
        ({"conversations": []}, "conversations"),
        ({"messages": TALK}, "conversations"),
    ],
)
def test_sharegpt_at_fault(row: dict[str, object], field: str) -> None:
    assert fault_of(sharegpt.parse, row)[0] == field


def test_sharegpt_cannot_leave_turns_out() -> None:
    [record] = sharegpt.parse(shared(("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")))
    with pytest.raises(Fault, match="leaves assistant turns out"):
        list(sharegpt.express(Demonstration(record.conversation, (3,), "", "")))


# --- gsm8k, self-dialogue, taskmaster --------------------------------------------------------------------


def test_gsm8k_keeps_the_answer_to_the_letter() -> None:
    answer = "Two and two are <<2+2=4>>4.\n#### 4"
    [record] = gsm8k.parse({"question": "What are two and two?", "answer": answer})
    assert record.conversation.messages == (
        Message("user", "What are two and two?", "user"),
        Message("assistant", answer, "trainer:gsm8k"),
    )
    assert fault_of(gsm8k.parse, {"question": "q", "answer": ""}) == ("answer", "is empty")


def test_self_dialogue_gives_the_odd_turns_to_the_user() -> None:
    [record] = self_dialogue.parse({"id": "1", "topic": "tea", "turns": ["Tea?", "Yes.", "Now?"]})
    assert (roles(record), record.imitate) == ("uau", (1,))
    assert {message.author for message in record.conversation.messages} == {"trainer:self-dialogue"}
    assert fault_of(self_dialogue.parse, {"turns": ["Tea?"]})[0] == "turns"
    assert fault_of(self_dialogue.parse, {"turns": ["Tea?", "Yes.", " "]}) == ("turns[2]", "is empty")
    assert fault_of(self_dialogue.parse, {"turns": ["Tea?", 4]})[0] == "turns[1]"


def uttered(*turns: tuple[str, str]) -> dict[str, object]:
    return {"utterances": [{"speaker": who, "text": said} for who, said in turns]}


def test_taskmaster_keeps_consecutive_turns_apart() -> None:
    said = ("user", "Tea."), ("assistant", "Yes."), ("ASSISTANT", "Milk?"), ("USER", "No.")
    [record] = taskmaster.parse(uttered(*said))
    assert (roles(record), record.imitate) == ("uaau", (1, 2))
    assert [message.text for message in record.conversation.messages] == ["Tea.", "Yes.", "Milk?", "No."]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (uttered(("user", "Tea.")), "utterances"),
        (uttered(("user", "Tea."), ("waiter", "Yes.")), "utterances[1].speaker"),
        (uttered(("user", "Tea."), ("assistant", "")), "utterances[1].text"),
        ({}, "utterances"),
    ],
)
def test_taskmaster_at_fault(row: dict[str, object], field: str) -> None:
    assert fault_of(taskmaster.parse, row)[0] == field
