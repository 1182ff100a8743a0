"""The tables. Column names are One API's, so that its exports and admin tools read our database.

Where it stores a secret in the clear we store a keyed digest (64 hexadecimal digits) to find it by, and a
sealed copy where it has to be shown again (`store.keyring`). Times in `*_at` are Unix milliseconds unless a
comment says seconds.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, MetaData, SmallInteger, Text, text
from sqlalchemy.dialects.mysql import LONGBLOB, MEDIUMTEXT
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from oneapi_mw.ids import uuid7

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigId = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER autoincrements on SQLite
LongText = Text().with_variant(MEDIUMTEXT(), "mysql")  # TEXT ends at 64 kB there: prices of 300 models are more
LongBytes = LargeBinary().with_variant(LONGBLOB(), "mysql")  # BLOB ends at 64 kB there


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Own registry and metadata: a host application's SQLModel tables never meet ours."""

    metadata: ClassVar[MetaData] = metadata


def _id() -> Any:
    return Field(default=None, primary_key=True, sa_type=BigId)


def _uuid(*, unique: bool = True) -> Any:
    """`unique=False` for rows that every settlement writes and nobody looks up by it: an index there costs all."""
    return Field(default_factory=uuid7, max_length=36, unique=unique)


def _text(default: str | None = "") -> Any:
    return Field(default=default, sa_type=LongText, nullable=default is None)


def _big(default: int = 0, **kwargs: Any) -> Any:
    return Field(default=default, sa_type=BigInteger, nullable=False, **kwargs)


def _ms() -> Any:
    return Field(default_factory=now_ms, sa_type=BigInteger, nullable=False)


class User(Base, table=True):
    __tablename__ = "users"

    id: int | None = _id()
    uuid: str = _uuid()
    username: str = Field(max_length=64, unique=True)
    password: str = Field(max_length=255)  # a hash
    display_name: str = Field(default="", max_length=64, index=True)
    role: int = 1
    status: int = 1
    email: str = Field(default="", max_length=64, index=True)
    github_id: str = Field(default="", max_length=255)
    wechat_id: str = Field(default="", max_length=255)
    lark_id: str = Field(default="", max_length=255)
    oidc_id: str = Field(default="", max_length=255)
    access_token_digest: str | None = Field(default=None, max_length=64, unique=True)
    quota: int = _big()
    # what open holds have taken from `quota`: with it the row alone tells what is not spent yet
    held: int = _big(sa_column_kwargs={"server_default": text("0")})
    used_quota: int = _big()
    request_count: int = _big()
    group: str = Field(default="default", max_length=32)
    aff_code: str | None = Field(default=None, max_length=32, unique=True)
    inviter_id: int | None = Field(default=None, sa_type=BigInteger)
    inviter_uuid: str | None = Field(default=None, max_length=36)
    mcp_tool_blacklist: str | None = _text(None)
    # `metadata` is taken by the ORM; the column carries the reference's name
    meta: str | None = Field(default=None, sa_type=LongText, sa_column_kwargs={"name": "metadata"})
    created_at: int = _ms()
    updated_at: int = _ms()


class Token(Base, table=True):
    __tablename__ = "tokens"

    id: int | None = _id()
    uuid: str = _uuid()
    user_id: int = Field(sa_type=BigInteger, index=True)
    user_uuid: str = Field(max_length=36)
    key_digest: str = Field(max_length=64, unique=True)
    key_sealed: bytes = Field(sa_type=LargeBinary)
    status: int = 1
    name: str = Field(default="", max_length=255, index=True)
    created_time: int = _big()  # seconds
    accessed_time: int = _big()  # seconds
    expired_time: int = _big(-1)  # seconds, -1 = never
    remain_quota: int = _big()
    unlimited_quota: bool = Field(default=False, sa_type=Boolean)
    used_quota: int = _big()
    models: str | None = _text(None)
    subnet: str | None = _text(None)
    deleted: bool = False
    created_at: int = _ms()
    updated_at: int = _ms()


