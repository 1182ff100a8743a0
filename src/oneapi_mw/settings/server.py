"""Settings of the server itself: where it listens, who may come in, what it writes down."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from oneapi_mw.settings.kinds import (
    Bind,
    Days,
    Networks,
    NonNegative,
    Origin,
    Port,
    Positive,
    Ratio,
    Rule,
    Seconds,
    Secret,
    SecretKey,
    TokenPrefix,
    Webhook,
    synonyms,
)
from oneapi_mw.settings.section import Section


class ServerSettings(Section):
    """Listening, bodies, replies, and what becomes of all that at shutdown."""

    bind: Bind = "127.0.0.1"
    """Where `oneapi-mw serve` listens: `host`, `host:port` or `unix:/path`. The default lets nobody in from outside."""
    port: Port = None
    """Port of `oneapi-mw serve`; when empty, the one in BIND, else that of `--port`, else 3000."""
    workers: Positive = 1
    """Processes of `oneapi-mw serve`."""
    trusted_proxies: Networks = ()
    """Networks whose `X-Forwarded-For` is believed, in CIDR notation, separated by commas."""
    gin_mode: Literal["debug", "release", "test"] = "release"
    """`debug` lists the routes at start; the rest differ in nothing."""
    node_type: Literal["master", "slave"] = "master"
    """A `slave` changes no schema and may send browsers to FRONTEND_BASE_URL."""
    shutdown_timeout: Seconds = 360
    """Seconds that running requests and their billing have to finish at shutdown."""
    frontend_base_url: Origin = ""
    """Origin to which a slave redirects unknown paths; ignored on the master."""
    max_items_per_page: Positive = 100
    """Rows: the largest page of a list."""
    token_transactions_max_history: Positive = 1000
    """Rows: transactions kept visible for one API key."""
    theme: Annotated[Literal["berry", "air", "modern"], synonyms(default="modern")] = "modern"
    """Theme of the web console; `default` is `modern`."""
    max_body_mb: Positive = 32
    """MiB: the largest request body, after decompression."""
    body_timeout: Seconds = 60
    """Seconds for a whole request body to arrive."""
    strict_http_status: bool = False
    """The management API answers failures with 4xx instead of One API's 200 and `success: false`."""
    public_cost_lookup: bool = True
    """Who knows a request's id may see its cost without a key; otherwise only its owner and administrators."""


class IdentitySettings(Section):
    """Sessions, keys and the first account."""

    session_secret: Secret = ""
    """Signs session cookies. Empty is random, so that every restart logs everybody out; nodes must share it."""
    secret_key: SecretKey = ""
    """Seals keys in the database; older ones follow after commas. Empty is a key file beside the SQLite file."""
    cookie_maxage_hours: Positive = 168
    """Hours that a session cookie lives."""
    enable_cookie_secure: bool = True
    """Browsers send the session cookie over TLS only. Without TLS logins need `false`."""
    token_key_prefix: TokenPrefix = "sk-"  # noqa: S105 -- what stands before every key
    """Shown before API keys and taken off incoming ones."""
    initial_root_password: Secret = ""
    """Password of `root` in an empty database. Empty is `123456` where only this machine can connect."""
    initial_root_token: Secret = ""
    """API key, without its prefix, that root gets in an empty database. Empty creates none."""
    initial_root_access_token: Secret = ""
    """Management token that root gets in an empty database. Empty is random."""


class LogSettings(Section):
    """Logs, how long things are kept, and alerts."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], synonyms(warn="warning", critical="error", fatal="error")
    ] = "info"
    """Least serious line that `oneapi-mw serve` writes; DEBUG makes it `debug`."""
    debug: bool = False
    """Lines of level debug, bodies of requests and answers without their secrets included. Changes no behaviour."""
    debug_sql: bool = False
    """Lines with every SQL statement."""
    only_one_log_file: bool = False
    """One log file that is never rotated."""
    log_rotation_interval: Literal["hourly", "daily", "weekly"] = "daily"
    """How often a new log file begins."""
    log_retention_days: Annotated[
        int, AfterValidator(lambda days: max(days, 0)), Rule("a whole number of days; 0 keeps everything")
    ] = 0
    """Days that old log files are kept; 0 or less keeps them."""
    trace_retention_days: Days = 30
    """Days that request traces are kept; 0 keeps them."""
    async_task_retention_days: Days = 7
    """Days after the last access that a video task is remembered; 0 remembers it."""
    log_push_api: Webhook = ""
    """Webhook that receives alerts of level error. Empty sends none."""
    log_push_type: str = ""
    """Label that is sent with an alert."""
    log_push_token: Secret = ""
    """Credential that is sent with an alert."""


class ObservationSettings(Section):
    """Metrics, the watch over channels, OpenTelemetry."""

    enable_prometheus_metrics: bool = True
    """Serve `/metrics`."""
    metrics_token: Secret = ""
    """Bearer token of `/metrics`. Empty lets nobody in."""
    enable_metric: bool = False
    """Watch the success rate of every channel, and disable those that fall below the threshold."""
    metric_queue_size: NonNegative = 10
    """Results of one channel that its success rate is taken from."""
    metric_success_rate_threshold: Ratio = 0.8
    """Success rate, 0 to 1, below which a channel is disabled."""
    metric_success_chan_size: NonNegative = 1024
    """Without effect: One API's length of an internal queue."""
    metric_fail_chan_size: NonNegative = 128
    """Without effect: One API's length of an internal queue."""
    otel_enabled: bool = False
    """Send traces and metrics over OTLP."""
    otel_exporter_otlp_endpoint: str = ""
    """Address of the collector, with or without a scheme. Needed when OTEL_ENABLED is true."""
    otel_exporter_otlp_insecure: bool = True
    """Talk to the collector without TLS."""
    otel_service_name: str = "one-api"
    """Name of this service in traces."""
    otel_environment: str = "debug"
    """Name of the deployment in traces."""
    otel_metric_export_interval: Positive = 60_000
    """Milliseconds between two exports of metrics."""

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _needed_when_enabled(cls, endpoint: str, info: ValidationInfo) -> str:
        if not endpoint and info.data.get("otel_enabled"):
            raise ValueError("the address of the collector, such as collector:4317, or set OTEL_ENABLED to false")
        return endpoint
