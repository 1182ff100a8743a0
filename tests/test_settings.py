"""Settings: what they are by default, how text becomes them, and what is said about text that cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from oneapi_mw.settings import Settings, SettingsError, describe
from oneapi_mw.settings.names import ACCEPTED, ALIASES, IGNORED, env_name

CORE: dict[str, Any] = {
    # server
    "PORT": None,
    "GIN_MODE": "release",
    "NODE_TYPE": "master",
    "SHUTDOWN_TIMEOUT": 360,
    "FRONTEND_BASE_URL": "",
    "MAX_ITEMS_PER_PAGE": 100,
    "TOKEN_TRANSACTIONS_MAX_HISTORY": 1000,
    # session and cookies
    "SESSION_SECRET": "",
    "COOKIE_MAXAGE_HOURS": 168,
    "ENABLE_COOKIE_SECURE": True,
    # database
    "SQL_DSN": "",
    "LOG_SQL_DSN": "",
    "SQLITE_PATH": "one-api.db",
    "SQLITE_BUSY_TIMEOUT": 10000,
    "SQL_MAX_IDLE_CONNS": 200,
    "SQL_MAX_OPEN_CONNS": 2000,
    "SQL_MAX_LIFETIME": 300,
    # Redis and caches
    "REDIS_CONN_STRING": "",
    "REDIS_MASTER_NAME": "",
    "REDIS_PASSWORD": "",
    "MEMORY_CACHE_ENABLED": False,
    "SYNC_FREQUENCY": 120,
    "BATCH_UPDATE_ENABLED": False,
    "BATCH_UPDATE_INTERVAL": 5,
    "BATCH_UPDATE_TIMEOUT": 180,
    # rate limits
    "RATE_LIMIT_DISABLED": False,
    "GLOBAL_API_RATE_LIMIT": 480,
    "GLOBAL_WEB_RATE_LIMIT": 240,
    "GLOBAL_RELAY_RATE_LIMIT": 480,
    "GLOBAL_CHANNEL_RATE_LIMIT": False,
    "CRITICAL_RATE_LIMIT": 20,
    "LOW_BALANCE_RATE_LIMIT_THRESHOLD": 0.5,
    "LOW_BALANCE_RELAY_RATE_LIMIT": 480,
    "LOW_BALANCE_RELAY_RATE_LIMIT_DURATION": 180,
    "REDEEM_FAILURE_RATE_LIMIT": 5,
    "CONVERSATION_RATE_LIMIT": 240,
    "CONVERSATION_RATE_LIMIT_DURATION": 60,
    # quota and billing
    "PRECONSUME_TOKEN_FOR_BACKGROUND_REQUEST": 15000,
    "BILLING_TIMEOUT": 300,
    "STREAMING_BILLING_INTERVAL": 3,
    "EXTERNAL_BILLING_DEFAULT_TIMEOUT": 600,
    "EXTERNAL_BILLING_MAX_TIMEOUT": 3600,
    "ENFORCE_INCLUDE_USAGE": True,
    # relay
    "RELAY_TIMEOUT": 0,
    "IDLE_TIMEOUT": 30,
    "RELAY_PROXY": "",
    "USER_CONTENT_REQUEST_PROXY": "",
    "USER_CONTENT_REQUEST_TIMEOUT": 30,
    "MAX_INLINE_IMAGE_SIZE_MB": 16,
    "POLLING_INTERVAL": 0,
    "DEFAULT_MAX_TOKEN": 2048,
    "MCP_MAX_TOOL_ROUNDS": 10,
    "MCP_TOOL_CALL_TIMEOUT": 60,
    # channels
    "CHANNEL_SUSPEND_SECONDS_FOR_429": 60,
    "CHANNEL_SUSPEND_SECONDS_FOR_5XX": 30,
    "CHANNEL_SUSPEND_SECONDS_FOR_AUTH": 60,
    "CHANNEL_TEST_FREQUENCY": 0,
    # format detection, response state
    "AUTO_DETECT_API_FORMAT": True,
    "AUTO_DETECT_API_FORMAT_ACTION": "transparent",
    "RESPONSE_STATE_ENABLED": None,
    "RESPONSE_STATE_ENCRYPTION_KEYS": "",
    # logging, retention, debug
    "DEBUG": False,
    "DEBUG_SQL": False,
    "ONLY_ONE_LOG_FILE": False,
    "LOG_ROTATION_INTERVAL": "daily",
    "LOG_RETENTION_DAYS": 0,
    "TRACE_RETENTION_DAYS": 30,
    "ASYNC_TASK_RETENTION_DAYS": 7,
    "LOG_PUSH_API": "",
    "LOG_PUSH_TYPE": "",
    "LOG_PUSH_TOKEN": "",
    # metrics, OpenTelemetry
    "ENABLE_PROMETHEUS_METRICS": True,
    "METRICS_TOKEN": "",
    "ENABLE_METRIC": False,
    "METRIC_QUEUE_SIZE": 10,
    "METRIC_SUCCESS_RATE_THRESHOLD": 0.8,
    "OTEL_ENABLED": False,
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "OTEL_EXPORTER_OTLP_INSECURE": True,
    "OTEL_SERVICE_NAME": "one-api",
    "OTEL_ENVIRONMENT": "debug",
    "OTEL_METRIC_EXPORT_INTERVAL": 60000,
    # provider defaults, bootstrap, channel tests
    "GEMINI_SAFETY_SETTING": "BLOCK_NONE",
    "GEMINI_VERSION": "v1",
    "OPENROUTER_PROVIDER_SORT": "",
    "TOKEN_KEY_PREFIX": "sk-",
    "INITIAL_ROOT_TOKEN": "",
    "INITIAL_ROOT_ACCESS_TOKEN": "",
    "TEST_PROMPT": "2 + 2 = ?",
    "TEST_MAX_TOKENS": 1024,
}
"""Every setting of One API that concerns the gateway itself."""

OUTLYING: dict[str, Any] = {
    "THEME": "modern",
    "DEFAULT_USE_MIN_MAX_TOKENS_MODEL": False,
    "METRIC_SUCCESS_CHAN_SIZE": 1024,
    "METRIC_FAIL_CHAN_SIZE": 128,
    "RESPONSE_STATE_SHADOW": False,
    "RESPONSE_STATE_ALLOWLIST": "",
    "RESPONSE_STATE_LEGACY_PASSTHROUGH": False,
    "RESPONSE_STATE_MAX_CHAIN_DEPTH": 64,
    "RESPONSE_STATE_MAX_ITEM_COUNT": 2048,
    "RESPONSE_STATE_MAX_RECORD_BYTES": 8388608,
    "RESPONSE_STATE_MAX_HYDRATED_BYTES": 33554432,
    "RESPONSE_STATE_MAX_HYDRATED_TOKENS": 1000000,
    "RESPONSE_STATE_RESPONSE_TTL_DAYS": 30,
    "RESPONSE_STATE_MAX_RESPONSES_PER_USER": 20000,
    "RESPONSE_STATE_MAX_CONVERSATIONS_PER_USER": 2000,
    "RESPONSE_STATE_CONVERSATION_IDLE_TTL_DAYS": 0,
    "WEBAUTHN_RP_ID": "",
    "WEBAUTHN_RP_ORIGINS": (),
    "FORCE_EMAIL_TLS_VERIFY": False,
    "EMAIL_PROVIDER": "",
    "RESEND_API_KEY": "",
    "STRIPE_SECRET_KEY": "",
    "STRIPE_WEBHOOK_SECRET": "",
    "STRIPE_PUBLIC_BASE_URL": "",
    "MIN_TOPUP_USD": 5,
}
"""One API's settings of accounts and rarely used knobs."""

