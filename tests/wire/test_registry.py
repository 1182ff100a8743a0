"""Every format is complete, and found by its name and its paths."""

from __future__ import annotations

import pytest

from oneapi_mw.canonical.call import Call
from oneapi_mw.exchange import Endpoint
from oneapi_mw.wire.base import WireFormat
from oneapi_mw.wire.envelope_bodies import without_envelopes
from oneapi_mw.wire.recovery import recognised
from oneapi_mw.wire.registry import endpoint_for, formats, get_format
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.url_media import url_parts
from oneapi_mw.wire.wish import ReasoningWish
from oneapi_mw.wire.wish_applied import apply_to_body

ALL = list(formats().values())


@pytest.mark.parametrize("wire", ALL, ids=lambda wire: str(wire.name))
def test_a_format_is_found(wire: WireFormat) -> None:
    assert get_format(wire.name) is wire
    for path, operation in wire.paths.items():
        assert endpoint_for(path) == Endpoint(operation, wire.name)
        assert wire.operation_at(path) == operation
        assert wire.operation_at(wire.upstream_path(operation, model="m", stream=False)) == operation


@pytest.mark.parametrize("path", ["", "/", "/v1/chat", "/v1/chat/completions/", "/V1/chat/completions"])
def test_other_paths_belong_to_nobody(path: str) -> None:
    assert endpoint_for(path) is None


@pytest.mark.parametrize("wire", ALL, ids=lambda wire: str(wire.name))
def test_an_operation_nobody_has(wire: WireFormat) -> None:
    with pytest.raises(KeyError):
        wire.upstream_path("unknown", model="m", stream=False)


def test_paths_with_parameters_are_asked_of_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format whose paths hold a model recognises them itself."""
    path = "/v1beta/models/m:generateContent"
    wire = ALL[0]
    monkeypatch.setattr(type(wire), "operation_at", lambda self, asked: "chat" if asked == path else None)
    assert endpoint_for(path) == Endpoint("chat", wire.name)
    assert endpoint_for("/v1beta/models/m:other") is None


@pytest.mark.parametrize("prefix", ["/v1/v1", "/openai/v1", "/openai/v1/v1", "/api/v1/v1"])
def test_claude_code_doubles_paths(prefix: str) -> None:
    assert endpoint_for(f"{prefix}/messages") == Endpoint("chat", "anthropic_messages")
    assert endpoint_for(f"{prefix}/messages/count_tokens") == Endpoint("count_tokens", "anthropic_messages")
    assert endpoint_for(f"{prefix}/messages/more") is None


@pytest.mark.parametrize("wire", ALL, ids=lambda wire: str(wire.name))
def test_what_goes_by_formats_knows_all_of_them(wire: WireFormat) -> None:
    """Tables beside the codecs: nothing in them fails for a format that has no use for them."""
    call = Call("chat", wire.name, "m", False, {}, b"{}")
    assert url_parts(call) == []
    assert without_envelopes(wire.name, {}) == {}
    assert apply_to_body(wire.name, {}, ReasoningWish(), Target("m"), provider="openai").body == {}
    assert recognised(wire.name, "something else") is None
