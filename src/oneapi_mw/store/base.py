"""The store as its users see it. SQL and in-memory versions pass the same contract tests.

Every method is one transaction. `None` means "no such row". All raise `StoreUnavailable` when the
database cannot be reached; writes that break a rule of the table raise `Conflict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.principal import Principal
from oneapi_mw.routing.channel import Channel
from oneapi_mw.store.key_records import KeyClaim, KeyRecord
from oneapi_mw.store.records import (
    ChannelRecord,
    CostRecord,
    EntryRecord,
    LogFilter,
    LogRecord,
    Page,
    RedemptionRecord,
    TokenRecord,
    TransactionRecord,
    UserRecord,
)
from oneapi_mw.store.state_records import (
    ALL_ITEMS,
    ConversationLimits,
    ConversationRecord,
    ItemRange,
    ItemRecord,
    Owner,
    ResponseLink,
    ResponseRecord,
)
from oneapi_mw.types import Quota


class Conflict(Exception):
    """A unique value is taken already; the message names the field."""


class StateBusy(Exception):
    """Another request is writing to the conversation."""


class StateFull(Exception):
    """A limit would be passed; the message says which."""


class Principals(Protocol):
    """API keys to principals, as authentication needs it."""

    async def find(self, key: str) -> Principal | None:
        """The principal of a canonical key (no prefix, no suffix). Cached for seconds; a change made through
        this process's repositories is seen at once."""


class Channels(Protocol):
    """All usable channels at once, as routing needs them: a snapshot that is never changed in place."""

    def snapshot(self) -> Sequence[Channel]:
        """All channels that can be read, disabled ones too: a request pinned to one is told so.

        Reloaded in the background; a change made in this process is seen at once.
        """

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

    async def find_access_token(self, access_token: str) -> UserRecord | None:
        """By the token in the clear; deleted users are not found."""

    async def update(self, user_id: int, changes: Mapping[str, Any]) -> UserRecord | None:
        """Set columns among username, display_name, email, password_hash, group, role, status, access_token.

        `access_token` is given in the clear and replaces the one before. Raises `Conflict("username")`.
        """

    async def add_quota(
        self, user_id: int, amount: Quota, *, kind: str, key: str, remark: str = "", actor_id: int | None = None
    ) -> EntryRecord:
        """Credit (or debit) a user once per `key`; kinds that users should see get a log row with `remark`.

        Returns what is booked under the key: the caller compares when it was not the first.

        Raises `KeyError` for a user that does not exist, `ValueError` for what does not fit.
        """

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
    async def update(self, uuid: str, changes: Mapping[str, Any], *, user_id: int | None = None) -> TokenRecord | None:
        """Set columns among name, status, expired_time, remain_quota, unlimited_quota, models, subnet.

        `remain_quota` is booked as a difference to what the row holds in the same transaction; `more_quota` in its
        place is that difference.
        """

    async def delete(self, uuid: str, *, user_id: int | None = None) -> bool:
        """Balances and logs stay; the key is free again."""

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
    async def get(self, request_id: str) -> CostRecord | None:
        """What a request costs by its hold: set aside, charged or void; `None` when it never had one."""


class RedemptionRepository(Protocol):
    """Codes that are worth quota, once."""

    async def create(self, *, user_id: int, user_uuid: str, name: str, quota: Quota, keys: Sequence[str]) -> None:
        """A code for each of `keys`, all or none. Raises `Conflict("key")`."""

    async def get(self, uuid: str) -> RedemptionRecord | None: ...
    async def update(self, uuid: str, changes: Mapping[str, Any]) -> RedemptionRecord | None:
        """Set columns among name, quota, status.

        Raises `Conflict("status")` for quota or status of a code that was redeemed.
        """

    async def delete(self, uuid: str) -> bool: ...
    async def redeem(self, key: str, *, user_id: int, user_uuid: str) -> RedemptionRecord | None:
        """Use an enabled code up and credit the user, both or neither; `None` when there is no such code.

        Raises as `UserRepository.add_quota`.
        """

    async def list(self, page: Page, *, keyword: str = "") -> tuple[list[RedemptionRecord], int]: ...


class TransactionRepository(Protocol):
    """External transactions. The ledger makes and ends them; here they are only read."""

    async def get(self, hold_key: str) -> TransactionRecord | None: ...
    async def list(self, token_id: int, page: Page, *, most: int) -> tuple[list[TransactionRecord], int]:
        """Of the newest `most` of an API key, newest first; and how many of these there are in all."""

    async def late(self, token_id: int) -> Sequence[str]:
        """Hold keys of an API key's pending transactions whose time is over."""


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