OURS: dict[str, Any] = {
    "BIND": "127.0.0.1",
    "WORKERS": 1,
    "TRUSTED_PROXIES": (),
    "MAX_BODY_MB": 32,
    "BODY_TIMEOUT": 60,
    "STRICT_HTTP_STATUS": False,
    "PUBLIC_COST_LOOKUP": True,
    "ONEAPI_SECRET_KEY": "",
    "INITIAL_ROOT_PASSWORD": "",
    "LOG_LEVEL": "info",
    "UNKNOWN_MODEL_POLICY": "reject",
    "EXTERNAL_OVERRUN": "allow",
    "ON_SHORT_BALANCE": "reject",
    "AMBIGUOUS_ATTEMPTS": "prompt_cost",
    "BILLS_AFTER_DISCONNECT": False,
    "DISCONNECT_DRAIN_SECONDS": 120,
    "DISCONNECT_DRAIN_AT_ONCE": 64,
    "BILL_FAILED_ATTEMPTS": False,
    "GROUP_RATIO_MODE": "user",
    "TOOLS_USE_GROUP_RATIO": False,
    "BILLING_ON_CRASH": "prompt_cost",
    "BILLING_SPOOL_PATH": "",
    "BILLING_SPOOL_MAX_MB": 64,
    "CONNECT_TIMEOUT": 5,
    "FIRST_BYTE_TIMEOUT": 60,
    "RETRY_TIMES": 0,
    "STRICT_CONVERSION": False,
    "STRICT_PASSTHROUGH": False,
    "EMULATE_STOP": True,
    "EMULATE_PREFILL": False,
    "EMULATE_CLIENT_TOOLS": False,
    "USER_CONTENT_REQUEST_ENABLED": True,
    "USER_CONTENT_REQUEST_ALLOW_HTTP": False,
    "USER_CONTENT_REQUEST_ALLOWLIST": (),
    "DROP_HOSTED_TOOLS": False,
    "FAN_OUT_N": False,
    "REASONING_FORMAT_DEFAULT": "auto",
    "REASONING_CARRIER": "details",
    "REASONING_ENVELOPE": "signed",
    "REASONING_LOST": "drop",
}

