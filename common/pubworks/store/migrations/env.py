"""Alembic's entry: run the migrations on the connection that the caller holds."""

from alembic import context

from pubworks.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction spans everything
)
context.run_migrations()
