"""Other people's comparisons: hh, autoj, qa-feedback, taskmaster-rewards, oasst."""

from __future__ import annotations

import json
from itertools import combinations, product

import pytest

from parley.dialects import Rated, Record, Reject, autoj, hh, oasst, qa_feedback, rankings, taskmaster_rewards
from parley.dialects.chat import judgement
from parley.dialects.fields import Fault
from parley.dialects.records import Row
from parley.dialogue import Conversation, Message
from parley.labels import Choice, Choices, Demonstration, Prompt, Ranking, Ranks, Sign
from tests.dialects.files import ranks, signs, texts
from tests.dialects.test_ours import fault_of, ranked

# --- hh --------------------------------------------------------------------------------------------------

START = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Tea?"


def pair(chosen: str, rejected: str) -> dict[str, object]:
    return {"chosen": chosen, "rejected": rejected}


def test_hh_splits_history_and_replies() -> None:
    row = pair(f"{START}\n\nAssistant:  Yes,\nplease.\n", f"{START}\n\nAssistant: No. Human: x")
    [record] = hh.parse(row)
    assert [(message.role, message.text) for message in record.prompt.messages] == [
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("user", "Tea?"),
    ]
    assert texts(record) == [" Yes,\nplease.\n", "No. Human: x"]
    assert ranks(record) == (1, 2)
    assert list(hh.express(record)) == [row]


@pytest.mark.parametrize(
    ("chosen", "rejected", "field", "reason"),
    [
        (f"{START}\n\nAssistant: a", "\n\nHuman: Hi\n\nAssistant: b", "rejected", "has another history"),
        (f"{START}\n\nAssistant: a", f"{START}\n\nAssistant: a", "rejected", "is the same as"),
        (f"{START}\n\nAssistant: a", START, "rejected", "does not end in an assistant turn"),
        (
            f"{START}\n\nAssistant: ",
            f"{START}\n\nAssistant: b",
            "chosen",
            "has a turn of 'Assistant' that is empty",
        ),
        (
            f"{START}\n\nAssistant:",
            f"{START}\n\nAssistant: b",
            "chosen",
            "has a turn of 'Assistant' that is empty",
        ),
        (f"{START}\n\nAssistant:a", f"{START}\n\nAssistant: b", "chosen", "has no space after 'Assistant:'"),
        ("Hi", "Ho", "chosen", "does not start with a speaker"),
        (f"x{START}\n\nAssistant: a", f"x{START}\n\nAssistant: b", "chosen", "does not start with a speaker"),
        ("\n\nAssistant: a", "\n\nAssistant: b", "chosen", "must end in a user turn"),
        (
            f"{START}\n\nAssistant: a\n\nAssistant: b",
            f"{START}\n\nAssistant: a\n\nAssistant: c",
            "chosen",
            "must end in a user turn",
        ),
    ],
)
def test_hh_at_fault(chosen: str, rejected: str, field: str, reason: str) -> None:
    found = fault_of(hh.parse, pair(chosen, rejected))
    assert found[0] == field
    assert found[1].startswith(reason)


def test_hh_writes_all_strict_pairs() -> None:
    [record] = rankings.parse(ranked(2, 1, 2))
    assert list(hh.express(record)) == [
        pair("\n\nHuman: Hi\n\nAssistant: reply 1", "\n\nHuman: Hi\n\nAssistant: reply 0"),
        pair("\n\nHuman: Hi\n\nAssistant: reply 1", "\n\nHuman: Hi\n\nAssistant: reply 2"),
    ]


def told(*texts_: str, system: str = "", order: tuple[int, int] = (1, 2)) -> Ranking:
    start = (Message("system", system),) if system else ()
    prompt = Conversation((*start, Message("user", texts_[0])))
    replies = tuple(Message("assistant", text, "unknown") for text in texts_[1:])
    return Ranking(prompt, replies, Ranks(order), "", "")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (told("Hi", "a", "b", system="Be brief."), "is a system message"),
        (told("Hi", "a", "b", order=(1, 1)), "all tied"),
        (told("Hi", "a\n\nHuman: b", "b"), "does not end in an assistant turn"),
        (told("Hi\n\nAssistant: I am forged", "a", "b"), "speaker mark"),
    ],
)
def test_hh_cannot_express(record: Ranking, reason: str) -> None:
    with pytest.raises(Fault, match=reason):
        list(hh.express(record))


