"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql")
MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "billing_entries",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("remark", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_billing_entries"),
        sa.UniqueConstraint("key", name="uq_billing_entries_key"),
        **MYSQL,
    )
    op.create_index("ix_billing_entries_token_id", "billing_entries", ["token_id"])
    op.create_index("ix_billing_entries_user_id", "billing_entries", ["user_id"])

    op.create_table(
        "billing_holds",
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("token_limited", sa.Boolean(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("fallback", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("final", sa.BigInteger(), nullable=True),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("card_id", sa.String(64), nullable=False),
        sa.Column("group_ratio", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(64), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("facts", LONG_TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_billing_holds"),
        sqlite_with_rowid=False,
        **MYSQL,
    )
    op.create_index(
        "ix_billing_holds_state_lease_until",
        "billing_holds",
        ["state", "lease_until"],
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )

    op.create_table(
        "billing_outbox",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_billing_outbox"),
        **MYSQL,
    )

    op.create_table(
        "channels",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("test_time", sa.BigInteger(), nullable=False),
        sa.Column("response_time", sa.Integer(), nullable=False),
        sa.Column("base_url", LONG_TEXT, nullable=False),
        sa.Column("other", LONG_TEXT, nullable=True),
        sa.Column("balance", sa.String(32), nullable=False),
        sa.Column("balance_updated_time", sa.BigInteger(), nullable=False),
        sa.Column("models", LONG_TEXT, nullable=False),
        sa.Column("hidden_models", LONG_TEXT, nullable=True),
        sa.Column("model_configs", LONG_TEXT, nullable=True),
        sa.Column("group", LONG_TEXT, nullable=False),
        sa.Column("used_quota", sa.BigInteger(), nullable=False),
        sa.Column("model_mapping", LONG_TEXT, nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("config", LONG_TEXT, nullable=False),
        sa.Column("ratelimit", sa.Integer(), nullable=False),
        sa.Column("system_prompt", LONG_TEXT, nullable=True),
        sa.Column("testing_model", sa.String(255), nullable=True),
        sa.Column("model_ratio", LONG_TEXT, nullable=True),
        sa.Column("completion_ratio", LONG_TEXT, nullable=True),
        sa.Column("inference_profile_arn_map", LONG_TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.UniqueConstraint("uuid", name="uq_channels_uuid"),
        sqlite_autoincrement=True,
        **MYSQL,
    )
    op.create_index("ix_channels_name", "channels", ["name"])

    op.create_table(
        "logs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("user_uuid", sa.String(36), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=True),
        sa.Column("token_uuid", sa.String(36), nullable=True),
        sa.Column("channel_id", sa.BigInteger(), nullable=True),
        sa.Column("channel_uuid", sa.String(36), nullable=True),
        sa.Column("channel_name", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("content", LONG_TEXT, nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("token_name", sa.String(255), nullable=False),
        sa.Column("model_name", sa.String(255), nullable=False),
        sa.Column("origin_model_name", sa.String(255), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(32), nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False),
        sa.Column("elapsed_time", sa.BigInteger(), nullable=False),
        sa.Column("is_stream", sa.Boolean(), nullable=False),
        sa.Column("system_prompt_reset", sa.Boolean(), nullable=False),
        sa.Column("metadata", LONG_TEXT, nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logs"),
        **MYSQL,
    )
    op.create_index("ix_logs_created_at_type", "logs", ["created_at", "type"])
    op.create_index("ix_logs_request_id", "logs", ["request_id"])
    op.create_index("ix_logs_token_id_id", "logs", ["token_id", "id"])
    op.create_index("ix_logs_user_id_id", "logs", ["user_id", "id"])

    op.create_table(
        "options",
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("value", LONG_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_options"),
        **MYSQL,
    )

    op.create_table(
        "sessions",
        sa.Column("id_digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id_digest", name="pk_sessions"),
        **MYSQL,
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])

    op.create_table(
        "tokens",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("user_uuid", sa.String(36), nullable=False),
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("accessed_time", sa.BigInteger(), nullable=False),
        sa.Column("expired_time", sa.BigInteger(), nullable=False),
        sa.Column("remain_quota", sa.BigInteger(), nullable=False),
        sa.Column("unlimited_quota", sa.Boolean(), nullable=False),
        sa.Column("used_quota", sa.BigInteger(), nullable=False),
        sa.Column("models", LONG_TEXT, nullable=True),
        sa.Column("subnet", LONG_TEXT, nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("key_digest", name="uq_tokens_key_digest"),
        sa.UniqueConstraint("uuid", name="uq_tokens_uuid"),
        **MYSQL,
    )
    op.create_index("ix_tokens_name", "tokens", ["name"])
    op.create_index("ix_tokens_user_id", "tokens", ["user_id"])

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

    op.create_table(
        "users",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("password", sa.String(255), nullable=False),
        sa.Column("display_name", sa.String(64), nullable=False),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(64), nullable=False),
        sa.Column("github_id", sa.String(255), nullable=False),
        sa.Column("wechat_id", sa.String(255), nullable=False),
        sa.Column("lark_id", sa.String(255), nullable=False),
        sa.Column("oidc_id", sa.String(255), nullable=False),
        sa.Column("access_token_digest", sa.String(64), nullable=True),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.Column("used_quota", sa.BigInteger(), nullable=False),
        sa.Column("request_count", sa.BigInteger(), nullable=False),
        sa.Column("group", sa.String(32), nullable=False),
        sa.Column("aff_code", sa.String(32), nullable=True),
        sa.Column("inviter_id", sa.BigInteger(), nullable=True),
        sa.Column("inviter_uuid", sa.String(36), nullable=True),
        sa.Column("mcp_tool_blacklist", LONG_TEXT, nullable=True),
        sa.Column("metadata", LONG_TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("access_token_digest", name="uq_users_access_token_digest"),
        sa.UniqueConstraint("aff_code", name="uq_users_aff_code"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sa.UniqueConstraint("uuid", name="uq_users_uuid"),
        **MYSQL,
    )
    op.create_index("ix_users_display_name", "users", ["display_name"])
    op.create_index("ix_users_email", "users", ["email"])


def downgrade() -> None:
    op.drop_table("users")
    op.drop_table("user_request_costs")
    op.drop_table("tokens")
    op.drop_table("sessions")
    op.drop_table("options")
    op.drop_table("logs")
    op.drop_table("channels")
    op.drop_table("billing_outbox")
    op.drop_table("billing_holds")
    op.drop_table("billing_entries")
