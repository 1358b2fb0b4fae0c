"""What Alembic runs: the migrations on the connection that :meth:`sdk.serve.database.Database.migrate` opened."""

from __future__ import annotations

from alembic import context

from sdk.serve.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
