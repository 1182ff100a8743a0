"""`oneapi-mw token`: API keys."""

from __future__ import annotations

import argparse
import ipaddress
import re
import time
from datetime import UTC, datetime
from typing import Any

from oneapi_mw.cli.arguments import add_command, add_group, add_json, quota, usd
from oneapi_mw.cli.database import all_rows, find_user, with_store
from oneapi_mw.cli.failure import CommandFailed, Misused
from oneapi_mw.cli.output import moment, print_json, print_rows
from oneapi_mw.ids import token_key
from oneapi_mw.principal import TokenStatus
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store
from oneapi_mw.store.records import TokenRecord

NEVER = -1
_SPAN = re.compile(r"(\d{1,6})([dh])")


def add_arguments(command: argparse.ArgumentParser) -> None:
    commands = add_group(command)

    create = add_command(
        commands,
        "create",
        "Create an API key and print it; it is not shown again.",
        with_store(create_token),
        examples="""
        oneapi-mw token create laptop --user alice --unlimited
        oneapi-mw token create ci --user alice --usd 2.50 --expires 30d --models gpt-4o-mini
        """,
    )
    create.add_argument("name", help="what the key is for")
    create.add_argument("--user", required=True, help="owner: name or e-mail address")
    limit = create.add_mutually_exclusive_group(required=True)
    limit.add_argument("--quota", type=quota, metavar="UNITS", help="how much the key may spend; 500000 are 1 USD")
    limit.add_argument("--usd", dest="quota", type=usd, metavar="USD", help="the same in US dollars")
    limit.add_argument("--unlimited", action="store_true", help="only the owner's balance is the limit")
    create.add_argument("--expires", type=expiry, default=NEVER, metavar="WHEN", help="30d, 12h or 2027-01-31 (UTC)")
    create.add_argument("--models", metavar="A,B", help="the only models the key may ask for")
    create.add_argument(
        "--subnet", type=subnets, default="", metavar="CIDR,...", help="the only addresses it works from"
    )
    add_json(create)

    show = add_command(
        commands,
        "list",
        "List API keys.",
        with_store(list_tokens),
        examples="""
        oneapi-mw token list
        oneapi-mw token list --user alice --json
        """,
    )
    show.add_argument("--user", help="only this owner's")
    add_json(show)

    for name, summary, status in (
        ("enable", "Make an API key work again.", TokenStatus.ENABLED),
        ("disable", "Stop an API key from working.", TokenStatus.DISABLED),
    ):
        switch = add_command(commands, name, summary, with_store(set_status), examples=f"oneapi-mw token {name} 17")
        switch.add_argument("token", help="id or uuid, as the list shows it")
        switch.set_defaults(status=status)


def expiry(text: str) -> int:
    """Unix seconds of a span from now or of a UTC day's beginning; it must be to come."""
    span = _SPAN.fullmatch(text)
    now = int(time.time())
    if span:
        when = now + int(span[1]) * {"d": 86_400, "h": 3_600}[span[2]]
    else:
        try:
            when = int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is neither a span such as 30d or 12h nor a day") from None
    if when <= now:
        raise argparse.ArgumentTypeError(f"{text!r} is over already")
    return when


def subnets(text: str) -> str:
    """CIDR blocks, separated by commas."""
    blocks = [block.strip() for block in text.split(",") if block.strip()]
    for block in blocks:
        try:
            ipaddress.ip_network(block, strict=False)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{block!r} is not a CIDR block such as 192.0.2.0/24") from None
    return ",".join(block if "/" in block else str(ipaddress.ip_network(block)) for block in blocks)


async def create_token(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    if (args.quota or 0) < 0:
        raise Misused("an API key cannot begin with less than nothing: give it an amount from 0 up, or --unlimited")
    user = await find_user(store, args.user)
    token = await store.tokens.create(
        user_id=user.id,
        user_uuid=user.uuid,
        name=args.name,
        key=token_key(),
        remain_quota=args.quota or 0,
        unlimited_quota=args.unlimited,
        expired_time=args.expires,
        models=args.models,
        subnet=args.subnet,
    )
    key = settings.token_key_prefix + token.key
    if args.json:
        print_json({**_view(token, user.username, settings), "key": key})
    else:
        print(key)


async def list_tokens(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    owner = await find_user(store, args.user) if args.user else None
    names = {user.id: user.username for user in await all_rows(store.users.list)}
    tokens = await all_rows(lambda page: store.tokens.list(page, user_id=owner.id if owner else None))
    view = _view if args.json else _row
    print_rows(
        [view(token, names.get(token.user_id, ""), settings) for token in tokens],
        as_json=args.json,
        nothing="no API keys yet: oneapi-mw token create NAME --user USER --unlimited",
    )


async def set_status(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    numbered = args.token.isascii() and args.token.isdecimal()
    token = await (store.tokens.get_by_id(int(args.token)) if numbered else store.tokens.get(args.token))
    if token is None:
        raise CommandFailed(f"there is no API key {args.token!r}: see 'oneapi-mw token list'")
    await store.tokens.update(token.uuid, {"status": int(args.status)})
    print(f"API key {token.name!r} ({token.id}) is {args.status.name.lower()}")


def _view(token: TokenRecord, owner: str, settings: Settings) -> dict[str, Any]:
    return {
        "id": token.id,
        "uuid": token.uuid,
        "name": token.name,
        "user": owner,
        "key": f"{settings.token_key_prefix}{token.key[:4]}...{token.key[-4:]}",
        "status": TokenStatus(token.status).name.lower(),
        "unlimited": token.unlimited_quota,
        "remain_quota": token.remain_quota,
        "used_quota": token.used_quota,
        "expires": None if token.expired_time == NEVER else token.expired_time,
        "models": token.models,
        "subnet": token.subnet,
        "created_at": token.created_at,
    }


def _row(token: TokenRecord, owner: str, settings: Settings) -> dict[str, Any]:
    view = _view(token, owner, settings)
    return {
        **{key: view[key] for key in ("id", "name", "user", "key", "status")},
        "left": "unlimited" if token.unlimited_quota else str(token.remain_quota),
        "used": token.used_quota,
        "expires": moment(token.expired_time) or "never",
        "models": token.models or "all",
    }