FIELDS = {env_name(field): field for field in Settings.model_fields}


def read(**environ: str) -> Settings:
    """Settings of a process with exactly these variables."""
    return Settings.from_environment(environ, None)


def refused(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return str(caught.value)


@pytest.mark.parametrize(("name", "default"), (CORE | OUTLYING | OURS).items())
def test_every_setting_has_its_default(name: str, default: Any) -> None:
    value = getattr(Settings(), FIELDS[name])
    assert value == default
    assert isinstance(value, bool) == isinstance(default, bool)


def test_there_are_no_settings_beyond_the_table() -> None:
    assert FIELDS.keys() == (CORE | OUTLYING | OURS).keys()


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_says_what_it_is(field: str) -> None:
    assert (Settings.model_fields[field].description or "").endswith((".", ";", "`"))


def test_no_name_means_two_things() -> None:
    groups = [set(FIELDS), set(ACCEPTED), set(ALIASES), set(IGNORED)]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert {alias.newer for alias in ALIASES.values()} <= FIELDS.keys()


READ: tuple[tuple[str, str, Any], ...] = (
    ("PORT", "8080", 8080),
    ("PORT", "", None),
    ("SHUTDOWN_TIMEOUT", "  ", 360),
    ("SHUTDOWN_TIMEOUT", " 30 ", 30),
    ("IDLE_TIMEOUT", "0.25", 0.25),
    ("SQL_DSN", " user:p@ss@tcp(db:3306)/oneapi?parseTime=true ", "user:p@ss@tcp(db:3306)/oneapi?parseTime=true"),
    ("DEBUG", "true", True),
    ("DEBUG", "TRUE", True),
    ("DEBUG", "1", True),
    ("DEBUG", "yes", True),
    ("DEBUG", "On", True),
    ("ENABLE_COOKIE_SECURE", "false", False),
    ("ENABLE_COOKIE_SECURE", "0", False),
    ("ENABLE_COOKIE_SECURE", "NO", False),
    ("ENABLE_COOKIE_SECURE", "off", False),
    ("RESPONSE_STATE_ENABLED", "false", False),
    ("RESPONSE_STATE_ENABLED", "1", True),
    ("RESPONSE_STATE_ENABLED", "", None),
    ("GLOBAL_CHANNEL_RATE_LIMIT", "1", True),
    ("GLOBAL_CHANNEL_RATE_LIMIT", "0", False),
    ("GLOBAL_API_RATE_LIMIT", "0", 0),
    ("GLOBAL_WEB_RATE_LIMIT", "0", 0),
    ("GLOBAL_RELAY_RATE_LIMIT", "0", 0),
    ("CRITICAL_RATE_LIMIT", "-1", -1),
    ("LOW_BALANCE_RATE_LIMIT_THRESHOLD", "1.5", 1.5),
    ("LOG_RETENTION_DAYS", "-3", 0),
    ("CHANNEL_TEST_FREQUENCY", "15", 15),
    ("NODE_TYPE", "SLAVE", "slave"),
    ("GIN_MODE", "Debug", "debug"),
    ("LOG_LEVEL", "WARN", "warning"),
    ("LOG_LEVEL", "ERROR", "error"),
    ("THEME", "default", "modern"),
    ("THEME", "Default", "modern"),
    ("GEMINI_SAFETY_SETTING", "block_only_high", "BLOCK_ONLY_HIGH"),
    ("OPENROUTER_PROVIDER_SORT", "throughput", "throughput"),
    ("FRONTEND_BASE_URL", "https://chat.example.com/", "https://chat.example.com"),
    ("RELAY_PROXY", "socks5://proxy:1080", "socks5://proxy:1080"),
    ("REDIS_CONN_STRING", "redis://:pw@redis:6379/1", "redis://:pw@redis:6379/1"),
    ("REDIS_CONN_STRING", "rediss://redis", "rediss://redis"),
    ("REDIS_CONN_STRING", "redis:6379", "redis://redis:6379"),
    ("REDIS_CONN_STRING", "[::1]:6379", "redis://[::1]:6379"),
    ("TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7,fd00::/8", ("10.0.0.0/8", "192.168.1.7/32", "fd00::/8")),
    (
        "USER_CONTENT_REQUEST_ALLOWLIST",
        "media.example.com, 10.0.0.0/8:8080,[fd00::/8]:443 ::1",
        ("media.example.com", "10.0.0.0/8:8080", "[fd00::/8]:443", "::1"),
    ),
    ("WEBAUTHN_RP_ORIGINS", "https://a.example, https://b.example", ("https://a.example", "https://b.example")),
    ("RESPONSE_STATE_ENCRYPTION_KEYS", "2:AAECAwQ=,1:BQYHCA==", "2:AAECAwQ=,1:BQYHCA=="),
    ("ONEAPI_SECRET_KEY", "0123456789abcdef", "0123456789abcdef"),
    ("BIND", "[::1]:8000", "[::1]:8000"),
    ("BIND", "unix:/run/gateway.sock", "unix:/run/gateway.sock"),
)


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_text_is_read(name: str, text: str, value: Any) -> None:
    assert getattr(read(**{name: text}), FIELDS[name]) == value


ABOVE_ZERO = "write a whole number above 0"
FROM_ZERO = "write a whole number, 0 or above"
SECONDS = "write a number of seconds above 0"
WEB = "write an address that begins with http://host or https://host"
REFUSED: tuple[tuple[str, str, str], ...] = (
    ("MAX_ITEMS_PER_PAGE", "0", f"is '0': {ABOVE_ZERO}"),
    ("MAX_ITEMS_PER_PAGE", "ten", f"is 'ten': {ABOVE_ZERO}"),
    ("MAX_ITEMS_PER_PAGE", "2.5", f"is '2.5': {ABOVE_ZERO}"),
    ("COOKIE_MAXAGE_HOURS", "-1", f"is '-1': {ABOVE_ZERO}"),
    ("SQLITE_BUSY_TIMEOUT", "0", f"is '0': {ABOVE_ZERO}"),
    ("SQL_MAX_IDLE_CONNS", "0", f"is '0': {ABOVE_ZERO}"),
    ("SQL_MAX_OPEN_CONNS", "0", f"is '0': {ABOVE_ZERO}"),
    ("EXTERNAL_BILLING_DEFAULT_TIMEOUT", "0", f"is '0': {ABOVE_ZERO}"),
    ("EXTERNAL_BILLING_MAX_TIMEOUT", "0", f"is '0': {ABOVE_ZERO}"),
    ("DEFAULT_MAX_TOKEN", "0", f"is '0': {ABOVE_ZERO}"),
    ("TEST_MAX_TOKENS", "0", f"is '0': {ABOVE_ZERO}"),
    ("MIN_TOPUP_USD", "0", f"is '0': {ABOVE_ZERO}"),
    ("SHUTDOWN_TIMEOUT", "0", f"is '0': {SECONDS}"),
    ("SQL_MAX_LIFETIME", "0", f"is '0': {SECONDS}"),
    ("BILLING_TIMEOUT", "0", f"is '0': {SECONDS}"),
    ("STREAMING_BILLING_INTERVAL", "0", f"is '0': {SECONDS}"),
    ("USER_CONTENT_REQUEST_TIMEOUT", "0", f"is '0': {SECONDS}"),
    ("IDLE_TIMEOUT", "nan", f"is 'nan': {SECONDS}"),
    ("IDLE_TIMEOUT", "inf", f"is 'inf': {SECONDS}"),
    ("IDLE_TIMEOUT", "30s", f"is '30s': {SECONDS}"),
    ("RELAY_TIMEOUT", "-1", "is '-1': write a number of seconds, 0 or above"),
    ("SYNC_FREQUENCY", "-1", "is '-1': write a number of seconds, 0 or above"),
    ("METRIC_QUEUE_SIZE", "-1", f"is '-1': {FROM_ZERO}"),
    ("METRIC_SUCCESS_CHAN_SIZE", "-1", f"is '-1': {FROM_ZERO}"),
    ("METRIC_FAIL_CHAN_SIZE", "-1", f"is '-1': {FROM_ZERO}"),
    ("PRECONSUME_TOKEN_FOR_BACKGROUND_REQUEST", "-1", f"is '-1': {FROM_ZERO}"),
    ("MAX_INLINE_IMAGE_SIZE_MB", "-1", f"is '-1': {FROM_ZERO}"),
    ("CHANNEL_TEST_FREQUENCY", "daily", f"is 'daily': {FROM_ZERO}"),
    ("TRACE_RETENTION_DAYS", "-1", "is '-1': write a whole number of days; 0 keeps everything"),
    ("METRIC_SUCCESS_RATE_THRESHOLD", "1.1", "is '1.1': write a number from 0 to 1"),
    ("GLOBAL_API_RATE_LIMIT", "many", "is 'many': write a whole number; 0 switches the limit off"),
    ("GLOBAL_CHANNEL_RATE_LIMIT", "480", "is '480': write true or false"),
    ("DEBUG", "maybe", "is 'maybe': write true or false"),
    ("RESPONSE_STATE_ENABLED", "auto", "is 'auto': write true or false"),
    ("PORT", "0", "is '0': write a port from 1 to 65535"),
    ("PORT", "65536", "is '65536': write a port from 1 to 65535"),
    ("PORT", "http", "is 'http': write a port from 1 to 65535"),
    ("GIN_MODE", "Prod", "is 'Prod': write one of debug, release, test"),
    ("THEME", "dark", "is 'dark': write one of berry, air, modern"),
    ("LOG_ROTATION_INTERVAL", "yearly", "is 'yearly': write one of hourly, daily, weekly"),
    ("AUTO_DETECT_API_FORMAT_ACTION", "x", "is 'x': write one of transparent, redirect"),
    ("GEMINI_VERSION", "v2", "is 'v2': write one of v1, v1beta"),
    ("OPENROUTER_PROVIDER_SORT", "x", "is 'x': write one of throughput, price, latency"),
    ("FRONTEND_BASE_URL", "chat.example.com", f"is 'chat.example.com': {WEB}"),
    ("FRONTEND_BASE_URL", "https://", f"is 'https://': {WEB}"),
    ("FRONTEND_BASE_URL", "https://host:port", f"is 'https://host:port': {WEB}"),
    ("LOG_PUSH_API", "hooks.example/T0KEN", f"cannot be used: {WEB}"),
    ("RELAY_PROXY", "ftp://u:hunter2@proxy", "cannot be used: write an address that begins with http://host or "
     "https://host or socks5://host"),
    ("REDIS_CONN_STRING", "http://u:hunter2@redis", "cannot be used: write redis://user:password@host:port/db, the "
     "same with rediss:// for TLS, or host:port"),
    ("REDIS_CONN_STRING", "redis", "cannot be used: write redis://user:password@host:port/db, the same with "
     "rediss:// for TLS, or host:port"),
    ("RESPONSE_STATE_ENCRYPTION_KEYS", "1:hunter2!", "cannot be used: write version:key entries, each key in base64, "
     "separated by commas"),
    ("RESPONSE_STATE_ENCRYPTION_KEYS", "AAECAwQ=", "cannot be used: write version:key entries, each key in base64, "
     "separated by commas"),
    ("ONEAPI_SECRET_KEY", "hunter2", "cannot be used: write at least 16 characters that nobody can guess, such as "
     "those of 'openssl rand -hex 32'; a comma separates them from older secrets"),
    ("ONEAPI_SECRET_KEY", "0123456789abcdef,hunter2", "cannot be used: write at least 16 characters that nobody can "
     "guess, such as those of 'openssl rand -hex 32'; a comma separates them from older secrets"),
    ("TRUSTED_PROXIES", "10.0.0.0/8,*", "is '10.0.0.0/8,*': write the networks of your own proxies, such as "
     "10.0.0.0/8, separated by commas; '*' is none"),
    ("USER_CONTENT_REQUEST_ALLOWLIST", "http://e.org", "is 'http://e.org': write hosts or networks, such as "
     "media.example.com, 10.0.0.0/8:8080 or [fd00::/8]:443, separated by commas; 'http://e.org' is no host, address "
     "or network"),
    ("USER_CONTENT_REQUEST_ALLOWLIST", "e.org:70000", "is 'e.org:70000': write hosts or networks, such as "
     "media.example.com, 10.0.0.0/8:8080 or [fd00::/8]:443, separated by commas; 'e.org:70000' names a port that does "
     "not exist"),
    ("TOKEN_KEY_PREFIX", "my key ", "is 'my key': write 1 to 16 letters, digits, '-' or '_'"),
    ("BIND", "127.0.0.1:99999", "is '127.0.0.1:99999': write an address or name, with or without a port, such as "
     "127.0.0.1, 0.0.0.0:3000 or [::1]:3000"),
    ("BIND", "[localhost]:3000", "is '[localhost]:3000': write an address or name, with or without a port, such as "
     "127.0.0.1, 0.0.0.0:3000 or [::1]:3000"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), REFUSED)
def test_what_cannot_be_used_is_refused_with_advice(name: str, text: str, message: str) -> None:
    said = refused(**{name: text})
    assert said == f"{name} {message}"
    assert "hunter2" not in said
    assert "T0KEN" not in said


def test_opentelemetry_needs_a_collector() -> None:
    message = "write the address of the collector, such as collector:4317, or set OTEL_ENABLED to false"
    assert refused(OTEL_ENABLED="true") == f"OTEL_EXPORTER_OTLP_ENDPOINT is empty: {message}"
    assert read(OTEL_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317").otel_enabled


def test_all_problems_are_told_at_once() -> None:
    error = refused(
        PORT="x", GLOBAL_RELAY_RATE_LIMIT="x", OTEL_ENABLED="on", DISABLE_COOKIE_SECURE="x", SHUTDOWN_TIMEOUT_SEC="x"
    )
    assert sorted(line.split()[0] for line in error.splitlines()) == [
        "DISABLE_COOKIE_SECURE",
        "GLOBAL_RELAY_RATE_LIMIT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "PORT",
        "SHUTDOWN_TIMEOUT_SEC",
    ]


def test_long_values_are_not_quoted_in_full() -> None:
    assert len(refused(GIN_MODE="x" * 5000)) < 200


def test_sentinels_are_listed() -> None:
    settings = read(REDIS_MASTER_NAME="main", REDIS_CONN_STRING="a:26379, b:26379")
    assert settings.redis_conn_string == "a:26379, b:26379"
    assert "REDIS_CONN_STRING cannot be used" in refused(REDIS_MASTER_NAME="main", REDIS_CONN_STRING="a:26379,b")
    assert "REDIS_CONN_STRING cannot be used" in refused(REDIS_CONN_STRING="a:26379,b:26379")


def test_the_limit_for_low_balances_follows_the_relay_limit() -> None:
    assert read(GLOBAL_RELAY_RATE_LIMIT="7").low_balance_relay_rate_limit == 7
    assert read(GLOBAL_RELAY_RATE_LIMIT="7", LOW_BALANCE_RELAY_RATE_LIMIT="3").low_balance_relay_rate_limit == 3


@pytest.mark.parametrize(
    ("environ", "field", "value"),
    [
        ({"DISABLE_COOKIE_SECURE": "true"}, "enable_cookie_secure", False),
        ({"DISABLE_COOKIE_SECURE": "1"}, "enable_cookie_secure", False),
        ({"DISABLE_COOKIE_SECURE": "false"}, "enable_cookie_secure", True),
        ({"DISABLE_COOKIE_SECURE": ""}, "enable_cookie_secure", True),
        ({"DISABLE_COOKIE_SECURE": "true", "ENABLE_COOKIE_SECURE": "true"}, "enable_cookie_secure", True),
        ({"SHUTDOWN_TIMEOUT_SEC": "20"}, "shutdown_timeout", 20),
        ({"SHUTDOWN_TIMEOUT_SEC": "20", "SHUTDOWN_TIMEOUT": "10"}, "shutdown_timeout", 10),
        ({"SHUTDOWN_TIMEOUT_SEC": "20", "SHUTDOWN_TIMEOUT": ""}, "shutdown_timeout", 20),
        ({"TRACE_RENTATION_DAYS": "3"}, "trace_retention_days", 3),
    ],
)
def test_older_names_work(environ: dict[str, str], field: str, value: Any) -> None:
    assert getattr(read(**environ), field) == value


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({"CHANNEL_UPDATE_FREQUENCY": "60"}, "CHANNEL_UPDATE_FREQUENCY has no effect"),
        ({"SHUTDOWN_TIMEOUT_SEC": "2", "SHUTDOWN_TIMEOUT": "1"}, "SHUTDOWN_TIMEOUT_SEC is not used because SHUTDOWN_"),
        ({"NODE_TYPE": "worker"}, "NODE_TYPE is 'worker', which means master"),
        ({"SESSION_SECRET": "random_string"}, "SESSION_SECRET is the placeholder"),
        ({"INITIAL_ROOT_TOKEN": "root"}, "INITIAL_ROOT_TOKEN can be guessed"),
        ({"INITIAL_ROOT_ACCESS_TOKEN": "root"}, "INITIAL_ROOT_ACCESS_TOKEN can be guessed"),
        ({"BIND": "0.0.0.0"}, "BIND lets other machines connect without TLS"),
        ({"REDIS_CONN_STRING": "redis:6379", "SYNC_FREQUENCY": "0"}, "REDIS_CONN_STRING is not used"),
        ({"BATCH_UPDATE_ENABLED": "true"}, "BATCH_UPDATE_ENABLED has no effect"),
    ],
)
def test_what_is_doubtful_is_warned_of(environ: dict[str, str], warning: str) -> None:
    (said,) = read(**environ).warnings
    assert said.startswith(warning)