class ChannelRow(Base, table=True):
    __tablename__ = "channels"
    __table_args__ = {"sqlite_autoincrement": True}  # an id must not come back: pins and totals go by it

    id: int | None = _id()
    uuid: str = _uuid()
    type: int = 0
    key_sealed: bytes = Field(sa_type=LargeBinary)
    status: int = 1
    name: str = Field(default="", max_length=255, index=True)
    weight: int = 0
    created_time: int = _big()  # seconds
    test_time: int = _big()  # seconds
    response_time: int = 0  # ms
    base_url: str = _text()
    other: str | None = _text(None)
    balance: str = Field(default="0", max_length=32)  # USD, decimal text
    balance_updated_time: int = _big()  # seconds
    models: str = _text()
    hidden_models: str | None = _text(None)
    model_configs: str | None = _text(None)
    group: str = Field(default="default", sa_type=LongText)
    used_quota: int = _big()
    model_mapping: str | None = _text(None)
    priority: int = _big()
    config: str = _text()
    ratelimit: int = 0
    system_prompt: str | None = _text(None)
    testing_model: str | None = Field(default=None, max_length=255)
    model_ratio: str | None = _text(None)
    completion_ratio: str | None = _text(None)
    inference_profile_arn_map: str | None = _text(None)
    created_at: int = _ms()
    updated_at: int = _ms()


class Log(Base, table=True):
    __tablename__ = "logs"

    id: int | None = _id()
    uuid: str = _uuid(unique=False)
    user_id: int = Field(sa_type=BigInteger)
    user_uuid: str = Field(default="", max_length=36)
    token_id: int | None = Field(default=None, sa_type=BigInteger)
    token_uuid: str | None = Field(default=None, max_length=36)
    channel_id: int | None = Field(default=None, sa_type=BigInteger)
    channel_uuid: str | None = Field(default=None, max_length=36)
    channel_name: str = Field(default="", max_length=255)
    created_at: int = _big()  # seconds
    type: int = Field(default=0, sa_type=SmallInteger)
    content: str = _text()
    username: str = Field(default="", max_length=64)
    token_name: str = Field(default="", max_length=255)
    model_name: str = Field(default="", max_length=255)
    origin_model_name: str = Field(default="", max_length=255)
    quota: int = _big()
    prompt_tokens: int = _big()
    completion_tokens: int = _big()
    cached_prompt_tokens: int = _big()
    request_id: str = Field(default="", max_length=32)
    trace_id: str = Field(default="", max_length=64)
    elapsed_time: int = _big()  # ms
    is_stream: bool = Field(default=False, sa_type=Boolean)
    system_prompt_reset: bool = Field(default=False, sa_type=Boolean)
    meta: str | None = Field(default=None, sa_type=LongText, sa_column_kwargs={"name": "metadata"})
    updated_at: int = _ms()

    # every settlement pays for each index: a token's rows are found among its owner's, those of a request among the
    # rows of the second in which its hold ended
    __table_args__ = (
        Index("ix_logs_user_id_id", "user_id", "id"),
        Index("ix_logs_created_at_type", "created_at", "type"),
    )


class Option(Base, table=True):
    __tablename__ = "options"

    key: str = Field(primary_key=True, max_length=128)
    value: str = _text()
    created_at: int = _ms()
    updated_at: int = _ms()


class LoginSession(Base, table=True):
    __tablename__ = "sessions"

    id_digest: str = Field(primary_key=True, max_length=64)
    user_id: int = Field(sa_type=BigInteger, index=True)
    created_at: int = _ms()
    seen_at: int = _ms()
    expires_at: int = _big()


