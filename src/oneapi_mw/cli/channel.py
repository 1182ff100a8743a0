"""`oneapi-mw channel`: configured accounts at providers."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlsplit

from oneapi_mw.admin.channel_text import check_json
from oneapi_mw.admin.envelope import Refusal
from oneapi_mw.cli.arguments import add_command, add_group, add_json, read_secret
from oneapi_mw.cli.database import all_rows, with_store
from oneapi_mw.cli.failure import CommandFailed, Misused
from oneapi_mw.cli.output import print_json, print_rows
from oneapi_mw.providers.catalogue import ROWS, get_provider
from oneapi_mw.routing.channel import ChannelStatus
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store
from oneapi_mw.store.records import ChannelRecord


def add_arguments(command: argparse.ArgumentParser) -> None:
    commands = add_group(command)

    create = add_command(
        commands,
        "create",
        "Create a channel; asks for the provider's key.",
        with_store(create_channel),
        examples="""
        oneapi-mw channel create openai --type openai --models gpt-4o,gpt-4o-mini
        oneapi-mw channel create gpu --type openai-compatible --base-url http://gpu:8000 --models a,b --key-stdin < key
        """,
    )
    create.add_argument("name", help="what it is called in lists and logs")
    create.add_argument("--type", required=True, type=provider, help=f"provider, by name ({_names()}) or number")
    create.add_argument("--models", required=True, type=words, metavar="A,B", help="models it serves")
    key = create.add_mutually_exclusive_group()
    key.add_argument("--key", help="the provider's key; other users of this machine can see it while this runs")
    key.add_argument("--key-stdin", action="store_true", help="read the key from the first line of stdin")
    create.add_argument("--base-url", type=address, metavar="URL", help="instead of the provider's own")
    create.add_argument("--group", type=words, default="default", metavar="A,B", help="user groups it serves")
    create.add_argument("--priority", type=int, default=0, help="higher ones are asked first (default 0)")
    create.add_argument("--weight", type=int, default=0, help="share among channels of one priority (default 0)")
    create.add_argument("--model-mapping", metavar="JSON", help='other names at the provider: {"gpt-4": "gpt-4o"}')
    create.add_argument("--model-configs", metavar="JSON", help="prices and limits of models")
    create.add_argument("--config", default="", metavar="JSON", help="what else the provider needs")
    add_json(create)

    show = add_command(
        commands, "list", "List the channels.", with_store(list_channels), examples="oneapi-mw channel list"
    )
    add_json(show)

    for name, summary, run in (
        ("enable", "Let a channel serve requests.", set_status),
        ("disable", "Keep a channel from serving requests.", set_status),
        ("delete", "Remove a channel.", delete_channel),
    ):
        switch = add_command(commands, name, summary, with_store(run), examples=f"oneapi-mw channel {name} openai")
        switch.add_argument("channel", help="id, uuid or name")
        switch.set_defaults(status=ChannelStatus.ENABLED if name == "enable" else ChannelStatus.DISABLED)


def provider(text: str) -> int:
    """The type number of a provider's name or number."""
    for row in ROWS:
        if text in (row.name, str(row.id)):
            return row.id
    raise argparse.ArgumentTypeError(f"{text!r} is not a provider: choose one of {_names()}")


def words(text: str) -> str:
    """Names without blanks and doubles."""
    names = dict.fromkeys(name for part in text.split(",") if (name := part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return ",".join(names)


def address(text: str) -> str:
    """An HTTP address."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as https://api.example.com")
    return text


def _names() -> str:
    return ", ".join(row.name for row in ROWS)


async def create_channel(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    texts = {"model_mapping": args.model_mapping, "model_configs": args.model_configs, "config": args.config}
    try:
        for field, text in texts.items():
            check_json(field, text or "")
    except Refusal as refusal:
        raise Misused(refusal.message) from None
    served_by = get_provider(args.type)
    base_url = args.base_url or (served_by.spec.base_url if served_by else "")
    if not base_url:
        raise Misused("this type has no address of its own: add --base-url")
    key = args.key
    if key is None:
        key = read_secret("Key", from_stdin=args.key_stdin, option="--key-stdin")
    channel = await store.channels.create(
        {
            "name": args.name,
            "type": args.type,
            "key": key.strip(),
            "status": int(ChannelStatus.ENABLED),
            "base_url": base_url,
            "models": args.models,
            "group": args.group,
            "priority": args.priority,
            "weight": args.weight,
            **texts,
        }
    )
    if args.json:
        print_json(_view(channel))
    else:
        print(f"created channel {channel.name!r} ({channel.id})")


async def list_channels(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    channels = await all_rows(store.channels.list)
    print_rows(
        [(_view if args.json else _row)(channel) for channel in channels],
        as_json=args.json,
        nothing="no channels yet: oneapi-mw channel create NAME --type TYPE --models A,B",
    )


async def set_status(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    channel = await find_channel(store, args.channel)
    await store.channels.update(channel.uuid, {"status": int(args.status)})
    print(f"channel {channel.name!r} ({channel.id}) is {args.status.name.lower()}")


async def delete_channel(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    channel = await find_channel(store, args.channel)
    await store.channels.delete(channel.uuid)
    print(f"channel {channel.name!r} ({channel.id}) is deleted")


async def find_channel(store: Store, reference: str) -> ChannelRecord:
    """The one channel with this id, uuid or, failing that, name. Raises `CommandFailed`."""
    channels = await all_rows(store.channels.list)
    found = [channel for channel in channels if reference in (str(channel.id), channel.uuid)]
    found = found or [channel for channel in channels if channel.name == reference]
    if not found:
        raise CommandFailed(f"there is no channel {reference!r}: see 'oneapi-mw channel list'")
    if len(found) > 1:
        ids = ", ".join(str(channel.id) for channel in found)
        raise CommandFailed(f"several channels are called {reference!r}: name one by its id, {ids}")
    return found[0]


def _view(channel: ChannelRecord) -> dict[str, Any]:
    served_by = get_provider(channel.type)
    return {
        "id": channel.id,
        "uuid": channel.uuid,
        "name": channel.name,
        "type": channel.type,
        "provider": served_by.spec.name if served_by else None,
        "status": ChannelStatus(channel.status).name.lower(),
        "base_url": channel.base_url,
        "models": channel.models,
        "group": channel.group,
        "priority": channel.priority,
        "weight": channel.weight,
        "used_quota": channel.used_quota,
        "created_at": channel.created_at,
    }


def _row(channel: ChannelRecord) -> dict[str, Any]:
    view = _view(channel)
    shown = ("id", "name", "provider", "status", "priority", "weight", "group", "models", "base_url")
    return {key: view[key] for key in shown}
