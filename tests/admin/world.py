"""A gateway's management API over a store, the people who use it, and a client that talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.parse import urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.admin.app import build_admin
from oneapi_mw.admin.models import ModelDialectMiddleware, build_models, is_models_path
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.ids import token_key
from oneapi_mw.ledger.base import Ledger
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.middleware.address import ClientAddress
from oneapi_mw.middleware.auth import AuthMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.principal import Role
from oneapi_mw.scope import route_path
from oneapi_mw.store.base import Store
from oneapi_mw.store.records import ChannelRecord, TokenRecord, UserRecord
from tests.support import harness

PASSWORD = "correct horse"
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
"""A uuid that no row has."""
DAY = 24 * 3600


class QuickPasswords:
    """Hashes that are none, and how often somebody had to work for them."""

    def __init__(self) -> None:
        self.hashed = self.verified = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return "quick:" + password

    async def verify(self, password: str, hashed: str) -> bool:
        self.verified += 1
        return hashed == "quick:" + password


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Person:
    """A user and the three credentials there are."""

    user: UserRecord
    session: str
    access_token: str
    token: TokenRecord

    @property
    def cookie(self) -> dict[str, str]:
        return {"cookie": f"session={self.session}"}

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access_token}"}

    @property
    def key(self) -> dict[str, str]:
        return {"authorization": f"Bearer sk-{self.token.key}"}


@dataclass(frozen=True)
class Reply:
    """One answer."""

    exchanged: harness.Exchanged

    @property
    def status(self) -> int:
        return self.exchanged.status

    @property
    def headers(self) -> dict[str, str]:
        return self.exchanged.headers

    @property
    def body(self) -> bytes:
        return self.exchanged.body

    def json(self) -> Any:
        return self.exchanged.json()

    @property
    def message(self) -> str:
        return cast(str, self.json()["message"])

    @property
    def data(self) -> Any:
        """What a success carries."""
        body = self.json()
        assert self.status == 200, body
        assert body["success"] is True, body
        assert body["message"] == ""
        return body["data"]

    def done(self) -> None:
        """A success without data."""
        assert (self.status, self.json()) == (200, {"success": True, "message": ""})

    def refused(self, *words: str) -> None:
        """A refusal as One API gives it: status 200, two keys, and `words` in the message."""
        body = self.json()
        assert self.status == 200, body
        assert body.keys() == {"success", "message"}, body
        assert body["success"] is False
        for word in words:
            assert word in body["message"]

    def set_cookie(self) -> dict[str, str]:
        """The attributes of the cookie that is set, names in lower case; the session id is under `session`."""
        parts = [part.strip().partition("=") for part in self.headers["set-cookie"].split(";")]
        return {name.lower(): value for name, _, value in parts}


@dataclass
class World:
    """A store with people in it, and the apps over it.

    `root`, `admin` and `peer` administer; `alice` and `bob` are common users.
    """

    store: Store
    ledger: Ledger | None = None
    """Over the same books, not started: it writes the rows of logs and costs."""
    passwords: QuickPasswords = field(default_factory=QuickPasswords)
    clock: Clock = field(default_factory=Clock)
    people: dict[str, Person] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    root_path: str = ""
    _opened: bool = False
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.configure()

    def configure(self, **options: Any) -> None:
        """Build the apps again with other options of `AdminServices`."""
        self.options |= options
        auth = AuthMiddleware(_nowhere, principals=self.store.principals)
        services = AdminServices(
            store=self.store,
            ledger=self.ledger or MemoryLedger(),
            passwords=self.passwords,
            authenticate_key=auth.authenticate,
            client_address=ClientAddress(),
            clock=self.clock,
        )
        self.services = replace(services, **self.options)
        admin = ExchangeMiddleware(ErrorsMiddleware(build_admin(self.services)))
        signed_in = AuthMiddleware(build_models(self.services), principals=self.store.principals)
        models = ExchangeMiddleware(ModelDialectMiddleware(ErrorsMiddleware(signed_in)))

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            chosen = models if is_models_path(route_path(scope)) else admin
            await chosen(scope, receive, send)

        self.app: ASGIApp = app

    async def populate(self) -> None:
        for name, role in (("root", Role.ROOT), ("admin", Role.ADMIN), ("peer", Role.ADMIN), ("alice", 1), ("bob", 1)):
            self.people[name] = await self.person(name, role=int(role))

    async def person(self, name: str, *, role: int = 1, **values: Any) -> Person:
        """A new user with a session, an access token and an unlimited key."""
        access_token = f"{name}-access-token"
        user = await self.store.users.create(
            username=name,
            password_hash="quick:" + PASSWORD,
            role=role,
            email=f"{name}@example.com",
            access_token=access_token,
            quota=1000,
            **values,
        )
        token = await self.token(user, name=f"{name}-key", unlimited_quota=True)
        return Person(user, await self.store.sessions.create(user.id, max_age=3600), access_token, token)

    async def books(self) -> Ledger:
        """The ledger, started."""
        assert self.ledger is not None, "this world has none"
        async with self._opening:
            if not self._opened:
                await self.ledger.start()
                self._opened = True
        return self.ledger

    async def token(self, user: UserRecord, *, name: str = "key", **values: Any) -> TokenRecord:
        return await self.store.tokens.create(
            user_id=user.id, user_uuid=user.uuid, name=name, key=token_key(), **values
        )

    async def channel(self, name: str = "channel", **values: Any) -> ChannelRecord:
        defaults = {"type": 1, "key": "provider-secret", "status": 1, "base_url": "https://api.example.com"}
        return await self.store.channels.create(
            {**defaults, "models": "gpt-4o", "group": "default", **values, "name": name}
        )

    async def user(self, name: str) -> UserRecord:
        """The row of a person as it is now."""
        row = await self.store.users.get_by_id(self[name].user.id)
        assert row is not None
        return row

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    async def call(
        self,
        method: str,
        path: str,
        by: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Reply:
        """One request, `by` somebody's credential headers. `json=` or `body=` is what it carries."""
        exchanged = await harness.call(
            self.app,
            method,
            path,
            headers={"host": "gateway.example", **(headers or {}), **(by or {})},
            query=urlencode(query or {}).encode(),
            root_path=self.root_path,
            **request,
        )
        return Reply(exchanged)

    async def get(self, path: str, by: Mapping[str, str] | None = None, **rest: Any) -> Reply:
        return await self.call("GET", path, by, **rest)

    async def post(self, path: str, by: Mapping[str, str] | None = None, json: Any = None, **rest: Any) -> Reply:
        return await self.call("POST", path, by, json=json, **rest)

    async def put(self, path: str, by: Mapping[str, str] | None = None, json: Any = None, **rest: Any) -> Reply:
        return await self.call("PUT", path, by, json=json, **rest)

    async def delete(self, path: str, by: Mapping[str, str] | None = None, **rest: Any) -> Reply:
        return await self.call("DELETE", path, by, **rest)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("authentication alone is wanted")
