"""Reasoning that an upstream cannot verify is a fault of the request, never of the channel."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.serving import Site
from tests.support.vendor import Vendor, buffered

MODEL = "claude-sonnet-4-5"
BODY = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
HELLO = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
ENABLED = 1


def refusal(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    "body",
    [
        refusal("messages.1.content.0: Invalid `signature` in `thinking` block"),
        refusal("Invalid `signature` in `thinking` block. The block is bound to a different conversation"),
        refusal("messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."),
        refusal("messages.1.content.0.thinking.signature: Field required"),
        {"error": {"code": "invalid_encrypted_content", "message": "The encrypted content could not be verified."}},
        {
            "error": {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "Function call is missing a thought_signature in functionCall parts",
            }
        },
    ],
    ids=["signature", "prefix", "expected thinking", "unsigned", "ciphertext", "thought signature"],
)
async def test_cv_87_signature_errors_leave_the_channel_alone(gateway: Site, upstream: Vendor, body: Any) -> None:
    await gateway.add_channel(upstream.url, type=14, models=MODEL)
    headers = {"x-api-key": gateway.key}
    upstream.answer = buffered(body, status=b"400 Bad Request")
    for _ in range(12):  # more than any statistics of failures would take
        refused = await gateway.http.post(f"{gateway.base}/v1/messages", json=BODY, headers=headers)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"
    channels = await gateway.get("/api/channel/", p=0)
    assert [channel["status"] for channel in channels] == [ENABLED, ENABLED]

    upstream.answer = buffered(HELLO)
    served = await gateway.http.post(f"{gateway.base}/v1/messages", json=BODY, headers=headers)
    assert (served.status_code, served.json()["content"]) == (200, HELLO["content"])
