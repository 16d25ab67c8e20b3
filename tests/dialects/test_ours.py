"""Our own two formats, `demonstrations` and `rankings`: what they hold, refuse, and give back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.dialects import demonstrations, rankings
from parley.dialects.fields import Fault
from parley.dialects.saving import line
from parley.dialogue import Conversation, Message, Role
from parley.labels import Choice, Choices, Demonstration, Ranking, Ranks, Sign
from tests.dialects.files import TALK, ranks, signs

HISTORY = [{"role": "user", "content": "Hi"}]
SAID = (
    st.text(min_size=1, max_size=12)
    | st.sampled_from(["a\u2028b", "\x85.", "\r\n\r\nHuman: x", "\0", "\ufeffa"])
).filter(lambda text: bool(text.strip()))
NAMES = st.sampled_from(["", "ann", "user", "unknown", "trainer:ann", "ppo-3", "Zoë\n"])


def fault_of(parse: object, row: object) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        list(parse(row))  # type: ignore[operator]
    return caught.value.field, caught.value.reason


# --- demonstrations --------------------------------------------------------------------------------------


def test_a_demonstration_as_the_interface_says() -> None:
    [record] = demonstrations.parse({"messages": TALK, "trainer": "ann"})
    assert record == Demonstration(
        Conversation((Message("user", "Hi", "user"), Message("assistant", "Hello!", "trainer:ann"))),
        imitate=(1,),
        trainer="ann",
        source="demonstrations",
    )
    assert list(demonstrations.express(record)) == [{"messages": TALK, "trainer": "ann"}]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"messages": []}, "messages", "is empty"),
        ({"messages": "Hi"}, "messages", "must be a list, not 'Hi'"),
        ({"messages": TALK[:1]}, "messages", "has no assistant turn: a dialogue needs both sides"),
        ({"messages": TALK[1:]}, "messages", "has no user turn: a dialogue needs both sides"),
        ({"messages": [*TALK, 3]}, "messages[2]", "must be an object, not 3"),
        ({"messages": [*TALK, {"content": "x"}]}, "messages[2].role", "is missing"),
        (
            {"messages": [*TALK, {"role": "tool", "content": "x"}]},
            "messages[2].role",
            "is one of system, user, assistant, not 'tool'",
        ),
        ({"messages": [*TALK, {"role": "assistant", "content": " \n"}]}, "messages[2].content", "is empty"),
        (
            {"messages": [*TALK, {"role": "user", "content": None}]},
            "messages[2].content",
            "must be text, not None",
        ),
        (
            {"messages": [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, *TALK]},
            "messages[1]",
            "is a second system message",
        ),
        (
            {"messages": [*TALK, {"role": "system", "content": "b"}]},
            "messages[2]",
            "is a system message, not the first",
        ),
        ({"imitate": []}, "imitate", "is empty"),
        ({"imitate": [True]}, "imitate[0]", "must be a whole number, not True"),
        ({"imitate": [1, 0]}, "imitate[1]", "must be the index of an assistant turn, not 0"),
        ({"trainer": None}, "trainer", "must be text, not None"),
    ],
)
def test_demonstrations_at_fault(change: dict[str, object], field: str, reason: str) -> None:
    assert fault_of(demonstrations.parse, {"messages": TALK, "trainer": "ann"} | change) == (field, reason)


@st.composite
def talks(draw: st.DrawFn) -> Conversation:
    either: st.SearchStrategy[Role] = st.sampled_from(["user", "assistant"])
    roles: list[Role] = [*draw(st.lists(either, max_size=3)), "user", "assistant"]
    start: list[Role] = ["system"] if draw(st.booleans()) else []
    return Conversation(tuple(Message(role, draw(SAID), draw(NAMES)) for role in [*start, *roles]))


@st.composite
def demonstrated(draw: st.DrawFn) -> Demonstration:
    talk = draw(talks())
    answers = [n for n, message in enumerate(talk.messages) if message.role == "assistant"]
    imitate = draw(st.lists(st.sampled_from(answers), min_size=1, unique=True))
    return Demonstration(talk, tuple(sorted(imitate)), draw(NAMES), draw(NAMES))


@settings(max_examples=150, deadline=None)
@given(demonstrated())
def test_demonstrations_come_back_as_they_were(record: Demonstration) -> None:
    [row] = demonstrations.express(record)
    assert list(demonstrations.parse(json.loads(line(row)))) == [record]
    assert len(line(row).decode().splitlines()) == 1  # also for readers that break lines at U+2028


# --- rankings --------------------------------------------------------------------------------------------


def ranked(*order: object) -> dict[str, object]:
    replies = [{"content": f"reply {n}", "rank": rank} for n, rank in enumerate(order)]
    return {"messages": HISTORY, "replies": replies, "trainer": "ann"}


def chosen(*choices: object) -> dict[str, object]:
    replies = [{"content": f"reply {n}"} for n in range(3)]
    return {"messages": HISTORY, "replies": replies, "choices": list(choices), "trainer": "ann"}


def test_a_ranking_as_the_interface_says() -> None:
    row = ranked(2, 1, 2)
    [record] = rankings.parse(row)
    assert ranks(record) == (2, 1, 2)
    assert [(pair.better, pair.worse) for pair in record.comparisons()] == [(1, 0), (1, 2)]
    assert (record.trainer, record.source) == ("ann", "rankings")
    assert [reply.author for reply in record.replies] == ["unknown"] * 3
    assert list(rankings.express(record)) == [row]


def test_choices_stay_the_choices_that_were_made() -> None:
    row = chosen(
        [0, 1, ">"], [1, 2, "="], [2, 0, "<"]
    )  # consistent with ranks 1, 2, 2, and still told as pairs
    [record] = rankings.parse(row)
    assert signs(record) == [(0, 1, ">"), (1, 2, "="), (2, 0, "<")]
    assert [(pair.better, pair.worse) for pair in record.comparisons()] == [(0, 1), (0, 2)]
    assert list(rankings.express(record)) == [row]


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (ranked(1), "replies", "must be 2 to 9, not 1"),
        (ranked(*range(1, 11)), "replies", "must be 2 to 9, not 10"),
        (ranked(1, 0), "replies[1].rank", "must be 1 (best) or more, not 0"),
        (ranked(1, -1), "replies[1].rank", "must be 1 (best) or more, not -1"),
        (ranked(1, 1.5), "replies[1].rank", "must be a whole number, not 1.5"),
        (ranked(True, 1), "replies[0].rank", "must be a whole number, not True"),
        (ranked(1, None), "replies[1].rank", "must be a whole number, not None"),
        (ranked(1, "2"), "replies[1].rank", "must be a whole number, not '2'"),
        (
            {"messages": HISTORY, "replies": [{"content": "a", "rank": 1}, {"content": "b"}]},
            "replies[1].rank",
            "is missing",
        ),
        (ranked(1, 2) | {"messages": TALK}, "messages", "must end in a user turn, which the replies answer"),
        (ranked(1, 2) | {"replies": None}, "replies", "must be a list, not None"),
        (
            ranked(1, 2) | {"choices": [[0, 1, ">"]]},
            "replies[0].rank",
            "stands beside 'choices': give one of them",
        ),
        (chosen(), "choices", "is empty"),
        (chosen([0, 1]), "choices[0]", 'must be like [0, 1, ">"]'),
        (chosen([0, 3, ">"]), "choices[0]", "must name two of the 3 replies, counted from 0"),
        (chosen([1, 1, "="]), "choices[0]", "must name two of the 3 replies, counted from 0"),
        (chosen([0, 1, ">="]), "choices[0]", 'must say ">", "<" or "=", not \'>=\''),
        (chosen([0, 1, ">"], [1, 0, ">"]), "choices[1]", "names the pair 1, 0 a second time"),
    ],
)
def test_rankings_at_fault(row: dict[str, object], field: str, reason: str) -> None:
    assert fault_of(rankings.parse, row) == (field, reason)


def test_an_empty_reply_is_at_fault() -> None:
    row = {"messages": HISTORY, "replies": [{"content": "a", "rank": 1}, {"content": "", "rank": 2}]}
    assert fault_of(rankings.parse, row) == ("replies[1].content", "is empty")


@st.composite
def judged(draw: st.DrawFn) -> Ranking:
    prompt = Conversation((*draw(talks()).messages, Message("user", draw(SAID), draw(NAMES))))
    count = draw(st.integers(2, 9))
    replies = tuple(Message("assistant", draw(SAID), draw(NAMES)) for _ in range(count))
    order = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    sign: st.SearchStrategy[Sign] = st.sampled_from([">", "<", "="])
    choices = tuple(Choice(n, n + 1, draw(sign)) for n in range(count - 1))
    judgement = Ranks(tuple(order)) if draw(st.booleans()) else Choices(choices)
    return Ranking(prompt, replies, judgement, draw(NAMES), draw(NAMES))


@settings(max_examples=150, deadline=None)
@given(judged())
def test_rankings_come_back_as_they_were(record: Ranking) -> None:
    [row] = rankings.express(record)
    assert list(rankings.parse(json.loads(line(row)))) == [record]


def test_the_two_formats_send_each_other_away() -> None:
    [ranking] = rankings.parse(ranked(1, 2))
    [demonstration] = demonstrations.parse({"messages": TALK})
    with pytest.raises(Fault, match="write it as rankings"):
        list(demonstrations.express(ranking))
    with pytest.raises(Fault, match="write it as demonstrations"):
        list(rankings.express(demonstration))


def test_a_written_row_is_one_line_for_every_reader() -> None:
    assert line({"a": "b\u2028c\u2029d\x85e\nf"}) == b'{"a": "b\\u2028c\\u2029d\\u0085e\\nf"}\n'
