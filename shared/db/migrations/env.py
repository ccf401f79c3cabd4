"""Alembic's entry: runs the revisions on the connection that `shared.db.migrating` hands over.

The connection's search path names one schema, so that alembic's own table lies there too: an application's
`alembic_version` elsewhere is neither seen nor touched.
"""

from alembic import context

from shared.db.rows import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