class Hold(Base, table=True):
    __tablename__ = "billing_holds"

    key: str = Field(primary_key=True, max_length=32)
    kind: str = Field(default="model", max_length=16)
    user_id: int = Field(sa_type=BigInteger)
    token_id: int = Field(sa_type=BigInteger)
    token_limited: bool = Field(sa_type=Boolean)
    amount: int = _big()
    mark: int = _big()  # owed by now, as last noted; -1 = nothing noted
    fallback: int = _big()  # owed when the worker died before a mark
    state: int = Field(default=0, sa_type=SmallInteger)  # 0 open, 1 settled, 2 void
    final: int | None = Field(default=None, sa_type=BigInteger)
    estimated: bool = Field(default=False, sa_type=Boolean)
    card_id: str = Field(default="", max_length=64)
    group_ratio: int = _big(1_000_000)  # millionths
    started_at: int = _big()
    worker: str = Field(default="", max_length=64)
    lease_until: int = _big()  # ms by the database's clock
    channel_id: int | None = Field(default=None, sa_type=BigInteger)
    body_hash: str = Field(default="", max_length=64)
    facts: str | None = _text(None)
    created_at: int = _big()
    ended_at: int | None = Field(default=None, sa_type=BigInteger)

    # only open holds are looked for by lease; where the database can, the ended ones cost no index entry
    __table_args__ = (
        Index(
            "ix_billing_holds_state_lease_until",
            "state",
            "lease_until",
            sqlite_where=text("state = 0"),
            postgresql_where=text("state = 0"),
        ),
        {"sqlite_with_rowid": False},  # found by key alone: one tree less to keep
    )


class Entry(Base, table=True):
    """A credit or adjustment: every change of a balance that is not a settlement."""

    __tablename__ = "billing_entries"

    id: int | None = _id()
    key: str = Field(max_length=64, unique=True)
    user_id: int = Field(sa_type=BigInteger, index=True)
    token_id: int | None = Field(default=None, sa_type=BigInteger, index=True)
    amount: int = _big()  # positive adds to the balance
    kind: str = Field(max_length=16)  # initial, topup, redeem, gift, adjust
    actor_id: int | None = Field(default=None, sa_type=BigInteger)
    remark: str = Field(default="", max_length=255)
    created_at: int = _ms()


class Outbox(Base, table=True):
    """Side effects of a settlement that are rolled up later: channel totals."""

    __tablename__ = "billing_outbox"

    id: int | None = _id()
    channel_id: int = Field(sa_type=BigInteger)
    quota: int = _big()


class Event(Base, table=True):
    """Something to tell somebody, written with the settlement that caused it and delivered later."""

    __tablename__ = "billing_events"

    id: int | None = _id()
    kind: str = Field(max_length=16)  # quota_remind
    user_id: int = Field(sa_type=BigInteger)
    quota: int = _big()  # what the user has not spent, after the settlement
    threshold: int = _big()
    created_at: int = _big()
    claimed_until: int = _big(sa_column_kwargs={"server_default": text("0")})  # ms by the database's clock


class TokenTransaction(Base, table=True):
    """What a call of the external billing API said. Its amounts and its state are those of the hold."""

    __tablename__ = "token_transactions"

    id: int | None = _id()
    hold_key: str = Field(max_length=32, unique=True)
    uuid: str = _uuid(unique=False)
    transaction_id: str = Field(max_length=128)
    token_id: int = Field(sa_type=BigInteger)
    token_uuid: str = Field(max_length=36)
    user_id: int = Field(sa_type=BigInteger)
    user_uuid: str = Field(max_length=36)
    reason: str = _text()
    request_id: str = Field(default="", max_length=32)
    trace_id: str = Field(default="", max_length=64)
    elapsed_time_ms: int | None = Field(default=None, sa_type=BigInteger)
    created_at: int = _big()

    __table_args__ = (Index("ix_token_transactions_token_id_id", "token_id", "id"),)


class Redemption(Base, table=True):
    __tablename__ = "redemptions"

    id: int | None = _id()
    uuid: str = _uuid()
    user_id: int = Field(sa_type=BigInteger)  # who made it
    user_uuid: str = Field(max_length=36)
    key_digest: str = Field(max_length=64, unique=True)
    key_sealed: bytes = Field(sa_type=LargeBinary)
    status: int = 1  # 1 enabled, 2 disabled, 3 used
    name: str = Field(default="", max_length=64)
    quota: int = _big()
    created_time: int = _big()  # seconds
    redeemed_time: int = _big()  # seconds
    redeemed_by: str | None = Field(default=None, max_length=36)  # a user's uuid
    created_at: int = _ms()
    updated_at: int = _ms()


