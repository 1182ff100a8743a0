"""What a request cost is read from its hold; a token's log rows are found among its owner's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.drop_index("ix_logs_token_id_id", "logs")
    op.drop_table("user_request_costs")


def downgrade() -> None:
    op.create_table(
        "user_request_costs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("user_uuid", sa.String(36), nullable=False),
        sa.Column("request_id", sa.String(32), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user_request_costs"),
        sa.UniqueConstraint("request_id", name="uq_user_request_costs_request_id"),
        **MYSQL,
    )
    op.execute(
        "INSERT INTO user_request_costs "
        "(uuid, created_time, user_id, user_uuid, request_id, quota, created_at, updated_at) "
        "SELECT l.uuid, l.created_at, l.user_id, l.user_uuid, l.request_id, l.quota, l.updated_at, l.updated_at "
        "FROM logs l JOIN billing_holds h ON h.key = l.request_id WHERE h.state = 1 AND l.type = 2"
    )
    op.create_index("ix_logs_token_id_id", "logs", ["token_id", "id"])
