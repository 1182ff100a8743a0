"""What Alembic runs for every command, on the connection that `store.schema` hands it.

Configures no logging and reads no file: the gateway may be a guest in somebody else's process.
"""

from __future__ import annotations

from alembic import context

from oneapi_mw.store.schema import context_options

context.configure(connection=context.config.attributes["connection"], **context_options())
with context.begin_transaction():
    context.run_migrations()
