"""PostgreSQL's index holds the words that `search_fold` parts, not what the text parser makes of them: it reads
`7e12b` as a number and a word, so that neither was found."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

MOST_BYTES = 2046  # of a lexeme; a longer word is left out, as the parser did

STATEMENTS = (
    f"""CREATE OR REPLACE FUNCTION search_words_of(content text, owner_id text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
          SELECT coalesce(string_agg('''' || word || ''':' || place, ' ' ORDER BY place), '')::tsvector
            || array_to_tsvector(ARRAY['@' || replace(owner_id, '-', '')])
          FROM string_to_table(trim(search_fold(content)), ' ') WITH ORDINALITY AS parts (word, place)
          WHERE word <> '' AND octet_length(word) <= {MOST_BYTES} $$""",
    """UPDATE search_words AS w SET words = search_words_of(coalesce(m.content, c.title), e.owner_id)
       FROM search_entry AS e JOIN conversation AS c ON c.id = e.conversation_id
       LEFT JOIN message AS m ON m.id = e.message_id
       WHERE w.id = e.id""",
)


def upgrade() -> None:
    """Replaces the function and indexes anew what is there; SQLite's index holds such words already."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in STATEMENTS:
            op.execute(statement)
