"""Search: what is found, whose it is, and that the index follows every write."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text, update
from sqlalchemy.orm import Session, sessionmaker

from parley.store.conversations import ConversationRow
from parley.store.messages import MessageRow, forget_conversation
from parley.store.search import Hit, fold, search, snippet, terms_of
from parley.store.users import UserRow

from .rows import NOW, person, say, talk


def find(session: Session, user: str, query: str, limit: int = 100, before: int | None = None) -> list[Hit]:
    return list(search(session, query, owner_id=user, limit=limit, before=before))


def found(session: Session, user: str, query: str) -> list[str | None]:
    """The messages that were found, None for a title."""
    return [hit.message_id for hit in find(session, user, query)]


def index_is_empty(session: Session) -> bool:
    entries = session.scalar(text("SELECT count(*) FROM search_entry"))
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    left = (
        "SELECT count(*) FROM search_words WHERE search_words MATCH 'a*'"
        if is_sqlite
        else ("SELECT count(*) FROM search_words")
    )
    return (entries, session.scalar(text(left))) == (0, 0)


# --- what is asked for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("Mira pet", [(("mira",), False), (("pet",), True)]),
        ('"her pet" mir', [(("her", "pet"), False), (("mir",), True)]),
        ("well-known", [(("well", "known"), True)]),
        ("Işık İSTANBUL", [(("isik",), False), (("istanbul",), True)]),
        ('"', []),
        ("... !?", []),
        ('a" b', [(("a",), False), (("b",), True)]),
        ('"" a', [(("a",), True)]),
    ],
)
def test_what_a_query_asks_for(query: str, terms: list[tuple[tuple[str, ...], bool]]) -> None:
    assert [(term.words, term.prefix) for term in terms_of(query)] == terms


def test_a_long_query_is_cut() -> None:
    assert len(terms_of("word " * 500)) == 12
    assert terms_of("x" * 500)[0].words == ("x" * 64,)


# --- what is found ---------------------------------------------------------------------------------------


def test_titles_and_messages_are_found_newest_first(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        first, asked, answer = talk(session, user, "Where does Mira live?", "Mira lives in Oakby.")
        second, *_ = talk(session, user, "hello", title="About Mira")
        hits = find(session, user, "mira")
        assert {(hit.conversation_id, hit.message_id, hit.role) for hit in hits} == {
            (first, asked, "user"),
            (first, answer, "assistant"),
            (second, None, None),
        }
        assert [hit.entry for hit in hits] == sorted((hit.entry for hit in hits), reverse=True)
        assert {hit.title for hit in hits} == {"", "About Mira"}


FOUND: Final = [
    ("Mira lives in Oakby.", "oakby mira"),
    ("Mira lives in Oakby.", "oak"),
    ("Mira lives in Oakby.", '"lives in"'),
    ("a well-known fact", "well-known"),
    ("foo_bar(baz)", "bar baz"),
    ("see https://example.org/path/file.txt", "path"),
    ("user@example.org", "example"),
    ("version 3.14.15 is out", "3.14"),
    ("cafe\u0301 and résumé", "café resume"),
    ("IŞIK ve ılık su, İstanbul'da", "ışık ılık istanbul"),
    ("ISTANBUL iğde", "istanbul igde"),
    ("Straße", "straße"),
    ("Привет, МИР", "мир привет"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("東京 に行く", "東京"),
    ("line one\nline two", '"one line"'),
    ("OR AND NOT near", "or and not near"),
    ("100% 'quoted' \\ & | ! : *", "100 quoted"),
]
NOT_FOUND: Final = [
    "miracle",
    "oakby paris",
    '"in lives"',
    "ives",
    "",
    "' OR 1=1 --",
    "*",
    ":",
    "@",
    '"""',
    "(",
    "mira)) x",
    "'",
    '"a" * "b"',
    "a NEAR b",
    "owner : x",
    "a^2",
    "x:*",
    "{a}",
    "\\'",
    "$$",
    "a & !b",
]