def test_an_unknown_node_type_is_the_master() -> None:
    assert read(NODE_TYPE="worker").node_type == "master"


def test_what_is_in_order_is_not_warned_of() -> None:
    assert Settings().warnings == ()
    assert read(BIND="0.0.0.0", TRUSTED_PROXIES="10.0.0.0/8", INITIAL_ROOT_TOKEN="x" * 48).warnings == ()


def test_settings_made_in_code_have_warnings_too() -> None:
    assert "SESSION_SECRET" in Settings(session_secret="random_string").warnings[0]


def test_names_without_effect_and_names_of_others_are_accepted() -> None:
    environ = dict.fromkeys(ACCEPTED, "anything at all") | {"PATH": "/bin", "port": "x", "RETRYTIMES": "x"}
    settings = read(**environ)
    assert settings == Settings()
    assert settings.warnings == ()


class Exploding(dict[str, str]):
    """An environment that nobody may look into."""

    def _explode(self, *_: object) -> Any:
        raise AssertionError("somebody looked into the environment")

    __getitem__ = __iter__ = __contains__ = get = items = keys = values = copy = _explode


def test_settings_made_in_code_read_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=4000\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", Exploding())
    assert Settings(max_items_per_page=7).port is None
    with pytest.raises(AssertionError, match="looked into"):
        Settings.from_environment()


