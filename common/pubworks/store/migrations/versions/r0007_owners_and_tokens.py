"""Owners of jobs, tokens of the server, and who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "r0007"
down_revision = "r0004"

_NO_CHANGE = "the audit is append-only"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("owner", sa.String(length=200), server_default=sa.text("''"), nullable=False))
    op.add_column("jobs", sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("ix_jobs_idempotency_key", "jobs")
    op.create_index("ix_jobs_idempotency_key", "jobs", ["owner", "idempotency_key"], unique=True)
    op.create_index("ix_jobs_owner", "jobs", ["owner", "created_at", "id"], unique=False)
    shared = sa.text("shared")
    op.create_index(
        "ix_jobs_shared", "jobs", ["created_at", "id"], unique=False, sqlite_where=shared, postgresql_where=shared
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("token", sa.String(length=16), nullable=True),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("jobs", sa.JSON(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    _keep_the_audit()


def _keep_the_audit() -> None:
    """Have the database itself refuse to change or remove what was written."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
                f"BEGIN SELECT RAISE(ABORT, '{_NO_CHANGE}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_NO_CHANGE}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()"
    )
