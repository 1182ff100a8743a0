"""What may stand in the texts of a channel that hold JSON, and what of them is shown."""

from __future__ import annotations

import json

import pytest

from oneapi_mw.admin.channel_config import (
    MASK,
    destination,
    hide_secrets,
    is_address,
    keep_secrets,
    set_tooling,
    tooling_of,
)
from oneapi_mw.admin.channel_text import check_json
from oneapi_mw.admin.envelope import Refusal

GOOD = {
    "hidden_models": ["[]", '["a"]'],
    "model_mapping": ["{}", '{"a": "b"}', " "],
    "model_configs": ["{}", '{"a": {"ratio": 1.25, "completion_ratio": 4}}', '{"a": {"input_usd_per_mtok": 0}}'],
    "config": [
        "{}",
        '{"region": "eu-west-1"}',
        '{"endpoint_urls": {"chat_completions": "https://a.example/x?api-version=1", "ocr": ""}}',
        '{"supported_endpoints": ["chat_completions", "response_api"], "endpoint_urls": null}',
        '{"custom_headers": {"X-Team": "search", "api-key": "{{key}}"}, "supported_endpoints": []}',
        '{"ambiguous": "hold", "bills_after_disconnect": true, "bill_failed_attempts": false}',
    ],
    "tooling": [
        "{}",
        '{"whitelist": ["web_search"]}',
        '{"whitelist": null, "pricing": null}',
        '{"whitelist": [], "pricing": {"code_interpreter": {"quota_per_call": 0}}}',
    ],
    "model_ratio": ['{"a": 0, "b": 1.5}'],
    "completion_ratio": ['{"a": 4}'],
    "inference_profile_arn_map": ['{"a": "arn:aws:bedrock:x"}'],
    "system_prompt": ["{not json"],
}
BAD = {
    "hidden_models": ["{}", "[1]", "a,b", "["],
    "model_mapping": ["[]", '{"a": 1}', "a=b", "null"],
    "model_configs": ["[]", '{"a": 1}', '{"a": {"ratio": -1}}', '{"a": {"ratio": "x"}}', '{"a": {"ratio": 1e9}}'],
    "config": [
        "[]",
        "1",
        '{"endpoint_urls": []}',
        '{"endpoint_urls": {"chat": "https://a.example"}}',
        '{"endpoint_urls": {"chat_completions": "ftp://a.example"}}',
        '{"endpoint_urls": {"chat_completions": 1}}',
        '{"supported_endpoints": "chat_completions"}',
        '{"supported_endpoints": ["chat"]}',
        '{"supported_endpoints": [[]]}',
        '{"custom_headers": []}',
        '{"ambiguous": "maybe"}',
        '{"ambiguous": null}',
        '{"bills_after_disconnect": "yes"}',
        '{"bill_failed_attempts": 1}',
        '{"tooling": []}',
        '{"tooling": {"whitelist": [""]}}',
        '{"tooling": {"pricing": {"web_search": {"usd_per_call": -1}}}}',
        '{"custom_headers": {"x y": "1"}}',
        '{"custom_headers": {"": "1"}}',
        '{"custom_headers": {"Transfer-Encoding": "chunked"}}',
        '{"custom_headers": {"host": "a.example"}}',
        '{"custom_headers": {"Proxy-Authorization": "x"}}',
        '{"custom_headers": {"x-a": 1}}',
        '{"custom_headers": {"x-a": "a\\r\\nx-b: 1"}}',
        '{"custom_headers": {"x-a": "\\u00e9"}}',
    ],
    "tooling": [
        "[]",
        "x",
        '{"whitelist": "web_search"}',
        '{"whitelist": ["web_search", " "]}',
        '{"whitelist": [1]}',
        '{"pricing": ["web_search"]}',
        '{"pricing": {"web_search": {}}}',
    ],
    "model_ratio": ["[]", '{"a": -1}', '{"a": "1"}', '{"a": true}', '{"a": NaN}'],
    "completion_ratio": ['{"a": null}'],
    "inference_profile_arn_map": ['{"a": 1}'],
}


@pytest.mark.parametrize(("field", "text"), [(field, text) for field, texts in GOOD.items() for text in texts])
def test_text_that_fits_passes(field: str, text: str) -> None:
    check_json(field, text)


@pytest.mark.parametrize(("field", "text"), [(field, text) for field, texts in BAD.items() for text in texts])
def test_text_that_does_not_fit_is_refused_by_name(field: str, text: str) -> None:
    with pytest.raises(Refusal, match=f"^{field}") as refusal:
        check_json(field, text)
    assert len(refusal.value.message) < 600


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "http://127.0.0.1:8080/v1/", "https://[2001:db8::1]/x", "https://a.example/x?y=1"],
)
def test_addresses(url: str) -> None:
    assert is_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "//a.example",
        "ftp://a.example",
        "file:///etc/passwd",
        "https://",
        "https://user:pass@a.example",
        "https://a.example/#x",
        "https://a.example\\@b.example",
        "https://a.example/x y",
        "https://a.example/\r\nx",
        "https://a.example:0",
        "https://a.example:99999",
        "https://a.example:x",
        "https://[::1",
        "https://b\u00fccher.example",
    ],
)
def test_what_is_no_address(url: str) -> None:
    assert not is_address(url)


def test_secrets_are_masked_and_the_rest_is_not() -> None:
    shown = json.loads(
        hide_secrets('{"ak": "AK", "sk": "hidden", "vertex_ai_adc": "{\\"private_key\\": 1}", "region": "x"}')
    )

    assert shown == {"ak": "AK", "sk": MASK, "vertex_ai_adc": MASK, "region": "x"}


@pytest.mark.parametrize("config", ["", "{}", '{ "region":"x",  "sk": "" }', "not json", "[1]"])
def test_a_config_without_secrets_is_shown_byte_for_byte(config: str) -> None:
    assert hide_secrets(config) == config


def test_the_mask_sent_back_means_unchanged() -> None:
    kept = keep_secrets(f'{{"sk": "{MASK}", "region": "new"}}', '{"sk": "hidden", "region": "old"}')

    assert json.loads(kept) == {"sk": "hidden", "region": "new"}


def test_a_mask_over_nothing_is_nothing() -> None:
    assert json.loads(keep_secrets(f'{{"sk": "{MASK}"}}', "")) == {"sk": ""}


def test_a_new_secret_replaces_the_old_one() -> None:
    assert json.loads(keep_secrets('{"sk": "new"}', '{"sk": "hidden"}')) == {"sk": "new"}


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ("", '{"tooling": {"whitelist": []}}', False),
        ('{"region": "a"}', '{"region": "a", "supported_endpoints": ["ocr"]}', False),
        ("", '{"region": ""}', False),
        ('{"region": "a"}', '{"region": "b"}', True),
        ("", '{"endpoint_urls": {"ocr": "https://a.example"}}', True),
        ("", '{"custom_headers": {"x": "{{key}}"}}', True),
        ('{"api_version": "1"}', "{}", True),
    ],
)
def test_what_moves_a_channel(before: str, after: str, moved: bool) -> None:
    assert (destination(before) != destination(after)) is moved


def test_tooling_is_put_into_the_config_and_read_from_it() -> None:
    merged = set_tooling('{"region": "x"}', '{"whitelist": ["a"]}')

    assert json.loads(merged) == {"region": "x", "tooling": {"whitelist": ["a"]}}
    assert json.loads(tooling_of(merged) or "") == {"whitelist": ["a"]}
    assert set_tooling(merged, None) == merged
    assert [tooling_of(text) for text in ("", "{}", "not json", '{"tooling": {}}')] == [None] * 4