def test_the_environment_is_read_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "4001")
    assert Settings.from_environment().port == 4001
    monkeypatch.setenv("PORT", "4002")
    assert Settings.from_environment().port == 4002


def test_importing_reads_nothing_and_loads_no_database(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GIN_MODE=banana\n")
    code = """
        import sys
        from oneapi_mw.settings import Settings, SettingsError
        heavy = {"sqlmodel", "sqlalchemy", "redis", "httpx", "aiohttp"} & {name.split(".")[0] for name in sys.modules}
        assert not heavy, heavy
        assert Settings() == Settings(max_items_per_page=100)
        try:
            Settings.from_environment()
        except SettingsError as exc:
            print(exc)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "MAX_ITEMS_PER_PAGE": "banana"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["GIN_MODE", "MAX_ITEMS_PER_PAGE"]


def file(folder: Path, text: str) -> Path:
    path = folder / "settings.env"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_the_file_is_read_below_the_environment(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        """\
        \ufeff# the gateway's settings
        PORT=4000
        export SQLITE_PATH="data/my db.sqlite"   # relative
        SESSION_SECRET='has $dollars and ${braces}'
        DISABLE_COOKIE_SECURE=true

        GIN_MODE=
        MAX_ITEMS_PER_PAGE
        SHUTDOWN_TIMEOUT=5
        WORKERS=2
        """,
    )
    settings = Settings.from_environment({"PORT": "5000", "SHUTDOWN_TIMEOUT": ""}, path)
    assert settings.port == 5000
    assert settings.sqlite_path == "data/my db.sqlite"
    assert settings.session_secret == "has $dollars and ${braces}"
    assert not settings.enable_cookie_secure
    assert settings.gin_mode == "release"
    assert settings.max_items_per_page == 100
    assert settings.shutdown_timeout == 360, "an empty variable of the process hides that of the file"
    assert settings.workers == 2


def test_by_default_the_file_is_that_of_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_environment({}).port is None
    (tmp_path / ".env").write_text("PORT=4000\n")
    assert Settings.from_environment({}).port == 4000
    assert Settings.from_environment({}, None).port is None


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    broken = file(tmp_path, "PORT=4000\nSESSION_SECRET='never closed\nGIN_MODE=x\n")
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({}, broken)
    assert str(caught.value).splitlines() == [
        f"{broken} has a line 2 that cannot be read: write NAME=value",
        "GIN_MODE is 'x': write one of debug, release, test",
    ]
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory\)"):
        Settings.from_environment({}, tmp_path)
    broken.write_bytes(b"PORT=\xff\n")
    with pytest.raises(SettingsError, match=r"cannot be read \(it is not UTF-8\)"):
        Settings.from_environment({}, broken)


def test_likely_typos_in_the_file_are_warned_of(tmp_path: Path) -> None:
    path = file(tmp_path, "RELAY_TIMOUT=3\nPOSTGRES_PASSWORD=x\nTZ=UTC\nAPI_TOKEN=x\nTRACE_RENTATION_DAYS=1\n")
    (warning,) = Settings.from_environment({}, path).warnings
    assert warning == "RELAY_TIMOUT in the .env file is not a setting: did you mean RELAY_TIMEOUT?"
    assert Settings.from_environment({"RELAY_TIMOUT": "3"}, None).warnings == ()


def test_code_gets_the_same_errors() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(max_items_per_page=0, relay_timout=3, nonsense=1, secret_key="hunter2")  # type: ignore[call-arg]
    lines = str(caught.value).splitlines()
    assert lines[0] == f"MAX_ITEMS_PER_PAGE is 0: {ABOVE_ZERO}"
    assert lines[1].startswith("ONEAPI_SECRET_KEY cannot be used: write at least 16")
    assert lines[2:] == ["relay_timout is not a setting: did you mean relay_timeout?", "nonsense is not a setting"]
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "the refused values would stand in the traceback"


def test_a_prefix_must_not_be_empty() -> None:
    with pytest.raises(SettingsError, match="TOKEN_KEY_PREFIX is empty: write 1 to 16"):
        Settings(token_key_prefix="")


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 4
    assert hash(settings) == hash(Settings())


def test_what_the_rest_of_the_gateway_asks_for() -> None:
    assert Settings().secret() is None
    assert Settings(secret_key="benchmark" * 4).secret() == "benchmark" * 4
    assert Settings().price_policy() == "reject"
    assert read(UNKNOWN_MODEL_POLICY="reference").price_policy() == "reference"
    assert read(UNKNOWN_MODEL_POLICY="default_price").price_policy() == "default_price"


def test_whose_group_ratio_is_charged() -> None:
    assert read(GROUP_RATIO_MODE="channel_min").group_ratio_mode == "channel_min"
    assert refused(GROUP_RATIO_MODE="smallest") == "GROUP_RATIO_MODE is 'smallest': write one of user, channel_min"


@pytest.mark.parametrize(
    ("environ", "flag", "listening", "loopback"),
    [
        ({}, None, "127.0.0.1:3000", True),
        ({}, 4000, "127.0.0.1:4000", True),
        ({}, 0, "127.0.0.1:0", True),
        ({"PORT": "5000"}, 4000, "127.0.0.1:5000", True),
        ({"BIND": "0.0.0.0:6000"}, 4000, "0.0.0.0:6000", False),
        ({"BIND": "0.0.0.0:6000", "PORT": "5000"}, None, "0.0.0.0:5000", False),
        ({"BIND": "localhost"}, None, "localhost:3000", True),
        ({"BIND": "gateway.internal"}, None, "gateway.internal:3000", False),
        ({"BIND": "::1"}, None, "[::1]:3000", True),
        ({"BIND": "::"}, None, "[::]:3000", False),
        ({"BIND": "[::1]:6000"}, None, "[::1]:6000", True),
        ({"BIND": "127.1.2.3"}, None, "127.1.2.3:3000", True),
        ({"BIND": "unix:/run/g.sock", "PORT": "5000"}, None, "unix:/run/g.sock", True),
    ],
)
def test_where_the_server_listens(environ: dict[str, str], flag: int | None, listening: str, loopback: bool) -> None:
    settings = read(**environ)
    assert settings.listening(port=flag) == listening
    assert settings.listens_on_loopback() == loopback


SECRETS = {
    "SESSION_SECRET": "hunter2",
    "ONEAPI_SECRET_KEY": "hunter2hunter2hunter2",
    "INITIAL_ROOT_PASSWORD": "hunter2",
    "INITIAL_ROOT_TOKEN": "hunter2",
    "INITIAL_ROOT_ACCESS_TOKEN": "hunter2",
    "REDIS_PASSWORD": "hunter2",
    "METRICS_TOKEN": "hunter2",
    "LOG_PUSH_API": "https://hooks.example/hunter2",
    "LOG_PUSH_TOKEN": "hunter2",
    "RESPONSE_STATE_ENCRYPTION_KEYS": "1:hunter20",
    "RESEND_API_KEY": "hunter2",
    "STRIPE_SECRET_KEY": "hunter2",
    "STRIPE_WEBHOOK_SECRET": "hunter2",
}


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        *((name, text, "********") for name, text in SECRETS.items()),
        ("SQL_DSN", "postgres://u:hunter2@db:5432/oneapi", "postgres://********@db:5432/oneapi"),
        ("SQL_DSN", "postgres://db/x?user=u&password=hunter2", "postgres://db/x?********"),
        ("SQL_DSN", "u:hun@t/er2hunter2@tcp(db:3306)/x?loc=Local", "********@tcp(db:3306)/x?********"),
        ("SQL_DSN", "host=db password=hunter2", "********"),
        ("SQL_DSN", "sqlite:///data/x.db", "sqlite:///data/x.db"),
        ("LOG_SQL_DSN", "mysql://u:hunter2@db/logs", "mysql://********@db/logs"),
        ("REDIS_CONN_STRING", "redis://:hunter2@redis:6379/1", "redis://********@redis:6379/1"),
        ("RELAY_PROXY", "http://u:hunter2@proxy:8080", "http://********@proxy:8080"),
        ("USER_CONTENT_REQUEST_PROXY", "socks5://u:hunter2@proxy:1080", "socks5://********@proxy:1080"),
    ],
)
def test_secrets_are_not_shown(name: str, text: str, shown: str) -> None:
    settings = read(**{name: text})
    assert (name, shown, False) in describe(settings)
    for seen in (repr(settings), str(settings), str(describe(settings)), str(settings.warnings)):
        assert "hunter2" not in seen


def test_description_of_the_configuration() -> None:
    rows = {
        name: (value, default)
        for name, value, default in describe(
            read(PORT="4000", DEBUG="true", TRUSTED_PROXIES="10.0.0.0/8,::1", IDLE_TIMEOUT="30", SYNC_FREQUENCY="0.5")
        )
    }
    assert list(rows) == list(FIELDS)
    assert rows["PORT"] == ("4000", False)
    assert rows["DEBUG"] == ("true", False)
    assert rows["TRUSTED_PROXIES"] == ("10.0.0.0/8, ::1/128", False)
    assert rows["IDLE_TIMEOUT"] == ("30", True)
    assert rows["SYNC_FREQUENCY"] == ("0.5", False)
    assert rows["RESPONSE_STATE_ENABLED"] == ("", True)
    assert rows["ONEAPI_SECRET_KEY"] == ("", True)
    assert sum(not default for _, default in rows.values()) == 4


def test_a_default_taken_from_another_setting_is_one() -> None:
    def row(**environ: str) -> tuple[str, str, bool]:
        return next(row for row in describe(read(**environ)) if row[0] == "LOW_BALANCE_RELAY_RATE_LIMIT")

    assert row(GLOBAL_RELAY_RATE_LIMIT="9")[1:] == ("9", True)
    assert row(GLOBAL_RELAY_RATE_LIMIT="9", LOW_BALANCE_RELAY_RATE_LIMIT="480")[1:] == ("480", False)
