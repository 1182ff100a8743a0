"""Login sessions in an SQL database."""

from __future__ import annotations

import secrets

from sqlalchemy import delete, select

from oneapi_mw.store.engine import Database
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.repositories.rows import SESSIONS, columns_of
from oneapi_mw.store.tables import LoginSession, now_ms


class SqlSessions:
    """Implements `store.base.SessionRepository`. A user's next login removes his sessions that have ended."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring

    async def create(self, user_id: int, *, max_age: int) -> str:
        session_id, now = secrets.token_urlsafe(32), now_ms()
        row = LoginSession(
            id_digest=self._keyring.digest("session", session_id),
            user_id=user_id,
            created_at=now,
            seen_at=now,
            expires_at=now + max_age * 1000,
        )
        async with self._database.writing() as connection:
            ended = (SESSIONS.c.user_id == user_id, SESSIONS.c.expires_at <= now)
            await connection.execute(delete(SESSIONS).where(*ended))
            await connection.execute(SESSIONS.insert().values(columns_of(row)))
        return session_id

    async def find(self, session_id: str) -> int | None:
        digests = self._keyring.digests("session", session_id)
        wanted = select(SESSIONS.c.user_id).where(SESSIONS.c.id_digest.in_(digests), SESSIONS.c.expires_at > now_ms())
        async with self._database.reading() as connection:
            return await connection.scalar(wanted)

    async def delete(self, session_id: str) -> None:
        digests = self._keyring.digests("session", session_id)
        async with self._database.writing() as connection:
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.id_digest.in_(digests)))

    async def delete_user(self, user_id: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.user_id == user_id))