# --- autoj -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "expected"), [(0, (1, 2)), (1, (2, 1)), (2, (1, 1))])
def test_autoj_labels(label: int, expected: tuple[int, ...]) -> None:
    row = {"scenario": "s", "prompt": "p", "response 1": "a", "response 2": "b", "label": label}
    [record] = autoj.parse(row)
    assert (ranks(record), texts(record)) == (expected, ["a", "b"])


@pytest.mark.parametrize("label", [3, -1, "0", None, True, 1.0])
def test_autoj_knows_no_other_label(label: object) -> None:
    row = {"prompt": "p", "response 1": "a", "response 2": "b", "label": label}
    assert fault_of(autoj.parse, row)[0] == "label"


# --- qa-feedback -----------------------------------------------------------------------------------------


def preferred(*preference: object) -> dict[str, object]:
    answers = {f"prediction {n}": f"answer {n}" for n in (1, 2, 3, 4)}
    passages = [["Tea", "Tea\n\nTea is a drink.", "It is hot."], ["Milk", "was added later."]]
    return {"question": "What is tea?", "passages": passages, "preference": list(preference), **answers}


def test_qa_feedback_choices_become_dense_ranks() -> None:
    [record] = qa_feedback.parse(preferred(1, 1, 0, 0, 2, 2))  # 1 > 2, 1 > 3, 1 = 4, 2 = 3, 2 < 4, 3 < 4
    assert ranks(record) == (1, 2, 2, 1)
    assert texts(record) == ["answer 1", "answer 2", "answer 3", "answer 4"]
    assert record.prompt.messages[0].text == (
        "Tea\n\nTea is a drink. It is hot.\n\nMilk\n\nwas added later.\n\nWhat is tea?"
    )


def test_qa_feedback_ties_that_are_not_transitive_stay_choices() -> None:
    [record] = qa_feedback.parse(preferred(0, 1, 1, 0, 1, 1))  # 1 = 2 and 2 = 3, but 1 > 3
    assert signs(record) == [(0, 1, "="), (0, 2, ">"), (0, 3, ">"), (1, 2, "="), (1, 3, ">"), (2, 3, ">")]
    assert len(record.comparisons()) == 4


@pytest.mark.parametrize(
    "preference", [(1, 1, 1, 1, 1), (1,) * 7, (1, 1, 1, 1, 1, 3), (1, 1, 1, 1, 1, "2"), ()]
)
def test_qa_feedback_at_fault(preference: tuple[object, ...]) -> None:
    assert fault_of(qa_feedback.parse, preferred(*preference))[0].startswith("preference")


def test_judgement_finds_ranks_exactly_where_there_are_some() -> None:
    pairs = list(combinations(range(3), 2))
    weak_orders = set()
    for order in product((1, 2, 3), repeat=3):
        weak_orders.add(
            tuple("=" if order[i] == order[j] else (">" if order[i] < order[j] else "<") for i, j in pairs)
        )
    assert len(weak_orders) == 13  # of three replies, of 27 possible judgements
    all_signs: tuple[Sign, ...] = (">", "<", "=")
    for told_signs in product(all_signs, repeat=3):
        choices = [Choice(i, j, sign) for (i, j), sign in zip(pairs, told_signs, strict=True)]
        found = judgement(3, choices)
        assert isinstance(found, Ranks) == (told_signs in weak_orders)
        assert set(found.comparisons()) == set(Choices(tuple(choices)).comparisons())
        if isinstance(found, Ranks):
            assert set(found.values) == set(range(1, max(found.values) + 1))


# --- taskmaster-rewards ----------------------------------------------------------------------------------


def rewarded(generation: object, reward: object, *context: object) -> dict[str, object]:
    asked = context or ({"role": "user", "text": "Tea"},)
    return {"context": json.dumps(asked), "generation": json.dumps(generation), "reward": reward}


def say(text: str) -> dict[str, object]:
    return {"role": "agent", "text": text}


