"""A vendor on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from tests.support.serving import Server, serving
from tests.vendors.app import Vendor
from tests.vendors.scripting import Script

VENDORS = {
    "openai_chat": "OpenAIChat",
    "openai_responses": "OpenAIResponses",
    "anthropic_messages": "AnthropicMessages",
    "gemini": "Gemini",
}
"""The module and the class, by the name of the wire format each speaks."""


def vendor_named(name: str, **options: Any) -> Vendor:
    """A new vendor, unserved. Only its own SDK is loaded, since each takes a second.

    Args:
        options: for the vendor's class.
    """
    vendor: Vendor = getattr(import_module(f"tests.vendors.{name}"), VENDORS[name])(**options)
    return vendor


@asynccontextmanager
async def vendor_server(
    name: str, *, script: Script = None, server: Server = "hypercorn", **options: Any
) -> AsyncIterator[Vendor]:
    """The vendor that speaks `name`, on a free loopback port at `url`."""
    vendor = vendor_named(name, script=script, **options)
    async with serving(vendor, server) as vendor.url:
        yield vendor