class IdempotencyKey(Base, table=True):
    """A key that a client gave a request, and what was answered."""

    __tablename__ = "idempotency_keys"

    id: str = Field(primary_key=True, max_length=64)  # a digest of token and key
    user_id: int = Field(sa_type=BigInteger)
    token_id: int = Field(sa_type=BigInteger)
    fingerprint: str = Field(max_length=64)  # of everything that was asked
    request_id: str = Field(max_length=32)
    state: int = Field(default=0, sa_type=SmallInteger)  # 0 running, 1 answered, 2 ended without an answer to keep
    busy_until: int = _big()
    sealed: bytes | None = Field(default=None, sa_type=LongBytes, nullable=True)
    created_at: int = _big()
    expires_at: int = _big()

    __table_args__ = (
        Index("ix_idempotency_keys_token_id_state_expires_at", "token_id", "state", "expires_at"),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
    )


class PriceCard(Base, table=True):
    """A price card that something was charged by."""

    __tablename__ = "price_cards"

    id: str = Field(primary_key=True, max_length=64)
    card: str = _text()  # JSON
    first_used: int = _ms()


class StoredResponse(Base, table=True):
    """An answer that a later request may continue."""

    __tablename__ = "responses"

    id: str = Field(primary_key=True, max_length=64)
    user_id: int = Field(sa_type=BigInteger)
    token_id: int = Field(sa_type=BigInteger)
    previous_id: str | None = Field(default=None, max_length=64)
    conversation_id: str | None = Field(default=None, max_length=64)
    position: int = _big()  # of the conversation, up to which the request had its items
    channel_id: int | None = Field(default=None, sa_type=BigInteger)
    item_count: int = 0
    size: int = _big()  # bytes of the content before it was sealed
    sealed: bytes = Field(sa_type=LongBytes)
    created_at: int = _ms()
    expires_at: int = _big()

    __table_args__ = (
        Index("ix_responses_user_id_expires_at", "user_id", "expires_at"),
        Index("ix_responses_expires_at", "expires_at"),
    )


class ResponseItem(Base, table=True):
    """Which answer an item is part of."""

    __tablename__ = "response_items"

    response_id: str = Field(primary_key=True, max_length=64)
    item_id: str = Field(primary_key=True, max_length=64)
    user_id: int = Field(sa_type=BigInteger)

    __table_args__ = (Index("ix_response_items_user_id_item_id", "user_id", "item_id"),)


class Conversation(Base, table=True):
    __tablename__ = "conversations"

    id: str = Field(primary_key=True, max_length=64)
    user_id: int = Field(sa_type=BigInteger, index=True)
    token_id: int = Field(sa_type=BigInteger)
    channel_id: int | None = Field(default=None, sa_type=BigInteger)
    item_count: int = 0
    size: int = _big()  # bytes of all items before they were sealed
    next_position: int = _big()
    sealed: bytes = Field(sa_type=LongBytes)  # metadata
    busy_by: str = Field(default="", max_length=64)
    busy_until: int = _big()
    created_at: int = _ms()
    expires_at: int = _big(index=True)


class ConversationItem(Base, table=True):
    __tablename__ = "conversation_items"

    conversation_id: str = Field(primary_key=True, max_length=64)
    position: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    item_id: str = Field(max_length=64)
    size: int = _big()
    sealed: bytes = Field(sa_type=LongBytes)

    __table_args__ = (Index("ix_conversation_items_conversation_id_item_id", "conversation_id", "item_id"),)


for _table in metadata.tables.values():
    # names and models compare byte by byte on every database; MySQL's default would take A for a
    _table.dialect_kwargs["mysql_charset"] = "utf8mb4"
    _table.dialect_kwargs["mysql_collate"] = "utf8mb4_bin"
