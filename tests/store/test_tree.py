"""The tree of a conversation, against a naive one; and turns that come twice or all at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from parley.errors import Busy, ParleyError
from parley.labels import Verdict
from parley.ports import Sampling
from parley.store.conversations import create_conversation, get_conversation
from parley.store.database import writing
from parley.store.generations import Ending, finish
from parley.store.messages import (
    COLUMNS,
    MessageRow,
    StoredMessage,
    branch,
    forget_conversation,
    get_message,
    latest_leaf,
    siblings,
)
from parley.store.schema import new_id
from parley.store.turns import (
    Answering,
    NewTurn,
    StoredTurn,
    TreeLimits,
    begin_regeneration,
    begin_turn,
    select_branch,
    title_of,
)

from .rows import NOW, person, talk

ALLOWED = Verdict("allow", (), "test", "")
ANSWERING = (Answering("micro-sft", Sampling()),)
WIDE = TreeLimits(siblings=1000, turns=1000)
Sessions = sessionmaker[Session]


def a_turn(conversation_id: str, parent_id: str | None, client_id: str, content: str = "hello") -> NewTurn:
    return NewTurn(
        conversation_id=conversation_id,
        parent_id=parent_id,
        content=content,
        client_id=client_id,
        verdict=ALLOWED,
        answering=ANSWERING,
    )


def take(session: Session, turn: NewTurn, owner_id: str, limits: TreeLimits = WIDE) -> StoredTurn:
    return begin_turn(session, turn, owner_id=owner_id, limits=limits, writer="here:1:x", now=NOW)


def end(session: Session, turn: StoredTurn, text: str = "done") -> None:
    for reply in turn.to_write:
        assert finish(session, reply.generation_id, Ending("complete", text), seq=2, now=NOW)


def chat(session: Session, owner_id: str) -> str:
    return create_conversation(session, owner_id=owner_id, kind="chat", group=None, release=None, now=NOW).id


steps = st.lists(
    st.tuples(st.sampled_from(["follow", "edit", "regenerate", "root", "select"]), st.integers(0, 10**6)),
    min_size=1,
    max_size=25,
)


def test_any_sequence_of_turns_gives_the_naive_tree(sessions: Sessions) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(steps)
    def grow(todo: list[tuple[str, int]]) -> None:
        with writing(sessions) as session:
            owner_id = person(session)
            tree = Naive(session, chat(session, owner_id), owner_id)
            for what, dice in todo:
                tree.step(what, dice)
                tree.check()

    grow()


class Naive:
    """Every message in one list; what the store says must follow from it."""

    def __init__(self, session: Session, conversation_id: str, owner_id: str) -> None:
        self.session, self.conversation_id, self.owner_id = session, conversation_id, owner_id
        self.nodes: list[StoredMessage] = []
        self.head: str | None = None

    def step(self, what: str, dice: int) -> None:
        replies = [node for node in self.nodes if node.role == "assistant"]
        if what == "root" or not replies:
            self._turn(None)
        elif what == "follow":
            self._turn(replies[dice % len(replies)].id)
        elif what == "edit":
            asked = [node for node in self.nodes if node.role == "user"]
            self._turn(asked[dice % len(asked)].parent_id)
        elif what == "regenerate":
            made = begin_regeneration(
                self.session,
                replies[dice % len(replies)].id,
                ANSWERING[0],
                client_id=new_id(),
                owner_id=self.owner_id,
                limits=WIDE,
                writer="here:1:x",
                now=NOW,
            )
            self._add(made, made.replies)
        else:
            chosen = self.nodes[dice % len(self.nodes)].id
            select_branch(self.session, self.conversation_id, chosen, owner_id=self.owner_id)
            self.head = max(self._below(chosen))

    def check(self) -> None:
        session = self.session
        assert get_conversation(session, self.conversation_id, owner_id=self.owner_id).head_id == self.head
        assert self.head is not None
        path = self._path(self.head)
        assert [node.id for node in branch(session, self.head, limit=1000)] == path
        assert [node.id for node in branch(session, self.head, limit=3)] == path[-3:]
        assert [node.depth for node in branch(session, self.head, limit=1000)] == [
            n + 1 for n in range(len(path))
        ]
        beside = siblings(session, self.nodes)
        for node in self.nodes:
            same = tuple(other.id for other in self.nodes if other.parent_id == node.parent_id)
            assert beside[node.id] == same
            assert latest_leaf(session, node) == max(self._below(node.id))
            assert get_message(session, node.id, owner_id=self.owner_id).content in ("hello", "done")

    def _turn(self, parent_id: str | None) -> None:
        made = take(self.session, a_turn(self.conversation_id, parent_id, new_id()), self.owner_id)
        self._add(made, (made.user, *made.replies))

    def _add(self, made: StoredTurn, new: Sequence[StoredMessage]) -> None:
        end(self.session, made)
        self.nodes += new
        self.head = new[-1].id

    def _path(self, leaf_id: str) -> list[str]:
        by_id = {node.id: node for node in self.nodes}
        path, node = [], by_id.get(leaf_id)
        while node is not None:
            path.append(node.id)
            node = by_id.get(node.parent_id or "")
        return path[::-1]

    def _below(self, node_id: str) -> list[str]:
        """The leaves below a node, or itself."""
        children = [node.id for node in self.nodes if node.parent_id == node_id]
        return [leaf for child in children for leaf in self._below(child)] or [node_id]


def at_once(work: Callable[[int], object], count: int = 6) -> list[object]:
    results: list[object] = []
    barrier = threading.Barrier(count)

    def run(n: int) -> None:
        barrier.wait(timeout=20)
        try:
            results.append(work(n))
        except ParleyError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def test_of_many_who_send_the_same_request_one_makes_the_turn(sessions: Sessions) -> None:
    with writing(sessions) as session:
        owner_id = person(session)
        conversation_id = chat(session, owner_id)

    def send(_n: int) -> tuple[str, int]:
        with writing(sessions) as session:
            made = take(session, a_turn(conversation_id, None, "same"), owner_id)
            return made.user.id, len(made.to_write)

    results = at_once(send)
    assert len(results) == 6
    ids, written = zip(*results, strict=True)
    assert len(set(ids)) == 1
    assert sorted(written) == [0, 0, 0, 0, 0, 1]


def test_the_limit_of_replies_holds_however_many_ask_at_once(sessions: Sessions) -> None:
    with writing(sessions) as session:
        owner_id = person(session)
        conversations = [chat(session, owner_id) for _ in range(6)]

    def send(n: int) -> str:
        with writing(sessions) as session:
            return take(session, a_turn(conversations[n], None, "c"), owner_id, TreeLimits(turns=2)).user.id

    results = at_once(send)
    assert sum(isinstance(result, str) for result in results) == 2
    assert sum(isinstance(result, Busy) for result in results) == 4


def test_a_reply_ends_once_however_many_end_it(sessions: Sessions) -> None:
    with writing(sessions) as session:
        owner_id = person(session)
        made = take(session, a_turn(chat(session, owner_id), None, "c"), owner_id)
    generation_id, message_id = made.to_write[0].generation_id, made.replies[0].id

    def end_it(n: int) -> bool:
        with writing(sessions) as session:
            return finish(session, generation_id, Ending("stopped", f"text {n}"), seq=2, now=NOW)

    results = at_once(end_it)
    assert sorted(map(bool, results)) == [False] * 5 + [True]
    with writing(sessions) as session:
        kept = get_message(session, message_id, owner_id=owner_id)
        assert kept.state == "stopped"
        assert not finish(session, generation_id, Ending("complete", "late"), seq=9, now=NOW)
        assert get_message(session, message_id, owner_id=owner_id) == kept


def test_a_very_deep_conversation_is_walked_and_deleted(sessions: Sessions) -> None:
    with writing(sessions) as session:
        owner_id = person(session)
        conversation_id, first, last = deep(session, owner_id, 10_000)
    with writing(sessions) as session:
        assert len(branch(session, last, limit=100)) == 100
        assert len(branch(session, last, limit=20_000)) == 10_000
        assert latest_leaf(session, get_message(session, first, owner_id=owner_id)) == last
        forget_conversation(session, conversation_id, owner_id=owner_id, now=NOW)
        assert session.scalar(select(func.count()).select_from(MessageRow)) == 0


def deep(session: Session, owner_id: str, depth: int) -> tuple[str, str, str]:
    """A conversation of one branch: its id, its root's and its leaf's."""
    conversation_id, first, second = talk(session, owner_id, "root", "reply")
    root = get_message(session, second, owner_id=owner_id)
    parent_id, rows = second, []
    for n in range(3, depth + 1):
        role, release = ("user", None) if n % 2 else ("assistant", "micro-sft")
        node = replace(root, id=new_id(), parent_id=parent_id, depth=n, role=role, release=release)
        rows.append({name: getattr(node, name) for name in COLUMNS})
        parent_id = node.id
    session.connection().execute(MessageRow.__table__.insert(), rows)  # type: ignore[attr-defined]
    return conversation_id, first, parent_id


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("hello", "hello"),
        ("  two\n\nlines ", "two lines"),
        ("x" * 100, "x" * 60 + "…"),
        ("word " * 30, "word word word word word word word word word word word word…"),
        ("", ""),
    ],
)
def test_titles(said: str, title: str) -> None:
    assert title_of(said) == title


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    parsed = uuid.UUID(made[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
