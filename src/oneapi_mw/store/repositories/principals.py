"""API keys to principals, read from an SQL database each time; `store.cache` is in front of it."""

from __future__ import annotations

import hmac

from sqlalchemy import false, select

from oneapi_mw.principal import Principal
from oneapi_mw.store.decode import allowed_models, split_list
from oneapi_mw.store.engine import Database
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.repositories.rows import TOKENS, USERS

_OWNER = (USERS.c.username, USERS.c.group, USERS.c.role, USERS.c.status.label("user_status"))


class SqlPrincipals:
    """Implements `store.base.Principals`."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring

    async def find(self, key: str) -> Principal | None:
        digests = self._keyring.digests("api_key", key)
        owned = select(TOKENS, *_OWNER).join(USERS, USERS.c.id == TOKENS.c.user_id)
        wanted = owned.where(TOKENS.c.key_digest.in_(digests), TOKENS.c.deleted == false())
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None or not any(hmac.compare_digest(row.key_digest, digest) for digest in digests):
            return None
        return Principal(
            user_id=row.user_id,
            user_uuid=row.user_uuid,
            username=row.username,
            group=row.group,
            role=row.role,
            user_status=row.user_status,
            token_id=row.id,
            token_uuid=row.uuid,
            token_name=row.name,
            token_status=row.status,
            expires_at=row.expired_time,
            unlimited=row.unlimited_quota,
            models=allowed_models(row.models),
            subnets=split_list(row.subnet),
        )
