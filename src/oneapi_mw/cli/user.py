"""`oneapi-mw user`: people and services that have a balance."""

from __future__ import annotations

import argparse
from typing import Any

from oneapi_mw.admin.envelope import Refusal
from oneapi_mw.admin.users import check_password, check_username
from oneapi_mw.cli.arguments import add_command, add_group, add_json, quota, read_secret, usd
from oneapi_mw.cli.database import all_rows, find_user, with_store
from oneapi_mw.cli.failure import CommandFailed, Misused
from oneapi_mw.cli.output import dollars, print_json, print_rows
from oneapi_mw.ids import uuid7
from oneapi_mw.principal import Role, UserStatus
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store
from oneapi_mw.store.bootstrap import ROOT_QUOTA
from oneapi_mw.store.passwords import hash_password
from oneapi_mw.store.records import UserRecord

ROLES = {"common": Role.COMMON, "admin": Role.ADMIN, "root": Role.ROOT}


def add_arguments(command: argparse.ArgumentParser) -> None:
    commands = add_group(command)

    create = add_command(
        commands,
        "create",
        "Create a user; asks for the password.",
        with_store(create_user),
        examples="""
        oneapi-mw user create alice --add-usd 5
        pass show alice | oneapi-mw user create alice --role admin --password-stdin
        """,
    )
    create.add_argument("name", help="name to log in with, 1 to 30 characters")
    create.add_argument("--role", choices=ROLES, default="common", help="what the user may do (default common)")
    create.add_argument("--email", default="", help="address, another name to log in with")
    create.add_argument("--group", default="default", help="decides channels and prices (default 'default')")
    _add_amount(create)
    _add_password(create)
    add_json(create)

    show = add_command(commands, "list", "List the users.", with_store(list_users), examples="oneapi-mw user list")
    add_json(show)

    for name, summary, status in (
        ("enable", "Let a user in again.", UserStatus.ENABLED),
        ("disable", "Shut a user out, with all API keys.", UserStatus.DISABLED),
    ):
        switch = add_command(commands, name, summary, with_store(set_status), examples=f"oneapi-mw user {name} alice")
        switch.add_argument("name", help="name or e-mail address")
        switch.set_defaults(status=status)

    password = add_command(
        commands,
        "password",
        "Set a user's password and end all sessions.",
        with_store(set_password),
        examples="""
        oneapi-mw user password root
        pass show root | oneapi-mw user password root --password-stdin
        """,
    )
    password.add_argument("name", help="name or e-mail address")
    _add_password(password)

    balance = add_command(
        commands,
        "quota",
        "Show a user's balance, or book an amount.",
        with_store(change_quota),
        examples="""
        oneapi-mw user quota alice
        oneapi-mw user quota alice --add-usd 10 --remark 'invoice 17'
        oneapi-mw user quota alice --add -500000
        """,
    )
    balance.add_argument("name", help="name or e-mail address")
    _add_amount(balance)
    balance.add_argument("--remark", default="", help="kept with the entry")
    add_json(balance)


def _add_amount(command: argparse.ArgumentParser) -> None:
    amount = command.add_mutually_exclusive_group()
    amount.add_argument("--add", dest="amount", type=quota, metavar="UNITS", help="quota units; 500000 are 1 USD")
    amount.add_argument("--add-usd", dest="amount", type=usd, metavar="USD", help="the same in US dollars")


def _add_password(command: argparse.ArgumentParser) -> None:
    command.add_argument("--password-stdin", action="store_true", help="read the password from the first line of stdin")


def _read_password(args: argparse.Namespace) -> str:
    password = read_secret("Password", from_stdin=args.password_stdin, option="--password-stdin", repeat=True)
    try:
        return check_password(password, prefix="")
    except Refusal as refusal:
        raise Misused(refusal.message) from None


async def create_user(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    try:
        name = check_username(args.name, prefix="", shortest=1)
    except Refusal as refusal:
        raise Misused(refusal.message) from None
    role = ROLES[args.role]
    if role != Role.ROOT and not await store.users.count():
        raise CommandFailed(
            "there is no root account yet, and a database with users gets none: run 'oneapi-mw serve' or "
            "'oneapi-mw user create root --role root' first"
        )
    amount = args.amount if args.amount is not None else ROOT_QUOTA if role == Role.ROOT else 0
    user = await store.users.create(
        username=name,
        password_hash=await hash_password(_read_password(args)),
        display_name=name[:20],
        role=int(role),
        email=args.email,
        group=args.group,
        quota=amount,
    )
    if args.json:
        print_json(_view(user))
    else:
        print(f"created user {name!r} with {user.quota} quota units ({dollars(user.quota)})")


async def list_users(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    users = await all_rows(store.users.list)
    view = _view if args.json else _row
    print_rows([view(user) for user in users], as_json=args.json, nothing="no users yet: oneapi-mw user create NAME")


async def set_status(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    user = await find_user(store, args.name)
    await store.users.update(user.id, {"status": int(args.status)})
    if args.status == UserStatus.DISABLED:
        await store.sessions.delete_user(user.id)
    print(f"user {user.username!r} is {args.status.name.lower()}")


async def set_password(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    user = await find_user(store, args.name)
    await store.users.update(user.id, {"password_hash": await hash_password(_read_password(args))})
    await store.sessions.delete_user(user.id)
    print(f"user {user.username!r} has a new password")


async def change_quota(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    user = await find_user(store, args.name)
    if args.amount:
        try:
            await store.users.add_quota(user.id, args.amount, kind="topup", key=uuid7(), remark=args.remark[:255])
        except ValueError as exc:  # the amount is fine by itself: the grammar has checked it
            raise CommandFailed(str(exc)) from exc
        user = await find_user(store, args.name)
    if args.json:
        print_json({"username": user.username, "quota": user.quota, "used_quota": user.used_quota})
    else:
        print(f"user {user.username!r} has {user.quota} quota units ({dollars(user.quota)})")


def _view(user: UserRecord) -> dict[str, Any]:
    return {
        "id": user.id,
        "uuid": user.uuid,
        "username": user.username,
        "email": user.email,
        "role": Role(user.role).name.lower(),
        "status": UserStatus(user.status).name.lower(),
        "group": user.group,
        "quota": user.quota,
        "used_quota": user.used_quota,
        "request_count": user.request_count,
        "created_at": user.created_at,
    }


def _row(user: UserRecord) -> dict[str, Any]:
    view = _view(user)
    return {
        **{key: view[key] for key in ("id", "username", "role", "status", "group", "quota")},
        "balance": dollars(user.quota),
        "used": dollars(user.used_quota),
        "requests": user.request_count,
    }
