"""Brings the schema of a database to the newest version, with Alembic.

Each migration names the oldest program that can work on what it leaves (`oldest_program`, a schema
version). A migration that only adds keeps the one before, so that replicas of two versions may run
side by side while an upgrade rolls.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK = 0x68617368  # any number that no other program on the database uses


def newest_version() -> str | None:
    """The newest revision in the folder of migrations."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def upgrade(connection: Connection) -> None:
    """Run what is missing, in the caller's transaction; on PostgreSQL one process at a time."""
    config = _config()
    if connection.dialect.name == "postgresql":
        for setting in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {setting} = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    head = ScriptDirectory.from_config(config).get_revision("head")
    connection.exec_driver_sql("DELETE FROM schema_support")
    connection.execute(
        text("INSERT INTO schema_support (oldest_program) VALUES (:oldest)"),
        {"oldest": head.module.oldest_program},
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