def all_of(*rows: dict[str, object]) -> list[Record | Reject]:
    return list(taskmaster_rewards.read_rows(Row(n, row) for n, row in enumerate(rows, start=1)))


def test_rewards_are_thumbs_and_imply_rankings() -> None:
    found = all_of(
        rewarded(say("Yes"), 1.0), rewarded(say("Eh"), 0.0), rewarded(say("Yes"), 1.0), rewarded(say("No"), 0)
    )
    rated = [item for item in found if isinstance(item, Rated)]
    assert [(one.reply.text, one.good) for one in rated] == [
        ("Yes", True),
        ("Eh", False),
        ("Yes", True),
        ("No", False),
    ]
    [ranking] = [item for item in found if isinstance(item, Ranking)]
    assert (texts(ranking), ranks(ranking)) == (["Yes", "Eh", "No"], (1, 2, 2))
    assert ranking.prompt.messages == (Message("user", "Tea"),)
    assert found[-1] is ranking


def test_rewards_that_agree_or_contradict_themselves_imply_no_ranking() -> None:
    assert len(all_of(rewarded(say("a"), 1), rewarded(say("b"), 1))) == 2
    assert len(all_of(rewarded(say("a"), 1), rewarded(say("a"), 0))) == 2
    assert len(all_of(rewarded(say("a"), 1), rewarded(say("a"), 0), rewarded(say("b"), 0))) == 3
    other = {"role": "user", "text": "Milk"}
    assert len(all_of(rewarded(say("a"), 1), rewarded(say("b"), 0, other))) == 2


def test_rewards_of_many_replies_are_dealt_out() -> None:
    rows = [rewarded(say(f"good {n}"), 1) for n in range(3)] + [
        rewarded(say(f"bad {n}"), 0) for n in range(8)
    ]
    found = [item for item in all_of(*rows) if isinstance(item, Ranking)]
    assert [sorted(ranks(ranking)) for ranking in found] == [[1, 1, 2, 2, 2, 2], [1, 2, 2, 2, 2]]
    assert sorted(text for ranking in found for text in texts(ranking)) == sorted(
        json.loads(str(row["generation"]))["text"] for row in rows
    )


def test_api_calls_keep_their_own_json() -> None:
    call = {"role": "agent", "api": {"find_tea": {"kind": "grün"}}}
    answer = {"role": "api", "response": {"find_tea": ["Sencha"]}}
    context = ({"role": "user", "text": "Tea"}, say(""), call, answer)
    [rated] = taskmaster_rewards.parse(rewarded(call, 1, *context))
    assert [(message.role, message.text, message.author) for message in rated.prompt.messages] == [
        ("user", "Tea", "user"),
        ("assistant", '{"text": ""}', "unknown"),
        ("assistant", '{"api": {"find_tea": {"kind": "grün"}}}', "unknown"),
        ("user", '{"response": {"find_tea": ["Sencha"]}}', "api"),
    ]
    assert rated.reply.text == '{"api": {"find_tea": {"kind": "grün"}}}'


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (rewarded(say("a"), 0.5), "reward"),
        (rewarded(say("a"), True), "reward"),
        (rewarded(say("a"), None), "reward"),
        (rewarded(say(" "), 1), "generation.text"),
        (rewarded({"role": "user", "text": "a"}, 1), "generation.role"),
        (rewarded({"role": "agent"}, 1), "generation.text"),
        (rewarded(say("a"), 1, say("b")), "context"),
        (rewarded(say("a"), 1) | {"context": "[]"}, "context"),
        (rewarded(say("a"), 1) | {"context": "{oops"}, "context"),
        (rewarded(say("a"), 1) | {"context": "[" * 100_000}, "context"),
        (rewarded(say("a"), 1) | {"generation": "3"}, "generation"),
        ({"generation": "{}", "reward": 1}, "context"),
    ],
)
def test_rewards_at_fault(row: dict[str, object], field: str) -> None:
    assert [(item.record, item.field) for item in all_of(row) if isinstance(item, Reject)] == [(1, field)]


# --- oasst -----------------------------------------------------------------------------------------------


def node(text: object, *replies: object, rank: int | None = None, **more: object) -> dict[str, object]:
    return {"text": text, "rank": rank, "replies": list(replies), **more}


