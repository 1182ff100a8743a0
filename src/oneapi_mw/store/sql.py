"""The store on SQLite, PostgreSQL or MySQL."""

from __future__ import annotations

from sqlalchemy import select

from oneapi_mw.background import Background
from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.store import schema
from oneapi_mw.store.base import (
    ChannelRepository,
    Channels,
    CostRepository,
    IdempotencyKeys,
    LogRepository,
    OptionRepository,
    Principals,
    RedemptionRepository,
    ResponseStates,
    SessionRepository,
    TokenRepository,
    TransactionRepository,
    UserRepository,
)
from oneapi_mw.store.cache import CacheLimits, ChannelTable, PrincipalCache
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database, EngineOptions
from oneapi_mw.store.keyring import SETTING, KeyRing, WrongKey
from oneapi_mw.store.repositories.cards import SqlCards
from oneapi_mw.store.repositories.channels import SqlChannelRows, SqlChannels
from oneapi_mw.store.repositories.costs import SqlCosts
from oneapi_mw.store.repositories.idempotency import SqlIdempotencyKeys
from oneapi_mw.store.repositories.logs import SqlLogs
from oneapi_mw.store.repositories.options import SqlOptions
from oneapi_mw.store.repositories.principals import SqlPrincipals
from oneapi_mw.store.repositories.redemptions import SqlRedemptions
from oneapi_mw.store.repositories.responses import SqlResponses
from oneapi_mw.store.repositories.rows import CHANNELS, TOKENS
from oneapi_mw.store.repositories.sessions import SqlSessions
from oneapi_mw.store.repositories.tokens import SqlTokens
from oneapi_mw.store.repositories.transactions import SqlTransactions
from oneapi_mw.store.repositories.users import SqlUsers

CHANNEL_SECONDS = 3.0
"""How often other workers' changes to channels are looked for."""
SWEEP_SECONDS = 600.0
"""How often expired answers and conversations are removed."""


class SqlStore:
    """Implements `store.base.Store`. Nothing is opened before `start`.

    Args:
        migrate: bring the tables up to date at the start; without, tables that are not are an error.
        channel_seconds: how often other workers' changes to channels are looked for.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        keyring: KeyRing,
        *,
        options: EngineOptions | None = None,
        limits: CacheLimits | None = None,
        migrate: bool = True,
        channel_seconds: float = CHANNEL_SECONDS,
    ) -> None:
        self._database = database = Database(url, options)
        self._keyring = keyring
        self._migrate = migrate
        self._channel_seconds = channel_seconds
        self._background = Background()

        self._principals = PrincipalCache(load=SqlPrincipals(database, keyring).find, limits=limits)
        rows = SqlChannelRows(database, keyring)
        self._channel_table = ChannelTable(rows)
        self.users: UserRepository = SqlUsers(database, keyring, self._principals)
        self.tokens: TokenRepository = SqlTokens(database, keyring, self._principals)
        self.channels: ChannelRepository = SqlChannels(database, keyring, rows, self._channel_table.changed)
        self.logs: LogRepository = SqlLogs(database)
        self.costs: CostRepository = SqlCosts(database)
        self.transactions: TransactionRepository = SqlTransactions(database)
        self.redemptions: RedemptionRepository = SqlRedemptions(database, keyring)
        self.options: OptionRepository = SqlOptions(database)
        self.cards: CardArchive = SqlCards(database)
        self.sessions: SessionRepository = SqlSessions(database, keyring)
        self._responses = SqlResponses(database, keyring)
        self.responses: ResponseStates = self._responses
        self.idempotency: IdempotencyKeys = SqlIdempotencyKeys(database, keyring)
        self.principals: Principals = self._principals
        self.channel_table: Channels = self._channel_table

    async def start(self) -> None:
        """Raises: `StoreUnavailable`; `SchemaError`; `WrongKey` when the stored keys need another secret."""
        await self._database.start()
        try:
            if self._migrate:
                await schema.upgrade(self._database)
            else:
                await schema.require_current(self._database)
            await self._check_secret()
            await self._channel_table.reload()
        except BaseException:
            await self._database.aclose()
            raise
        self._background.every(self._channel_seconds, "channels", self._channel_table.reload)
        self._background.every(SWEEP_SECONDS, "response state", self.responses.sweep)
        self._background.every(SWEEP_SECONDS, "idempotency keys", self.idempotency.sweep)

    async def aclose(self) -> None:
        await self._background.aclose()
        await self._responses.aclose()
        await self._principals.aclose()
        await self._database.aclose()

    async def _check_secret(self) -> None:
        """Refuse to run with a secret that does not open what is stored: every key would seem unknown."""
        newest = (
            select(TOKENS.c.key_sealed).where(~TOKENS.c.deleted).order_by(TOKENS.c.id.desc()).limit(1),
            select(CHANNELS.c.key_sealed).order_by(CHANNELS.c.id.desc()).limit(1),
        )
        async with self._database.reading() as connection:
            for wanted in newest:
                sealed = await connection.scalar(wanted)
                if sealed is not None and not self._keyring.opens(sealed):
                    raise WrongKey(
                        f"The keys in the database were sealed with another secret: set {SETTING} to the one used "
                        "before, or bring back the key file that was beside the database"
                    )
