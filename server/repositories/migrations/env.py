"""Run by Alembic: migrates over the connection that `server.repositories.migrate` hands over."""

from __future__ import annotations

from alembic import context

from server.repositories.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
