"""What people say against moderation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.String(36)


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "objection",
        sa.Column("id", ID, primary_key=True),
        sa.Column("user_id", ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("message_id", ID, sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_id", "message_id", name="objection_once"),
    )
    op.create_index("ix_objection_message_id", "objection", ["message_id"])
