"""Every spelling of an address."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.store.dsn import DatabaseUrl, parse_dsn


def parse(dsn: str) -> DatabaseUrl:
    return parse_dsn(dsn, sqlite_path="default.db")


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("", "default.db"),
        ("  ", "default.db"),
        ("sqlite://", "default.db"),
        ("sqlite:///one-api.db", "one-api.db"),
        ("sqlite3:///data/one-api.db", "data/one-api.db"),
        ("sqlite:////var/lib/one-api.db", "/var/lib/one-api.db"),
        ("SQLite+aiosqlite:///x.db", "x.db"),
        ("sqlite:///x.db?_busy_timeout=3000", "x.db"),
    ],
)
def test_sqlite(dsn: str, path: str) -> None:
    url = parse(dsn)
    assert (url.dialect, url.path) == ("sqlite", path)
    assert url.sqlalchemy.drivername == "sqlite+aiosqlite"
    assert url.sqlalchemy.database == path
    assert url.connect_args() == {}


def test_the_path_of_the_setting_may_have_options_too() -> None:
    url = parse_dsn("", sqlite_path="a.db?_busy_timeout=7")
    assert (url.path, url.options) == ("a.db", {"_busy_timeout": "7"})


SERVERS = [
    ("postgres://u:p@h:5433/d", "postgresql", ("h", 5433, "u", "p", "d")),
    ("postgresql://u:p@h/d?sslmode=disable", "postgresql", ("h", 5432, "u", "p", "d")),
    ("postgresql+asyncpg://h/d", "postgresql", ("h", 5432, None, None, "d")),
    ("postgres://u:p%40%2F%3A@h/d", "postgresql", ("h", 5432, "u", "p@/:", "d")),
    ("postgres://u@[::1]:5433/d", "postgresql", ("::1", 5433, "u", None, "d")),
    ("postgres:///d?host=/run/postgresql", "postgresql", ("/run/postgresql", 5432, None, None, "d")),
    ("postgres:///d", "postgresql", ("127.0.0.1", 5432, None, None, "d")),
    ("host=h port=5433 user=u password=p dbname=d", "postgresql", ("h", 5433, "u", "p", "d")),
    (r"dbname = d  password='it\'s a \\ p'", "postgresql", ("127.0.0.1", 5432, None, "it's a \\ p", "d")),
    ("u:p@tcp(h:3307)/d", "mysql", ("h", 3307, "u", "p", "d")),
    ("u:p@tcp(h)/d?charset=utf8mb4&parseTime=True", "mysql", ("h", 3306, "u", "p", "d")),
    ("u:p@:/x@tcp([::1]:3307)/d", "mysql", ("::1", 3307, "u", "p@:/x", "d")),
    ("u@tcp([::1])/d", "mysql", ("::1", 3306, "u", None, "d")),
    ("tcp(h:3307)/d", "mysql", ("h", 3307, None, None, "d")),
    ("u:p@/d", "mysql", ("127.0.0.1", 3306, "u", "p", "d")),
    ("mysql://u:p@h/d", "mysql", ("h", 3306, "u", "p", "d")),
    ("mariadb://u:p%40@h:3307/d", "mysql", ("h", 3307, "u", "p@", "d")),
]


@pytest.mark.parametrize(("dsn", "dialect", "parts"), SERVERS, ids=[dsn for dsn, *_ in SERVERS])
def test_servers(dsn: str, dialect: str, parts: tuple[Any, ...]) -> None:
    url = parse(dsn)
    assert url.dialect == dialect
    assert (url.host, url.port, url.user, url.password, url.database) == parts
    made = url.sqlalchemy
    assert (made.host, made.port, made.username, made.password, made.database) == parts
    assert made.drivername == {"postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}[dialect]


@pytest.mark.parametrize("dsn", ["u:p@unix(/run/my.sock)/d", "mysql://u:p@localhost/d?unix_socket=/run/my.sock"])
def test_a_unix_socket_of_mysql(dsn: str) -> None:
    url = parse(dsn)
    assert url.unix_socket == "/run/my.sock"
    assert url.connect_args() == {"unix_socket": "/run/my.sock"}


WRONG = [
    ("postgres://u:hunter2@h", "names no database"),
    ("u:hunter2@tcp(h)/", "names no database"),
    ("host=h password=hunter2", "names no database"),
    ("postgres://u:hunter2@h:port/d", "host and port are not readable"),
    ("postgres://u:hunter2@h:99999/d", "host and port are not readable"),
    ("postgres://u:hunter2@x@h/d", "percent-encoded"),
    ("postgres://u:hunter2@h/d#x", "percent-encoded"),
    ("postgres://u:hunter2@a,b/d", "several hosts"),
    ("mysql://u:hunter2@h/d/e", "must not hold '/'"),
    ("u:hunter2@tcp(h:x)/d", "port must be a number"),
    ("u:hunter2@tcp(h:0)/d", "port must be a number"),
    ("u:hunter2@tcp(a:b:c:d)/d", "port must be a number"),
    ("u:hunter2@tcp([::1]x)/d", "not readable"),
    ("u:hunter2@unix()/d", "names no socket"),
    ("host=h dbname=d password='hunter2", "single quotes"),
    ("host=h dbname=d port=hunter2", "port must be a number"),
    ("postgres://u:hunter2@h/d?sslmode=maybe", "sslmode must be one of"),
    ("u:hunter2@tcp(h)/d?tls=custom", "tls must be one of"),
    ("oracle://u:hunter2@h/d", "kind 'oracle' are not supported"),
    ("hunter2", "is not understood"),
    ("sqlite:///:memory:", "must name a file"),
    ("sqlite:///file:x?mode=memory", "must name a file"),
]


@pytest.mark.parametrize(("dsn", "reason"), WRONG, ids=[dsn for dsn, _ in WRONG])
def test_what_is_wrong_is_said_without_the_password(dsn: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(dsn)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_empty_path_names_its_setting() -> None:
    with pytest.raises(ValueError, match="SQLITE_PATH names no file"):
        parse_dsn("", sqlite_path="")


@pytest.mark.parametrize("dsn", ["postgres://u:hunter2@h/d", "u:hunter2@tcp(h)/d", "postgres://h/d?password=hunter2"])
def test_an_address_does_not_show_its_password(dsn: str) -> None:
    url = parse(dsn)
    assert "hunter2" not in f"{url} {url!r}"


@given(text=st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    message = "SQL_DSN"
    try:
        parse(text)
    except ValueError as exc:
        message = str(exc)
    assert "SQL_DSN" in message


def test_tls_of_postgresql(tmp_path: Path) -> None:
    assert parse("postgres://h/d").connect_args() == {}
    assert parse("postgres://h/d?sslmode=require&application_name=x").connect_args() == {
        "ssl": "require",
        "server_settings": {"application_name": "x"},
    }
    root = _certificates(tmp_path)
    for mode, hostname in (("require", False), ("verify-ca", False), ("verify-full", True)):
        context = parse(f"postgres://h/d?sslmode={mode}&sslrootcert={root}").connect_args()["ssl"]
        assert (context.check_hostname, context.verify_mode) == (hostname, ssl.CERT_REQUIRED)
    with pytest.raises(ValueError, match="sslrootcert, sslcert or sslkey cannot be read"):
        parse(f"postgres://h/d?sslmode=verify-full&sslrootcert={tmp_path}/none").connect_args()


def test_tls_of_mysql() -> None:
    for mode in ("", "?tls=false", "?tls=preferred"):
        assert parse(f"u@tcp(h)/d{mode}").connect_args() == {}
    strict = parse("u@tcp(h)/d?tls=true").connect_args()["ssl"]
    assert (strict.check_hostname, strict.verify_mode) == (True, ssl.CERT_REQUIRED)
    lax = parse("u@tcp(h)/d?tls=skip-verify").connect_args()["ssl"]
    assert (lax.check_hostname, lax.verify_mode) == (False, ssl.CERT_NONE)


def _certificates(folder: Path) -> Path:
    """Root certificates that can be read."""
    context = ssl.create_default_context()
    path = folder / "roots.pem"
    path.write_text("".join(ssl.DER_cert_to_PEM_cert(root) for root in context.get_ca_certs(binary_form=True)))
    return path