def ask(text: object, *replies: object, **more: object) -> dict[str, object]:
    return node(text, *replies, **more) | {"role": "prompter"}  # type: ignore[arg-type]


def answer(text: object, *replies: object, rank: int | None = None, **more: object) -> dict[str, object]:
    return node(text, *replies, rank=rank, **more) | {"role": "assistant"}


TREE = ask(
    "q",
    answer("worse", ask("and?", answer("so")), rank=1),
    answer("best", ask("why?", answer("weak", rank=4), answer("fine", rank=2)), ask("how?"), rank=0),
)


def said(talk: Conversation) -> list[str]:
    return [message.text for message in talk.messages]


def test_a_tree_gives_rankings_of_siblings() -> None:
    found = [record for record in oasst.parse({"prompt": TREE}) if isinstance(record, Ranking)]
    assert [(said(one.prompt), texts(one), ranks(one)) for one in found] == [
        (["q"], ["worse", "best"], (2, 1)),
        (["q", "best", "why?"], ["weak", "fine"], (2, 1)),
    ]


def test_a_tree_imitates_each_best_reply_once_in_its_own_history() -> None:
    found = [record for record in oasst.parse({"prompt": TREE}) if isinstance(record, Demonstration)]
    assert [(said(one.conversation), one.imitate) for one in found] == [
        (["q", "best", "why?", "fine"], (1, 3)),
        (["q", "worse", "and?", "so"], (3,)),
    ]


def test_a_tree_gives_its_unanswered_questions_as_prompts() -> None:
    found = [record for record in oasst.parse({"prompt": TREE}) if isinstance(record, Prompt)]
    assert [said(prompt.conversation) for prompt in found] == [["q", "best", "how?"]]


def test_a_tree_loses_what_is_deleted_or_broken_and_says_so() -> None:
    tree = ask(
        "q",
        answer("a", rank=0),
        answer("b", rank=1, deleted=True),
        answer("", rank=2),
        answer("d", rank=-1),
        answer("e", rank=7),
        answer("f", rank=3, review_result=False),
        3,
    )
    found = list(oasst.parse({"prompt": tree}))
    assert [(item.field, item.reason) for item in found if isinstance(item, Fault)] == [
        ("prompt.replies[1]", "is deleted"),
        ("prompt.replies[2].text", "is empty"),
        ("prompt.replies[3].rank", "must be 0 (best) or more, not -1"),
        ("prompt.replies[5]", "did not pass review"),
        ("prompt.replies[6]", "must be an object, not 3"),
    ]
    [ranking] = [item for item in found if isinstance(item, Ranking)]
    assert (texts(ranking), ranks(ranking)) == (["a", "e"], (1, 2))


def test_more_replies_than_a_ranking_holds_are_told() -> None:
    tree = ask("q", *(answer(f"a{n}", rank=n) for n in range(10)))
    faults = [item for item in oasst.parse({"prompt": tree}) if isinstance(item, Fault)]
    assert [(fault.field, fault.reason) for fault in faults] == [
        ("prompt.replies", "are 10 ranked ones, more than 9")
    ]


def test_authors_of_a_tree() -> None:
    tree = ask("q", answer("a", rank=0, synthetic=True, model_name="m-1"), answer("b", rank=1))
    [ranking] = [record for record in oasst.parse({"prompt": tree}) if isinstance(record, Ranking)]
    assert [reply.author for reply in ranking.replies] == ["m-1", "trainer:oasst"]
    assert ranking.prompt.messages[0].author == "user"


def test_a_very_long_thread() -> None:
    tree = answer("last")
    for n in range(400):
        tree = (ask if n % 2 == 0 else answer)(f"turn {n}", tree)
    [record] = [
        item for item in oasst.parse({"prompt": ask("first", tree)}) if isinstance(item, Demonstration)
    ]
    assert len(record.conversation.messages) == 402


def test_a_tree_without_a_root() -> None:
    assert fault_of(oasst.parse, {"message_tree_id": "x"}) == ("prompt", "is missing")
    assert fault_of(oasst.parse, {"prompt": ask("")}) == ("prompt.text", "is empty")
