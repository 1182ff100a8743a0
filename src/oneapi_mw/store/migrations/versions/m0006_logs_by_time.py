"""The log row of a request is found by the time at which its hold ended."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_logs_request_id", "logs")


def downgrade() -> None:
    op.create_index("ix_logs_request_id", "logs", ["request_id"])
