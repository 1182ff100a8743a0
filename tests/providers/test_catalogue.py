"""Every row of the catalogue, and where a channel's requests go."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.operations.registry import ENDPOINT_NAMES, ENDPOINT_OF_PATH, OPERATIONS, get_operation
from oneapi_mw.providers.catalogue import ROWS, get_provider
from oneapi_mw.routing.channel import Channel, Secret
from oneapi_mw.wire.registry import formats

CHAT = "/v1/chat/completions"


def channel(base_url: str = "", **config: Any) -> Channel:
    return Channel(1, "uuid", "name", 1, base_url, Secret("sk-secret"), ("m",), config=config)


def url(made: Channel, path: str = CHAT, *, channel_type: int = 1) -> str:
    provider = get_provider(channel_type)
    assert provider is not None
    return provider.url(made, path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_things_that_exist(row: Any) -> None:
    assert row.wires
    assert set(row.wires) <= formats().keys()
    assert row.operations <= OPERATIONS.keys()
    assert row.docs.startswith("https://")
    assert not row.base_url.endswith("/")


def test_ids_and_names_are_unique_and_ids_are_one_apis() -> None:
    assert {row.id: row.name for row in ROWS} == {
        1: "openai",
        8: "custom",
        14: "anthropic",
        24: "gemini",
        50: "openai-compatible",
        52: "claude-compatible",
    }
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_unknown_numbers() -> None:
    assert get_provider(999) is None
    with pytest.raises(KeyError):
        get_operation("unknown")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
def test_an_operation_has_an_endpoint_of_one_api(operation: Any) -> None:
    assert operation.endpoint in ENDPOINT_NAMES
    assert get_operation(operation.name) is operation


def test_every_path_of_a_wire_format_has_an_endpoint_name() -> None:
    for wire in formats().values():
        served = {path for path, operation in wire.paths.items() if operation in OPERATIONS}
        assert served <= ENDPOINT_OF_PATH.keys()


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("", "https://api.openai.com/v1/chat/completions"),
        ("https://a.example", "https://a.example/v1/chat/completions"),
        ("https://a.example/", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
        ("https://a.example/api/v4", "https://a.example/api/v4/chat/completions"),
        ("https://a.example/v1beta", "https://a.example/v1beta/chat/completions"),
        ("https://a.example/v1beta/openai", "https://a.example/v1beta/openai/v1/chat/completions"),
        ("https://v1.example", "https://v1.example/v1/chat/completions"),
    ],
)
def test_the_version_is_in_a_url_once(base_url: str, expected: str) -> None:
    assert url(channel(base_url)) == expected


def test_a_path_that_is_not_below_v1_is_appended_whole() -> None:
    assert url(channel("https://a.example/v1"), "/api/paas/v4/layout_parsing") == (
        "https://a.example/v1/api/paas/v4/layout_parsing"
    )


def test_an_endpoints_url_of_the_channel_goes_before_everything() -> None:
    made = channel("https://a.example", endpoint_urls={"chat_completions": "https://b.example/x?api-version=1"})

    assert url(made) == "https://b.example/x?api-version=1"
    assert url(made, "/v1/embeddings") == "https://a.example/v1/embeddings"
    assert url(made, "/v1/unnamed") == "https://a.example/v1/unnamed"


@pytest.mark.parametrize(
    "urls", [None, [], "x", {"chat_completions": ""}, {"chat_completions": 5}, {CHAT: "https://b"}]
)
def test_odd_endpoint_urls_say_nothing(urls: Any) -> None:
    assert url(channel("https://a.example", endpoint_urls=urls)) == "https://a.example/v1/chat/completions"


def test_the_key_is_in_the_header_and_in_no_text() -> None:
    made = channel()
    provider = get_provider(1)
    assert provider is not None

    assert provider.headers(made, "openai_chat") == [("authorization", "Bearer sk-secret")]
    assert "secret" not in repr(made)
