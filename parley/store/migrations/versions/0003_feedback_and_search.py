"""Feedback, consent, comparisons, shared links, the queue, release states; the search index."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.String(36)
BIG_KEY: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")
COLLATIONS: Final = ("pg_c_utf8", "und-x-icu", "unicode", "C.utf8", "default")  # the first that is there


def upgrade() -> None:
    """Creates the tables, the index and the triggers that keep it in step, and indexes what is there."""
    _feedback()
    _consent()
    _comparisons()
    _shares()
    _candidates()
    _releases()
    _search()


def _to(table: str, *, nullable: bool = False, name: str = "") -> sa.Column[str]:
    """A column that names a row of another table and goes with it."""
    target = sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
    return sa.Column(name or f"{table}_id", ID, target, nullable=nullable)


def _feedback() -> None:
    said = (("reasons", sa.String(100)), ("note", sa.Text), ("ideal", sa.Text))
    op.create_table(
        "feedback",
        sa.Column("id", ID, primary_key=True),
        _to("user"),
        _to("message"),
        sa.Column("value", sa.String(4), nullable=False),
        *(sa.Column(name, kind, nullable=False) for name, kind in said),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_id", "message_id", name="feedback_once"),
        sa.CheckConstraint("value IN ('up', 'down')", name="feedback_value"),
        sa.CheckConstraint("value = 'down' OR reasons = ''", name="feedback_reasons"),
    )
    op.create_table(
        "feedback_change",
        sa.Column("id", ID, primary_key=True),
        _to("user"),
        _to("message"),
        sa.Column("value", sa.String(4)),
        *(sa.Column(name, kind, nullable=False) for name, kind in said),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_feedback_message_id", "feedback", ["message_id"])
    op.create_index("ix_feedback_change_message_id", "feedback_change", ["message_id"])


def _consent() -> None:
    op.create_table(
        "consent",
        sa.Column("id", ID, primary_key=True),
        _to("user"),
        _to("conversation", nullable=True),
        sa.Column("text_version", sa.String(20), nullable=False),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("withdrawn", sa.BigInteger),
    )
    op.create_index("consent_of", "consent", ["user_id", "conversation_id", "withdrawn"])


def _comparisons() -> None:
    op.create_table(
        "comparison",
        sa.Column("id", ID, primary_key=True),
        _to("user"),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column(
            "left_id", ID, sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False, unique=True
        ),
        sa.Column(
            "right_id", ID, sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False, unique=True
        ),
        sa.Column("swapped", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(10)),
        sa.Column("voted", sa.BigInteger),
        sa.CheckConstraint("kind IN ('drafts', 'versus')", name="comparison_kind"),
        sa.CheckConstraint("outcome IN ('left', 'right', 'tie', 'both_bad')", name="comparison_outcome"),
        sa.CheckConstraint("(outcome IS NULL) = (voted IS NULL)", name="comparison_voted"),
        sa.CheckConstraint("left_id <> right_id", name="comparison_of_two"),
    )


def _shares() -> None:
    op.create_table(
        "share",
        sa.Column("id", ID, primary_key=True),
        _to("user"),
        _to("conversation"),
        _to("message", name="leaf_id"),
        sa.Column("token", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("turns", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_index("ix_share_user_id", "share", ["user_id"])
    op.create_index("ix_share_leaf_id", "share", ["leaf_id"])


def _candidates() -> None:
    op.create_table(
        "candidate",
        sa.Column("id", ID, primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        _to("user"),
        _to("message"),
        _to("feedback", nullable=True),
        _to("comparison", nullable=True),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("decided", sa.BigInteger),
        sa.Column("decided_by", sa.String(100)),
        sa.UniqueConstraint("feedback_id", name="candidate_feedback"),
        sa.UniqueConstraint("comparison_id", name="candidate_comparison"),
        sa.CheckConstraint("kind IN ('demonstration', 'comparison', 'prompt')", name="candidate_kind"),
        sa.CheckConstraint("state IN ('waiting', 'accepted', 'rejected')", name="candidate_state"),
        sa.CheckConstraint("(state = 'waiting') = (decided IS NULL)", name="candidate_decided"),
        sa.CheckConstraint("(feedback_id IS NULL) <> (comparison_id IS NULL)", name="candidate_of_one"),
    )
    op.create_index("candidate_queue", "candidate", ["state", "id"])


def _releases() -> None:
    op.create_table(
        "release_state",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("share", sa.Float),
        sa.Column("promoted", sa.BigInteger),
        sa.CheckConstraint(
            "state IN ('candidate', 'shadow', 'canary', 'live', 'retired')", name="release_state_known"
        ),
        sa.CheckConstraint("(state = 'canary') = (share IS NOT NULL)", name="release_state_share"),
        sa.CheckConstraint("(state = 'live') = (promoted IS NOT NULL)", name="release_state_promoted"),
    )
    op.create_table(
        "release_change",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("share", sa.Float),
        sa.Column("default_release", sa.String(200)),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("action IN ('promote', 'rollback')", name="release_change_action"),
    )
    op.create_index("ix_release_change_name", "release_change", ["name"])


def _search() -> None:
    op.create_table(
        "search_entry",
        sa.Column("id", BIG_KEY, primary_key=True),
        sa.Column("owner_id", ID, nullable=False),
        sa.Column("conversation_id", sa.String(36), nullable=False),
        sa.Column("message_id", ID),
    )
    op.create_index("search_entry_message", "search_entry", ["message_id"], unique=True)
    op.create_index("search_entry_conversation", "search_entry", ["conversation_id"])
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        statements = _sqlite_search()
    else:
        known = {row[0] for row in connection.exec_driver_sql("SELECT collname FROM pg_collation")}
        collation = next(name for name in COLLATIONS if name in known)
        statements = _postgresql_search(f'"{collation}"')
    for statement in statements:
        connection.exec_driver_sql(statement)


def _can_be_found(row: str) -> str:
    return f"{row}.content <> '' AND {row}.state NOT IN ('pending', 'blocked')"


# --- SQLite ----------------------------------------------------------------------------------------------
# The index holds no text: to take a row out, FTS5 is told once more what went in.


def _sqlite_search() -> tuple[str, ...]:
    return (
        """CREATE VIRTUAL TABLE search_words
           USING fts5(owner, words, content='', tokenize="unicode61 remove_diacritics 2")""",
        f"""INSERT INTO search_entry (owner_id, conversation_id, message_id)
            SELECT owner_id, id, NULL FROM conversation WHERE title <> ''
            UNION ALL SELECT c.owner_id, c.id, m.id FROM message AS m
            JOIN conversation AS c ON c.id = m.conversation_id WHERE {_can_be_found("m")}""",
        f"""INSERT INTO search_words (rowid, owner, words)
            SELECT e.id, {_owner("e.owner_id")}, {_folded("COALESCE(m.content, c.title)")}
            FROM search_entry AS e JOIN conversation AS c ON c.id = e.conversation_id
            LEFT JOIN message AS m ON m.id = e.message_id""",
        f"""CREATE TRIGGER search_message_added AFTER INSERT ON message WHEN {_can_be_found("NEW")}
            BEGIN {_sqlite_add_message()} END""",
        f"""CREATE TRIGGER search_message_changed AFTER UPDATE OF content, state ON message
            BEGIN {_sqlite_take_out("message_id = OLD.id", "OLD.content")} {_sqlite_add_message()} END""",
        f"""CREATE TRIGGER search_message_gone AFTER DELETE ON message
            BEGIN {_sqlite_take_out("message_id = OLD.id", "OLD.content")} END""",
        f"""CREATE TRIGGER search_title_added AFTER INSERT ON conversation WHEN NEW.title <> ''
            BEGIN {_sqlite_add_title()} END""",
        f"""CREATE TRIGGER search_title_changed AFTER UPDATE OF title, deleted ON conversation
            WHEN NEW.title <> OLD.title OR NEW.deleted IS NOT NULL
            BEGIN {_sqlite_take_out(_title("OLD"), "OLD.title")} {_sqlite_add_title()} {_SQLITE_FORGET} END""",
        f"""CREATE TRIGGER search_title_gone AFTER DELETE ON conversation
            BEGIN {_sqlite_take_out(_title("OLD"), "OLD.title")} END""",
        f"""CREATE TRIGGER search_owner_changed AFTER UPDATE OF owner_id ON conversation
            WHEN NEW.owner_id <> OLD.owner_id BEGIN {_sqlite_new_owner()} END""",
    )


# What was deleted stays in the index's older parts until they are merged; this merges them all.
_SQLITE_FORGET: Final = """
        INSERT INTO search_words (search_words) SELECT 'optimize' WHERE NEW.deleted IS NOT NULL;
    """


def _owner(column: str) -> str:
    return f"replace({column}, '-', '')"


def _folded(column: str) -> str:
    """What FTS5 leaves as it is: a small i without its dot."""
    return f"replace({column}, 'ı', 'i')"


def _title(row: str) -> str:
    return f"conversation_id = {row}.id AND message_id IS NULL"


def _sqlite_add_message() -> str:
    return f"""
        INSERT INTO search_entry (owner_id, conversation_id, message_id)
        SELECT owner_id, id, NEW.id FROM conversation WHERE id = NEW.conversation_id AND {_can_be_found("NEW")};
        INSERT INTO search_words (rowid, owner, words)
        SELECT id, {_owner("owner_id")}, {_folded("NEW.content")} FROM search_entry WHERE message_id = NEW.id;
    """


def _sqlite_add_title() -> str:
    return f"""
        INSERT INTO search_entry (owner_id, conversation_id, message_id)
        SELECT NEW.owner_id, NEW.id, NULL WHERE NEW.title <> '';
        INSERT INTO search_words (rowid, owner, words)
        SELECT id, {_owner("owner_id")}, {_folded("NEW.title")} FROM search_entry WHERE {_title("NEW")};
    """


def _sqlite_take_out(which: str, words: str) -> str:
    return f"""
        INSERT INTO search_words (search_words, rowid, owner, words)
        SELECT 'delete', id, {_owner("owner_id")}, {_folded(words)} FROM search_entry WHERE {which};
        DELETE FROM search_entry WHERE {which};
    """


def _sqlite_new_owner() -> str:
    source = """search_entry AS e LEFT JOIN message AS m ON m.id = e.message_id
        WHERE e.conversation_id = NEW.id"""
    words = _folded("COALESCE(m.content, NEW.title)")
    return f"""
        INSERT INTO search_words (search_words, rowid, owner, words)
        SELECT 'delete', e.id, {_owner("OLD.owner_id")}, {words} FROM {source};
        INSERT INTO search_words (rowid, owner, words)
        SELECT e.id, {_owner("NEW.owner_id")}, {words} FROM {source};
        UPDATE search_entry SET owner_id = NEW.owner_id WHERE conversation_id = NEW.id;
    """


# --- PostgreSQL ------------------------------------------------------------------------------------------


def _postgresql_search(collation: str) -> tuple[str, ...]:
    return (
        """CREATE TABLE search_words (
             id bigint PRIMARY KEY REFERENCES search_entry (id) ON DELETE CASCADE, words tsvector NOT NULL)""",
        "CREATE INDEX search_words_gin ON search_words USING gin (words)",
        f"""CREATE FUNCTION search_fold(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT regexp_replace(translate(lower(
              regexp_replace(normalize(content, NFD), '[\u0300-\u036f]', '', 'g') COLLATE {collation}
            ), 'ıς', 'iσ'), '[^[:alnum:]]+' COLLATE {collation}, ' ', 'g') $$""",
        """CREATE FUNCTION search_words_of(content text, owner_id text) RETURNS tsvector
           LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
             SELECT to_tsvector('simple'::regconfig, search_fold(content))
               || array_to_tsvector(ARRAY['@' || replace(owner_id, '-', '')]) $$""",
        """CREATE FUNCTION search_add(owner text, conversation text, message text, content text)
           RETURNS void LANGUAGE sql AS $$
             WITH added AS (INSERT INTO search_entry (owner_id, conversation_id, message_id)
                            VALUES (owner, conversation, message) RETURNING id)
             INSERT INTO search_words SELECT id, search_words_of(content, owner) FROM added $$""",
        f"""CREATE FUNCTION search_message() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF TG_OP <> 'INSERT' THEN DELETE FROM search_entry WHERE message_id = OLD.id; END IF;
              IF TG_OP <> 'DELETE' AND {_can_be_found("NEW")} THEN
                PERFORM search_add(owner_id, id, NEW.id, NEW.content)
                FROM conversation WHERE id = NEW.conversation_id;
              END IF;
              RETURN NULL;
            END $$""",
        """CREATE FUNCTION search_title() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
             IF TG_OP = 'UPDATE' AND NEW.owner_id <> OLD.owner_id THEN
               UPDATE search_words AS w SET words = search_words_of(m.content, NEW.owner_id)
               FROM search_entry AS e JOIN message AS m ON m.id = e.message_id
               WHERE w.id = e.id AND e.conversation_id = NEW.id;
               UPDATE search_entry SET owner_id = NEW.owner_id WHERE conversation_id = NEW.id;
             END IF;
             IF TG_OP <> 'INSERT' THEN
               DELETE FROM search_entry WHERE conversation_id = OLD.id AND message_id IS NULL;
             END IF;
             IF TG_OP <> 'DELETE' AND NEW.title <> '' THEN
               PERFORM search_add(NEW.owner_id, NEW.id, NULL, NEW.title);
             END IF;
             RETURN NULL;
           END $$""",
        """SELECT search_add(owner_id, id, NULL, title) FROM conversation WHERE title <> ''""",
        f"""SELECT search_add(c.owner_id, c.id, m.id, m.content) FROM message AS m
            JOIN conversation AS c ON c.id = m.conversation_id WHERE {_can_be_found("m")}""",
        """CREATE TRIGGER search_message AFTER INSERT OR DELETE OR UPDATE OF content, state ON message
           FOR EACH ROW EXECUTE FUNCTION search_message()""",
        """CREATE TRIGGER search_title AFTER INSERT OR DELETE OR UPDATE OF title, owner_id ON conversation
           FOR EACH ROW EXECUTE FUNCTION search_title()""",
    )
