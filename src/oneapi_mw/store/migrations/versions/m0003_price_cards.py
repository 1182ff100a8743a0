"""Price cards that were charged by."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql")
MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "price_cards",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("card", LONG_TEXT, nullable=False),
        sa.Column("first_used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_price_cards"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("price_cards")
