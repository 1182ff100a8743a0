"""The store as its users see it. SQL and in-memory versions pass the same contract tests.

Every method is one transaction. `None` means "no such row". All raise `StoreUnavailable` when the
database cannot be reached; writes that break a rule of the table raise `Conflict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from oneapi_mw.principal import Principal
from oneapi_mw.routing.channel import Channel
from oneapi_mw.store.records import (
    ChannelRecord,
    CostRecord,
    LogFilter,
    LogRecord,
    Page,
    TokenRecord,
    UserRecord,
)
from oneapi_mw.types import Quota


class Conflict(Exception):  # noqa: N818 -- named for what it means to the caller
    """A unique value is taken already; the message names the field."""


class Principals(Protocol):
    """API keys to principals, as authentication needs it."""

    async def find(self, key: str) -> Principal | None:
        """The principal of a canonical key (no prefix, no suffix). Cached for seconds; a change made through
        this process's repositories is seen at once."""


class Channels(Protocol):
    """All usable channels at once, as routing needs them: a snapshot that is never changed in place."""

    def snapshot(self) -> Sequence[Channel]:
        """Enabled channels. Reloaded in the background; a change made in this process is seen at once."""

    def version(self) -> int:
        """Grows whenever the snapshot was replaced, so that what was derived from it can be kept."""


class UserRepository(Protocol):
    async def count(self) -> int: ...
    async def create(
        self,
        *,
        username: str,
        password_hash: str,
        display_name: str = "",
        role: int = 1,
        email: str = "",
        group: str = "default",
        quota: Quota = 0,
        access_token: str | None = None,
    ) -> UserRecord:
        """Raises `Conflict("username")`. `quota` is booked as the entry `initial`."""

    async def get(self, uuid: str) -> UserRecord | None: ...
    async def get_by_id(self, user_id: int) -> UserRecord | None: ...
    async def find_login(self, name: str) -> UserRecord | None:
        """By username, else by e-mail, with `password_hash` filled; deleted users are not found."""

    async def find_access_token(self, access_token: str) -> UserRecord | None: ...
    async def update(self, user_id: int, changes: Mapping[str, Any]) -> UserRecord | None:
        """Set columns among username, display_name, email, password_hash, group, role, status."""

    async def add_quota(self, user_id: int, amount: Quota, *, kind: str, key: str, remark: str = "") -> None:
        """Credit (or debit) a user once per `key`."""

    async def list(self, page: Page) -> tuple[list[UserRecord], int]:
        """Rows and how many there are in all."""


class TokenRepository(Protocol):
    async def create(
        self,
        *,
        user_id: int,
        user_uuid: str,
        name: str,
        key: str,
        remain_quota: Quota = 0,
        unlimited_quota: bool = False,
        expired_time: int = -1,
        models: str | None = None,
        subnet: str | None = "",
    ) -> TokenRecord:
        """`key` without prefix. Raises `Conflict("key")`."""

    async def get(self, uuid: str, *, user_id: int | None = None) -> TokenRecord | None:
        """With `user_id` only when that user owns it."""

    async def get_by_id(self, token_id: int) -> TokenRecord | None: ...
    async def update(
        self, uuid: str, changes: Mapping[str, Any], *, user_id: int | None = None
    ) -> TokenRecord | None:
        """Set columns among name, status, expired_time, remain_quota, unlimited_quota, models, subnet.

        `remain_quota` is booked as a difference to what the row holds in the same transaction.
        """

    async def delete(self, uuid: str, *, user_id: int | None = None) -> bool: ...
    async def list(
        self, page: Page, *, user_id: int | None = None, keyword: str = ""
    ) -> tuple[list[TokenRecord], int]: ...


class ChannelRepository(Protocol):
    async def create(self, values: Mapping[str, Any]) -> ChannelRecord:
        """`values` are columns of the record without id and uuid; `key` in the clear."""

    async def get(self, uuid: str) -> ChannelRecord | None: ...
    async def update(self, uuid: str, changes: Mapping[str, Any]) -> ChannelRecord | None: ...
    async def delete(self, uuid: str) -> bool: ...
    async def list(self, page: Page, *, keyword: str = "") -> tuple[list[ChannelRecord], int]: ...


class LogRepository(Protocol):
    async def list(self, where: LogFilter, page: Page) -> tuple[list[LogRecord], int]: ...


class CostRepository(Protocol):
    async def get(self, request_id: str) -> CostRecord | None: ...


class OptionRepository(Protocol):
    async def all(self) -> dict[str, str]: ...
    async def set(self, key: str, value: str) -> None: ...


class SessionRepository(Protocol):
    """Login sessions: an opaque random id at the client, its digest here."""

    async def create(self, user_id: int, *, max_age: int) -> str:
        """A new session id, valid for `max_age` seconds."""

    async def find(self, session_id: str) -> int | None:
        """The user id, or `None` when unknown or past its end."""

    async def delete(self, session_id: str) -> None: ...
    async def delete_user(self, user_id: int) -> None:
        """End every session of a user."""


class Store(Protocol):
    """All repositories over one database."""

    users: UserRepository
    tokens: TokenRepository
    channels: ChannelRepository
    logs: LogRepository
    costs: CostRepository
    options: OptionRepository
    sessions: SessionRepository
    principals: Principals
    channel_table: Channels

    async def start(self) -> None:
        """Connect, check or upgrade the schema, load the channel table."""

    async def aclose(self) -> None: ...
