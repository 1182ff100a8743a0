"""The first account of an empty database."""

from __future__ import annotations

from oneapi_mw import ids
from oneapi_mw.principal import Role
from oneapi_mw.store.base import Conflict, Store
from oneapi_mw.store.passwords import hash_password

ROOT_QUOTA = 500_000_000_000_000
"""One API's: a billion US dollars."""
SHORTEST_CREDENTIAL = 16
_LONGEST_CREDENTIAL = 200


async def ensure_root(
    store: Store, *, password: str, access_token: str | None = None, api_key: str | None = None, key_prefix: str = "sk-"
) -> bool:
    """Create the account `root` when there is no user at all. Any number of workers may do so at once.

    Args:
        password: in the clear.
        access_token: root's token for the management API; a random one, which nobody knows, when absent.
        api_key: gives root an unlimited API key, with or without its prefix.
        key_prefix: what the gateway shows before its keys.

    Returns: whether this very call created it.
    Raises: `ValueError` for a credential that is too easy to guess.
    """
    if await store.users.count():
        return False
    key = None if api_key is None else _key_material(api_key, key_prefix)
    if access_token is not None:
        _check(access_token, "INITIAL_ROOT_ACCESS_TOKEN")
    try:
        root = await store.users.create(
            username="root",
            password_hash=await hash_password(password),
            display_name="Root User",
            role=int(Role.ROOT),
            quota=ROOT_QUOTA,
            access_token=access_token or ids.access_token(),
        )
    except Conflict:
        return False  # another worker was first, and makes the key too
    if key is not None:
        await store.tokens.create(
            user_id=root.id, user_uuid=root.uuid, name="Initial Root Token", key=key, unlimited_quota=True
        )
    return True


def _key_material(api_key: str, key_prefix: str) -> str:
    """The key as requests that carry it are looked up."""
    key = api_key.strip()
    for prefix in dict.fromkeys((key_prefix, "sk-", "laisky-")):
        key = key.removeprefix(prefix)
    _check(key, "INITIAL_ROOT_TOKEN")
    return key


def _check(credential: str, setting: str) -> None:
    plain = credential.isascii() and credential.isprintable() and " " not in credential
    if not plain or not SHORTEST_CREDENTIAL <= len(credential) <= _LONGEST_CREDENTIAL:
        raise ValueError(
            f"{setting} must have {SHORTEST_CREDENTIAL} to {_LONGEST_CREDENTIAL} letters and digits: write random "
            "ones, such as `openssl rand -hex 24` prints"
        )