def test_words_are_found_however_they_are_written(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        for content, query in FOUND:
            user = person(session)
            _, message = talk(session, user, content)
            assert found(session, user, query) == [message], query


def test_other_words_and_the_languages_of_the_databases_find_nothing(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        user = person(session)
        talk(session, user, "Mira lives in Oakby.")
        for query in NOT_FOUND:
            assert found(session, user, query) == [], query


def test_pages_follow_each_other_without_gap_or_repetition(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        talk(session, user, *(f"word {n}" for n in range(25)))
        entries: list[int] = []
        before: int | None = None
        while page := find(session, user, "word", limit=10, before=before):
            entries += [hit.entry for hit in page]
            before = page[-1].entry
        assert len(entries) == len(set(entries)) == 25


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_no_query_breaks_the_search(query: str) -> None:
    for term in terms_of(query):
        assert all(word and word == fold(word) for word in term.words)


# --- whose it is -----------------------------------------------------------------------------------------


def test_only_the_owners_words_are_found(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        _, hers = talk(session, ana, "the word")
        talk(session, ben, "the word", title="the word")
        assert found(session, ana, "word") == [hers]


@pytest.mark.parametrize("word", ["7e12b", "3e5f-7000-b2e9", "1e5", "0e12x4", "x-12", "v1.2.3", "a/b/c.html"])
def test_a_word_is_found_whatever_a_parser_could_read_in_it(
    sessions: sessionmaker[Session], word: str
) -> None:
    with sessions.begin() as session:
        ana = person(session)
        _, message = talk(session, ana, f"before {word} after")
        assert found(session, ana, f'"{word}"') == [message]
        assert found(session, ana, f'"before {word} after"') == [message]


def test_another_persons_id_in_a_message_or_a_query_opens_nothing(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ana, ben = person(session), person(session, "Ben")
        talk(session, ana, "a secret")
        planted = f"@{ana.replace('-', '')} {ana} a secret"
        _, his = talk(session, ben, planted)
        assert found(session, ben, f'secret "{ana}"') == [his]
        assert len(found(session, ana, "secret")) == 1
        assert his not in found(session, ana, "secret")


def test_a_conversation_that_changes_hands_is_found_by_its_new_owner(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        guest, ana = person(session, ""), person(session)
        conversation, message = talk(session, guest, "a word", title="a word in the title")
        session.execute(
            update(ConversationRow).where(ConversationRow.id == conversation).values(owner_id=ana)
        )
        assert found(session, guest, "word") == []
        assert set(found(session, ana, "word")) == {message, None}


# --- the index follows -----------------------------------------------------------------------------------


def test_an_answer_is_found_when_it_is_finished(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, asked = talk(session, user, "hi")
        answer = say(session, conversation, asked, "", state="pending")
        session.execute(
            update(MessageRow).where(MessageRow.id == answer).values(content="a word", state="stopped")
        )
        assert found(session, user, "word") == [answer]


def test_what_was_blocked_is_not_found(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, asked = talk(session, user, "hi")
        say(session, conversation, asked, "a word", state="blocked")
        shown = say(session, conversation, asked, "a word")
        assert found(session, user, "word") == [shown]
        session.execute(update(MessageRow).where(MessageRow.id == shown).values(state="blocked"))
        assert found(session, user, "word") == []


def test_a_renamed_conversation_is_found_by_its_new_name(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, *_ = talk(session, user, title="the old one")
        for title in ("the new one", "the new one"):
            session.execute(
                update(ConversationRow).where(ConversationRow.id == conversation).values(title=title)
            )
        assert found(session, user, "old") == []
        assert found(session, user, "new") == [None]


def test_deletion_leaves_nothing_in_the_index(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        conversation, *_ = talk(session, user, "alpha", "alpha", title="alpha")
        assert not index_is_empty(session)
        forget_conversation(session, conversation, owner_id=user, now=NOW)
        assert found(session, user, "alpha") == []
        assert index_is_empty(session)


def test_an_account_that_goes_takes_its_words_out_of_the_index(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
        talk(session, user, "alpha", title="alpha")
        session.execute(delete(UserRow).where(UserRow.id == user))
        assert index_is_empty(session)


def test_what_is_rolled_back_was_never_indexed(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        user = person(session)
    with sessions() as session:
        talk(session, user, "alpha")
        session.rollback()
    with sessions() as session:
        assert index_is_empty(session)


# --- snippets --------------------------------------------------------------------------------------------


def shown(content: str, query: str) -> str:
    return "".join(f"[{part.text}]" if part.hit else part.text for part in snippet(content, terms_of(query)))


def test_a_snippet_marks_what_was_found() -> None:
    assert shown("Mira lives in Oakby, says Mira.", "mira oak") == "[Mira] lives in [Oakby], says [Mira]."
    assert shown("İstanbul'da ılık", "istanbul ILIK") == "[İstanbul]'da [ılık]"
    assert shown("her pet is her pet", '"her pet"') == "[her] [pet] is [her] [pet]"
    assert shown("pet her", '"her pet"') == "pet her"


def test_a_snippet_of_a_long_text_is_cut_around_the_first_hit() -> None:
    content = " ".join(f"w{n}" for n in range(200))
    assert shown(content, "w100").startswith("…w94 w95 w96 w97 w98 w99 [w100] w101")
    assert shown(content, "w100").endswith("w117…")
    assert shown(content, "w3").startswith("w0 w1 w2 [w3]")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.text(max_size=20))
def test_a_snippet_says_nothing_that_is_not_in_the_text(content: str, query: str) -> None:
    parts = snippet(content, terms_of(query))
    assert "".join(part.text for part in parts if part.text != "…") in content or "…" in content
