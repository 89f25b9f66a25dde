"""Limits of the whole fleet, retries by cause, and runs that nobody holds while they queue."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"

_OPEN = sa.text("finished_at IS NULL")
_LEASED = sa.text("lease_until IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("backend", sa.String(length=200), nullable=False),
        sa.Column("configured", sa.JSON(), nullable=True),
        sa.Column("submit_interval", sa.Float(), nullable=True),
        sa.Column("submit_burst", sa.Integer(), nullable=True),
        sa.Column("request_interval", sa.Float(), nullable=True),
        sa.Column("request_burst", sa.Integer(), nullable=True),
        sa.Column("max_in_flight", sa.Integer(), nullable=True),
        sa.Column("submit_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("request_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("window", sa.Float(), nullable=True),
        sa.Column("snoozed_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("snoozes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("snooze_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("probe_at", sa.Float(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("backend", name=op.f("pk_limits")),
    )
    op.add_column("backends", sa.Column("learned", sa.JSON(), nullable=True))
    op.drop_index("ix_batches_due", "batches")
    op.drop_index("ix_batches_leased", "batches")
    op.add_column("batches", sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("batches", sa.Column("failing_since", sa.Float(), nullable=True))
    op.add_column("batches", sa.Column("provider_job_id", sa.Text(), nullable=True))
    op.add_column("batches", sa.Column("accepted_at", sa.Float(), nullable=True))
    op.add_column("provider_jobs", sa.Column("by_hand", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(
        "ix_batches_open", "batches", ["backend", "state", "due_at", "job_id", "position"],
        sqlite_where=_OPEN, postgresql_where=_OPEN,
    )  # fmt: skip
    op.create_index("ix_batches_leased", "batches", ["lease_until"], sqlite_where=_LEASED, postgresql_where=_LEASED)
    op.execute(_RUNS_IN_FLIGHT)


#: What provider_jobs knew alone until now.
_RUNS_IN_FLIGHT = """
UPDATE batches SET
    provider_job_id = (SELECT r.provider_job_id FROM provider_jobs r
                       WHERE r.batch_id = batches.id AND r.state = 'ACCEPTED'),
    accepted_at = (SELECT r.accepted_at FROM provider_jobs r WHERE r.batch_id = batches.id AND r.state = 'ACCEPTED')
WHERE state = 'IN_FLIGHT'
"""
