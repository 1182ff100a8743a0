"""Idempotency keys in an SQL database. Answers are sealed for their key and its owner."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, update

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.engine import Database
from oneapi_mw.store.key_records import CHECK_EVERY, KEPT_MS, MOST_ANSWERS, KeyClaim, KeyRecord, KeyState, key_id
from oneapi_mw.store.keyring import KeyRing, WrongKey
from oneapi_mw.store.state_records import Owner
from oneapi_mw.store.tables import metadata, now_ms

log = logging.getLogger("oneapi_mw.store")

KEYS = metadata.tables["idempotency_keys"]
COLUMN = "idempotency_keys.sealed"
ATTEMPTS = 3  # at a key that expires or is released while we look
BATCH = 500
INLINE_BYTES = 20 * 1024
REMEMBERED_TOKENS = 10_000


class SqlIdempotencyKeys:
    """Implements `store.base.IdempotencyKeys`."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring
        self._unchecked: dict[int, int] = {}  # answers of a token since they were counted

    async def claim(self, owner: Owner, key: str, claim: KeyClaim) -> KeyRecord | None:
        id_ = key_id(owner, key)
        for _ in range(ATTEMPTS):
            try:
                async with self._database.writing() as connection:
                    gone = (KEYS.c.id == id_, KEYS.c.expires_at <= now_ms())
                    await connection.execute(delete(KEYS).where(*gone))
                    await connection.execute(KEYS.insert().values(_row(id_, owner, claim)))
            except Conflict:
                async with self._database.reading() as connection:
                    row = (await connection.execute(select(KEYS).where(KEYS.c.id == id_))).one_or_none()
                if row is not None:
                    return self._record(row, owner)
            else:
                return None
        raise StoreUnavailable("The key comes and goes too fast: try again", retry_after=1)

    async def take_over(self, owner: Owner, key: str, claim: KeyClaim, *, lost: str) -> bool:
        values = _row(key_id(owner, key), owner, claim)
        return await self._change(owner, key, lost, values)

    async def finish(self, owner: Owner, key: str, *, request_id: str, content: bytes | None) -> None:
        sealed = None
        if content is not None and len(content) > INLINE_BYTES:
            sealed = await asyncio.to_thread(self._seal, owner, key, content)
        elif content is not None:
            sealed = self._seal(owner, key, content)
        state = KeyState.ENDED if sealed is None else KeyState.ANSWERED
        await self._change(owner, key, request_id, {"state": int(state), "sealed": sealed})
        if sealed is not None:
            await self._make_room(owner)

    async def release(self, owner: Owner, key: str, *, request_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(KEYS).where(*_running(owner, key, request_id)))

    async def sweep(self) -> int:
        swept = 0
        while True:
            late = select(KEYS.c.id).where(KEYS.c.expires_at <= now_ms()).limit(BATCH)
            async with self._database.writing() as connection:
                ids = (await connection.scalars(late)).all()
                if ids:
                    await connection.execute(delete(KEYS).where(KEYS.c.id.in_(ids)))
            swept += len(ids)
            if len(ids) < BATCH:
                return swept

    async def _change(self, owner: Owner, key: str, request_id: str, values: dict[str, Any]) -> bool:
        change = update(KEYS).where(*_running(owner, key, request_id)).values(values)
        async with self._database.writing() as connection:
            return bool((await connection.execute(change)).rowcount)

    async def _make_room(self, owner: Owner) -> None:
        """Drop the oldest answers of a token now and then; their keys stay."""
        unchecked = self._unchecked.get(owner.token_id, 0) + 1
        if len(self._unchecked) >= REMEMBERED_TOKENS:
            self._unchecked.clear()
        self._unchecked[owner.token_id] = unchecked % CHECK_EVERY
        if unchecked < CHECK_EVERY:
            return
        answers = (KEYS.c.token_id == owner.token_id, KEYS.c.state == int(KeyState.ANSWERED))
        too_many = select(KEYS.c.id).where(*answers).order_by(KEYS.c.expires_at.desc()).offset(MOST_ANSWERS)
        async with self._database.writing() as connection:
            ids = (await connection.scalars(too_many.limit(BATCH))).all()
            if ids:
                dropped = update(KEYS).where(KEYS.c.id.in_(ids))
                await connection.execute(dropped.values(state=int(KeyState.ENDED), sealed=None))

    def _seal(self, owner: Owner, key: str, content: bytes) -> bytes:
        return self._keyring.seal(content.decode("latin-1"), column=COLUMN, row=_place(owner, key_id(owner, key)))

    def _record(self, row: Row[Any], owner: Owner) -> KeyRecord:
        state, content = KeyState(row.state), None
        if row.sealed is not None:
            try:
                text = self._keyring.unseal(row.sealed, column=COLUMN, row=_place(owner, row.id))
                content = text.encode("latin-1")
            except WrongKey as exc:
                log.warning("the answer of an idempotency key cannot be read: %s", exc)
                state = KeyState.ENDED
        return KeyRecord(row.fingerprint, row.request_id, state, row.busy_until > now_ms(), content)


def _row(id_: str, owner: Owner, claim: KeyClaim) -> dict[str, Any]:
    now = now_ms()
    return {
        "id": id_,
        "user_id": owner.user_id,
        "token_id": owner.token_id,
        "fingerprint": claim.fingerprint,
        "request_id": claim.request_id,
        "state": int(KeyState.RUNNING),
        "busy_until": now + int(claim.busy_seconds * 1000),
        "sealed": None,
        "created_at": now,
        "expires_at": now + KEPT_MS,
    }


def _running(owner: Owner, key: str, request_id: str) -> tuple[ColumnElement[bool], ...]:
    """The key while it is that of a request that has not ended."""
    return (
        KEYS.c.id == key_id(owner, key),
        KEYS.c.request_id == request_id,
        KEYS.c.state == int(KeyState.RUNNING),
    )


def _place(owner: Owner, row: str) -> str:
    return f"{owner.user_id}/{owner.token_id}/{row}"
