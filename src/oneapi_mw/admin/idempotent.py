"""Calls that change balances once, however often they are repeated."""

from __future__ import annotations

import hashlib

from oneapi_mw.admin.endpoint import Call
from oneapi_mw.admin.envelope import BadBody, Refusal
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.middleware.idempotency import presented_idempotency_key
from oneapi_mw.types import JsonObject

REPLAYED = "Idempotent-Replayed"
"""Header of an answer to a call that had been made before."""


class KeyReused(Refusal):
    """The key belongs to a call that said something else."""

    status, code = 409, "idempotency_key_reused"


def idempotency_key(call: Call) -> str | None:
    """The `Idempotency-Key` of a call. Raises `BadBody` for one that cannot be used."""
    try:
        return presented_idempotency_key(call.request.scope)
    except InvalidRequest as exc:
        raise BadBody(exc.message) from None


def digest(said: JsonObject) -> str:
    """64 hexadecimal digits that are the same for the same call, whatever the order of its fields."""
    return hashlib.sha256(dumps(dict(sorted(said.items())))).hexdigest()
