"""Tags, idempotency keys, and an index for each filter of a listing."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"

_LISTED = {"ix_jobs_backend": "backend", "ix_jobs_state": "state", "ix_jobs_primitive": "primitive", "ix_jobs_name": "name"}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("idempotency_key", sa.String(length=200), nullable=True))
    op.add_column("jobs", sa.Column("content", sa.String(length=64), nullable=True))
    op.drop_index("ix_jobs_created_at", "jobs")
    op.create_index("ix_jobs_created_at", "jobs", ["created_at", "id"], unique=False)
    for name, column in _LISTED.items():
        op.create_index(name, "jobs", [column, "created_at", "id"], unique=False)
    op.create_index("ix_jobs_idempotency_key", "jobs", ["idempotency_key"], unique=True)
    op.create_table(
        "job_tags",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_tags_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "tag", name=op.f("pk_job_tags")),
    )
    op.create_index("ix_job_tags_tag", "job_tags", ["tag", "job_id"], unique=False)
