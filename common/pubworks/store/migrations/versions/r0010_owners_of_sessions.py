"""Who opened a session through the server."""

import sqlalchemy as sa
from alembic import op

revision = "r0010"
down_revision = "r0009"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("owner", sa.String(length=200), server_default=sa.text("''"), nullable=False))
