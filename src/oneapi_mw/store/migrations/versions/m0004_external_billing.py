"""External billing, redemption codes, reminders, idempotency keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, MEDIUMTEXT

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql")
LONG_BYTES = sa.LargeBinary().with_variant(LONGBLOB(), "mysql")
MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    _balances()
    _external()
    _events()
    _redemptions()
    _idempotency()


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("redemptions")
    op.drop_table("billing_events")
    op.drop_table("token_transactions")
    op.drop_column("billing_holds", "ended_at")
    op.drop_column("users", "held")


def _balances() -> None:
    op.add_column("users", sa.Column("held", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.execute(
        "UPDATE users SET held = "
        "(SELECT COALESCE(SUM(h.amount), 0) FROM billing_holds h WHERE h.user_id = users.id AND h.state = 0)"
    )
    op.add_column("billing_holds", sa.Column("ended_at", sa.BigInteger(), nullable=True))


def _external() -> None:
    op.create_table(
        "token_transactions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("hold_key", sa.String(32), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("transaction_id", sa.String(128), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("token_uuid", sa.String(36), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("user_uuid", sa.String(36), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=False),
        sa.Column("request_id", sa.String(32), nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False),
        sa.Column("elapsed_time_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_token_transactions"),
        sa.UniqueConstraint("hold_key", name="uq_token_transactions_hold_key"),
        **MYSQL,
    )
    op.create_index("ix_token_transactions_token_id_id", "token_transactions", ["token_id", "id"])


def _events() -> None:
    op.create_table(
        "billing_events",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.Column("threshold", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_billing_events"),
        **MYSQL,
    )


def _redemptions() -> None:
    op.create_table(
        "redemptions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("user_uuid", sa.String(36), nullable=False),
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("redeemed_time", sa.BigInteger(), nullable=False),
        sa.Column("redeemed_by", sa.String(36), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_redemptions"),
        sa.UniqueConstraint("uuid", name="uq_redemptions_uuid"),
        sa.UniqueConstraint("key_digest", name="uq_redemptions_key_digest"),
        **MYSQL,
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(32), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("busy_until", sa.BigInteger(), nullable=False),
        sa.Column("sealed", LONG_BYTES, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
        **MYSQL,
    )
    op.create_index(
        "ix_idempotency_keys_token_id_state_expires_at", "idempotency_keys", ["token_id", "state", "expires_at"]
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
