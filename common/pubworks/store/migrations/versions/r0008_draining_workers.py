"""Workers that are asked to end, and those that live in a client's process."""

import sqlalchemy as sa
from alembic import op

revision = "r0008"
down_revision = "r0007"


def upgrade() -> None:
    for name in ("embedded", "draining"):
        op.add_column("workers", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
