"""What Alembic runs: the migrations on the connection that `store.database` holds and locks."""

from __future__ import annotations

from alembic import context

from parley.store import (  # noqa: F401  (they fill the metadata)
    candidates,
    comparisons,
    consents,
    conversations,
    feedback,
    generations,
    keys,
    logins,
    messages,
    objections,
    releases,
    search,
    shares,
    users,
)
from parley.store.schema import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
context.run_migrations()
