"""Alembic's entry: run on the connection that `Database.migrate` hands in."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="gateway_schema",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
