"""People, conversations, messages, generations; a login belongs to a person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.String(36)
STATES = "'pending', 'complete', 'stopped', 'length', 'blocked', 'failed'"


def upgrade() -> None:
    """Creates the tables. Who was signed in signs in again: those logins belonged to nobody."""
    _people()
    _logins()
    _conversations()
    _messages()
    _generations()


def _people() -> None:
    op.create_table(
        "user",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("language", sa.String(10)),
        sa.Column("preview_seen", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "role_grant",
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role", sa.String(20), primary_key=True),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "role IN ('user', 'trainer', 'reviewer', 'moderator', 'admin')", name="role_grant_role"
        ),
    )


def _logins() -> None:
    op.drop_table("login_link")
    op.drop_table("login_session")
    op.create_table(
        "login_link",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger),
    )
    op.create_table(
        "login_session",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
    )


def _conversations() -> None:
    op.create_table(
        "conversation",
        sa.Column("id", ID, primary_key=True),
        sa.Column("owner_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("training_use", sa.String(10), nullable=False),
        sa.Column("closed", sa.BigInteger),
        sa.Column("deleted", sa.BigInteger),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("group_id", ID),
        sa.Column("release", sa.String(200)),
        sa.Column("head_id", ID),
        sa.CheckConstraint("kind IN ('chat', 'compare')", name="conversation_kind"),
        sa.CheckConstraint("training_use IN ('inherit', 'no', 'yes')", name="conversation_training_use"),
    )
    op.create_index("conversation_list", "conversation", ["owner_id", "deleted", "kind", "updated", "id"])


def _messages() -> None:
    op.create_table(
        "message",
        sa.Column("id", ID, primary_key=True),
        sa.Column(
            "conversation_id", ID, sa.ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("parent_id", ID, sa.ForeignKey("message.id")),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("author_kind", sa.String(10), nullable=False),
        sa.Column("release", sa.String(200)),
        sa.Column("generation_id", ID),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("client_id", sa.String(100)),
        sa.Column("verdict", sa.Text),
        sa.CheckConstraint("role IN ('user', 'assistant')", name="message_role"),
        sa.CheckConstraint("author_kind IN ('user', 'model', 'trainer')", name="message_author_kind"),
        sa.CheckConstraint(f"state IN ({STATES})", name="message_state"),
    )
    op.create_index("message_children", "message", ["parent_id", "id"])
    op.create_index("message_roots", "message", ["conversation_id", "parent_id", "id"])
    op.create_index("message_client", "message", ["conversation_id", "client_id"], unique=True)


def _generations() -> None:
    op.create_table(
        "generation",
        sa.Column("id", ID, primary_key=True),
        sa.Column(
            "message_id", ID, sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False, unique=True
        ),
        sa.Column("owner_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("release", sa.String(200), nullable=False),
        sa.Column("temperature", sa.Float, nullable=False),
        sa.Column("top_p", sa.Float, nullable=False),
        sa.Column("max_tokens", sa.Integer, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("writer", sa.String(200), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("heartbeat", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        sa.Column("stop_asked", sa.Boolean, nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("events_kept", sa.Boolean, nullable=False),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("first_delta_ms", sa.Integer),
        sa.Column("total_ms", sa.Integer),
        sa.Column("withheld", sa.Text),
        sa.CheckConstraint(f"state IN ({STATES})", name="generation_state"),
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "generation_pending", "generation", ["owner_id"], sqlite_where=pending, postgresql_where=pending
    )
    op.create_index("generation_events_kept", "generation", ["events_kept", "finished"])
    op.create_table(
        "generation_event",
        sa.Column("generation_id", ID, sa.ForeignKey("generation.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
