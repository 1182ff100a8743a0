"""Stand-ins for the four vendors: apps that speak a vendor's real wire and refuse what the vendor refuses.

    async with vendor_server("anthropic_messages", script=Scripted(text="Hello")) as vendor:
        client = anthropic.AsyncAnthropic(base_url=vendor.url, api_key=vendor.key)
        ...
        vendor.requests[-1].body, vendor.ledger

- `scripting`: what the model says, in words that belong to no vendor. Without a script it echoes, calls the first
  tool it is offered, repeats what tools brought, and thinks when it was asked to.
- `openai_chat`, `openai_responses`, `anthropic_messages`, `gemini`: one pure ASGI app each (`app.Vendor`).
- `shapes`: field names and types at every level, read from the request types of the official SDKs.
- `schemas`: the JSON Schema keywords that each vendor's tools and output formats take.
- `signing`: reasoning signatures that show every change of what they sign.
- `server`: a vendor on a real socket.

The rules about models are written here a second time, from the vendors' documents and not from the gateway's
catalogue, so that a mistake in one shows in the other.
"""
