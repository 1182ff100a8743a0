"""A conversation that one vendor has compacted, sent to another."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.canonical.blocks import Opaque
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target
from tests.wire.requests import HI, asked, assistant

FORMATS = ["openai_chat", "openai_responses", "anthropic_messages", "gemini"]


def sent(to: str, value: Any) -> Encoded:
    client = "anthropic_messages" if to != "anthropic_messages" else "openai_responses"
    wire = get_format(to)
    compacted = assistant(Opaque("compaction", client, "compaction", value))
    return wire.encode_request(asked(HI, compacted, HI, format=client), Target("m", rules_of("m"), wire.vendor))


@pytest.mark.parametrize("to", FORMATS)
def test_a_summary_in_plain_words_is_said(to: str) -> None:
    encoded = sent(to, {"content": "So far: Oslo."})
    assert "So far: Oslo." in str(encoded.body)
    assert "turns[1].compaction=emulated" in encoded.dropped


@pytest.mark.parametrize("value", [{"encrypted_content": "x"}, {"content": " \n"}, {"content": None}, "sealed"])
@pytest.mark.parametrize("to", FORMATS)
def test_one_that_nobody_else_can_read_is_refused(to: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match="send the turns themselves") as caught:
        sent(to, value)
    assert (caught.value.status, caught.value.code) == (409, "state_not_portable")
