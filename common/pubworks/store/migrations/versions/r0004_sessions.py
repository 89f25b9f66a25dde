"""Batches of jobs, and sessions, whose jobs go before those of others."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"


def _of_rows(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("backend", sa.String(length=200), nullable=False),
        sa.Column("max_time_s", sa.Float(), nullable=True),
        sa.Column("idle_s", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ends_at", sa.Float(), nullable=True),
        sa.Column("active_since", sa.Float(), nullable=True),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_created_at", "sessions", ["created_at", "id"], unique=False)
    active, open_ = _of_rows("active_since IS NOT NULL"), _of_rows("ended_at IS NULL")
    op.create_index("ix_sessions_active", "sessions", ["backend", "active_since", "id"], unique=False, **active)
    op.create_index("ix_sessions_open", "sessions", ["ends_at"], unique=False, **open_)
    op.add_column("jobs", sa.Column("session", sa.String(length=64), nullable=True))
    grouped = _of_rows("session IS NOT NULL")
    op.create_index("ix_jobs_session", "jobs", ["session", "created_at", "id"], unique=False, **grouped)
    op.create_index("ix_jobs_session_finished", "jobs", ["session", "finished_at"], unique=False, **grouped)
    op.add_column("batches", sa.Column("session", sa.String(length=64), nullable=True))
    waiting = ["session", "state", "due_at", "job_id", "position", "id"]
    of_sessions = _of_rows("session IS NOT NULL AND finished_at IS NULL")
    op.create_index("ix_batches_session", "batches", waiting, unique=False, **of_sessions)