class ResponseStates(Protocol):
    """Answers and conversations that later requests continue.

    What belongs to another owner is not there, nor is what has expired. Contents are kept sealed. Times are Unix
    milliseconds.
    """

    async def add(
        self,
        owner: Owner,
        response: ResponseRecord,
        *,
        item_ids: Sequence[str] = (),
        renew: Sequence[str] = (),
        most: int,
    ) -> None:
        """Keep an answer.

        Args:
            item_ids: of its items, for `find_items`.
            renew: answers it continues, which live as long as it does.
            most: how many the user may have, over all tokens; the ones that would expire first make room.

        Raises: `Conflict` when the id is taken.
        """

    async def links(self, owner: Owner, response_id: str, *, most: int) -> list[ResponseLink]:
        """The answer and those it continues, newest first, at most so many. The last one's `previous_id` tells
        whether there should be more."""

    async def read(self, owner: Owner, response_ids: Sequence[str]) -> dict[str, ResponseRecord]:
        """Those that are there."""

    async def find_items(self, owner: Owner, item_ids: Sequence[str]) -> list[ResponseLink]:
        """The answers with an item of such an id, oldest first."""

    async def delete(self, owner: Owner, response_id: str) -> bool: ...

    async def create_conversation(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        metadata: str,
        items: Sequence[ItemRecord] = (),
        expires_at: int,
        limits: ConversationLimits,
    ) -> ConversationRecord:
        """Raises `StateFull`. Requests at the same moment may pass a limit by one each."""

    async def conversation(self, owner: Owner, conversation_id: str) -> ConversationRecord | None: ...
    async def set_metadata(self, owner: Owner, conversation_id: str, metadata: str) -> ConversationRecord | None: ...
    async def delete_conversation(self, owner: Owner, conversation_id: str) -> bool: ...

    async def claim(
        self, owner: Owner, conversation_id: str, *, holder: str, seconds: float
    ) -> ConversationRecord | None:
        """Keep others from writing until `append`, `release` or the time is over. Raises `StateBusy`."""

    async def release(self, owner: Owner, conversation_id: str, *, holder: str) -> None:
        """End a claim; nothing when somebody else has it by now."""

    async def append(
        self,
        owner: Owner,
        conversation_id: str,
        items: Sequence[ItemRecord],
        *,
        holder: str = "",
        channel_id: int | None = None,
        expires_at: int,
        limits: ConversationLimits,
    ) -> bool:
        """Add `items` at the end, all or none, and end the claim of `holder`. `False`: no such conversation.

        Raises: `StateBusy` when somebody else has claimed it, `StateFull`.
        """

    async def items(
        self, owner: Owner, conversation_id: str, which: ItemRange = ALL_ITEMS
    ) -> list[ItemRecord] | None: ...
    async def item(self, owner: Owner, conversation_id: str, item_id: str) -> ItemRecord | None: ...
    async def delete_item(self, owner: Owner, conversation_id: str, item_id: str) -> bool:
        """Raises `StateBusy`."""

    async def sweep(self) -> int:
        """Remove what has expired; returns how many answers and conversations."""


class IdempotencyKeys(Protocol):
    """Keys that clients give their requests, and what was answered. Kept for a day, sealed.

    A key is its owner's: the same text of another token is another key.
    """

    async def claim(self, owner: Owner, key: str, claim: KeyClaim) -> KeyRecord | None:
        """Make `key` that of a request. `None`: it is; else the request that has it."""

    async def take_over(self, owner: Owner, key: str, claim: KeyClaim, *, lost: str) -> bool:
        """Make a key that of another request when the one with the id `lost`, which still has it, is gone."""

    async def finish(self, owner: Owner, key: str, *, request_id: str, content: bytes | None) -> None:
        """Note that a request has ended, with what is to be answered from now on; nothing when it has the key no
        more."""

    async def release(self, owner: Owner, key: str, *, request_id: str) -> None:
        """Forget the key of a request that has not ended; nothing when it has the key no more."""

    async def sweep(self) -> int:
        """Remove what has expired; returns how many keys."""


class Store(Protocol):
    """All repositories over one database."""

    users: UserRepository
    tokens: TokenRepository
    channels: ChannelRepository
    logs: LogRepository
    costs: CostRepository
    transactions: TransactionRepository
    redemptions: RedemptionRepository
    options: OptionRepository
    cards: CardArchive
    sessions: SessionRepository
    responses: ResponseStates
    idempotency: IdempotencyKeys
    principals: Principals
    channel_table: Channels

    async def start(self) -> None:
        """Connect, check or upgrade the schema, load the channel table."""

    async def aclose(self) -> None: ...
