"""Where the database is: every spelling of `SQL_DSN` to one address.

    (empty)                                             the SQLite file of SQLITE_PATH
    sqlite:///one-api.db                                SQLite; four slashes for an absolute path
    postgres://user:pass@host:5432/db?sslmode=require   PostgreSQL, also as postgresql://
    host=h port=5432 user=u password=p dbname=d         PostgreSQL
    user:pass@tcp(host:3306)/db?tls=true                MySQL or MariaDB, also @unix(/path) and @/db
    mysql://user:pass@host:3306/db                      MySQL or MariaDB, also as mariadb://

A DSN holds a password, so no message here quotes one.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sqlalchemy import URL

from oneapi_mw.immutable import immutable

Dialect: TypeAlias = Literal["sqlite", "postgresql", "mysql"]

_DRIVERS: Mapping[Dialect, str] = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
}
_PORTS: Mapping[Dialect, int] = {"postgresql": 5432, "mysql": 3306}
_SCHEMES: Mapping[str, Dialect] = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "postgresql+asyncpg": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "mysql+asyncmy": "mysql",
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_MODES = ("false", "true", "skip-verify", "preferred")

# credentials may hold any character, '@', ':' and '/' included: the last '@' before the address separates
_GO_FORM = re.compile(
    r"(?:(?P<who>.*)@)?(?P<net>tcp|unix)\((?P<where>[^)]*)\)/(?P<db>[^/?]*)(?:\?(?P<query>.*))?", re.S
)
_GO_LOCAL_FORM = re.compile(r"(?P<who>.*)@(?P<net>)(?P<where>)/(?P<db>[^/?]*)(?:\?(?P<query>.*))?", re.S)
_KEYWORD = re.compile(r"\s*(?P<key>\w+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>(?:[^\s'\\]|\\.)*))(?=\s|$)")


@immutable
class DatabaseUrl:
    """One database. Neither `repr` nor `str` shows the password."""

    dialect: Dialect
    path: str | None = None
    """The file, for SQLite."""
    host: str | None = None
    """A name or an address; for PostgreSQL also the folder of a Unix socket."""
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    unix_socket: str | None = None
    """The socket file, for MySQL."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The parameters after the question mark; those we do not know mean nothing."""

    @property
    def sqlalchemy(self) -> URL:
        """The address as SQLAlchemy writes it, with the asyncio driver. `connect_args` has the rest."""
        driver = _DRIVERS[self.dialect]
        if self.dialect == "sqlite":
            return URL.create(driver, database=self.path)
        return URL.create(driver, self.user, self.password, self.host, self.port, self.database)

    def connect_args(self) -> dict[str, Any]:
        """What the options ask of the driver: TLS, Unix socket, application name.

        For `asyncpg.connect` and `asyncmy.connect` alike, beside address and credentials. Reads the certificate
        files that are named. Raises `ValueError` for one that cannot be read.
        """
        if self.dialect == "postgresql":
            return _postgres_args(self.options)
        if self.dialect == "mysql":
            return _mysql_args(self.options, self.unix_socket)
        return {}

    def __str__(self) -> str:
        return self.sqlalchemy.set(drivername=self.dialect).render_as_string(hide_password=True)


def parse_dsn(dsn: str, *, sqlite_path: str) -> DatabaseUrl:
    """The database `dsn` names; the SQLite file `sqlite_path` when it is empty.

    Raises: `ValueError` saying what to write.
    """
    dsn = dsn.strip()
    if not dsn:
        return _sqlite(sqlite_path, setting="SQLITE_PATH")
    scheme, separator, rest = dsn.partition("://")
    scheme = scheme.lower()
    if separator and scheme in ("sqlite", "sqlite3", "sqlite+aiosqlite"):
        # sqlite:///file: what follows the empty host and its slash
        return _sqlite(rest.removeprefix("/") or sqlite_path, setting="SQL_DSN")
    if separator and scheme in _SCHEMES:
        return _server_url(_SCHEMES[scheme], dsn)
    go = _GO_FORM.fullmatch(dsn) or _GO_LOCAL_FORM.fullmatch(dsn)
    if go is not None:
        return _mysql_go(go)
    if re.search(r"(?:^|\s)(?:host|dbname)\s*=", dsn):
        return _postgres_keywords(dsn)
    if separator and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ValueError(
            f"SQL_DSN: databases of kind {scheme!r} are not supported: use postgres://, mysql:// or sqlite://"
        )
    raise ValueError(
        "SQL_DSN is not understood: write postgres://user:pass@host:5432/db, user:pass@tcp(host:3306)/db or "
        "sqlite:///one-api.db; for a SQLite file SQLITE_PATH alone will do"
    )


def _sqlite(path: str, *, setting: str) -> DatabaseUrl:
    path, _, query = path.partition("?")
    if not path:
        raise ValueError(f"{setting} names no file: write one, such as one-api.db")
    if path == ":memory:" or path.startswith("file:"):
        raise ValueError(f"{setting} must name a file: a database in memory cannot be shared by all connections")
    return DatabaseUrl("sqlite", path=path, options=_options(query))


def _server_url(dialect: Dialect, dsn: str) -> DatabaseUrl:
    try:
        parts: SplitResult = urlsplit(dsn)
        port = parts.port
    except ValueError:
        raise ValueError(
            "SQL_DSN: host and port are not readable: write scheme://user:pass@host:port/db, with '@', ':', '/', '?' "
            "and '#' in user or password percent-encoded"
        ) from None
    if parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError("SQL_DSN: user or password must be percent-encoded: '@' is %40, '/' is %2F, '#' is %23")
    options = _options(parts.query)
    host = unquote(parts.hostname or "") or options.get("host", "")
    if "," in host:
        raise ValueError("SQL_DSN names several hosts: name one, or a proxy in front of them")
    return _server(
        dialect,
        host=host,
        port=port or 0,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.removeprefix("/")),
        options=options,
        unix_socket=options.get("unix_socket") if dialect == "mysql" else None,
    )


def _postgres_keywords(dsn: str) -> DatabaseUrl:
    """libpq's form: words may be quoted with ' and escaped with a backslash."""
    found: dict[str, str] = {}
    position = 0
    while dsn[position:].strip():
        match = _KEYWORD.match(dsn, position)
        if match is None:
            raise ValueError(
                "SQL_DSN is not readable as key=value words: put values with spaces, quotes or backslashes in "
                "single quotes, and a backslash before ' and \\ in them"
            )
        value = match["quoted"] if match["quoted"] is not None else match["plain"]
        found[match["key"].lower()] = re.sub(r"\\(.)", r"\1", value, flags=re.S)
        position = match.end()
    return _server(
        "postgresql",
        host=found.pop("host", ""),
        port=_port(found.pop("port", "")),
        user=found.pop("user", ""),
        password=found.pop("password", ""),
        database=found.pop("dbname", ""),
        options=found,
    )


def _mysql_go(match: re.Match[str]) -> DatabaseUrl:
    """The form of the Go driver."""
    user, _, password = (match["who"] or "").partition(":")
    where, socket, port = match["where"], None, ""
    if match["net"] == "unix":
        socket, where = where, ""
        if not socket:
            raise ValueError("SQL_DSN: unix() names no socket: write user:pass@unix(/path/of.sock)/db")
    else:
        address = re.fullmatch(r"\[(?P<six>[^\]]*)\](?::(?P<port6>.*))?|(?P<four>[^:\[\]]*)(?::(?P<port4>.*))?", where)
        if address is None:
            raise ValueError("SQL_DSN: the address in tcp() is not readable: write tcp(host:3306) or tcp([::1]:3306)")
        where = address["six"] or address["four"] or ""
        port = address["port6"] or address["port4"] or ""
    return _server(
        "mysql",
        host=where,
        port=_port(port),
        user=user,
        password=password,
        database=unquote(match["db"]),
        options=_options(match["query"] or ""),
        unix_socket=socket,
    )


def _server(
    dialect: Dialect,
    *,
    host: str,
    port: int,
    user: str,
    password: str,
    database: str,
    options: Mapping[str, str],
    unix_socket: str | None = None,
) -> DatabaseUrl:
    if not database:
        raise ValueError(
            "SQL_DSN names no database: write it after the host, as in postgres://user:pass@host:5432/oneapi"
        )
    if "/" in database and dialect == "mysql":
        raise ValueError("SQL_DSN: the name of the database must not hold '/': percent-encode '/' in the password")
    url = DatabaseUrl(
        dialect,
        host=host or "127.0.0.1",
        port=port or _PORTS[dialect],
        user=user or None,
        password=password or None,
        database=database,
        unix_socket=unix_socket,
        options=dict(options),
    )
    _check_modes(url)
    return url


def _check_modes(url: DatabaseUrl) -> None:
    """Refuse a TLS mode we cannot give: anything else would quietly connect in the clear."""
    name, modes = ("sslmode", _SSL_MODES) if url.dialect == "postgresql" else ("tls", _TLS_MODES)
    if url.options.get(name, modes[0]) not in modes:
        raise ValueError(f"SQL_DSN: {name} must be one of {', '.join(modes)}")


def _port(text: str) -> int:
    """0 for none."""
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError("SQL_DSN: the port must be a number between 1 and 65535")
    return int(text)


def _options(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _postgres_args(options: Mapping[str, str]) -> dict[str, Any]:
    args: dict[str, Any] = {}
    mode = options.get("sslmode")
    if mode is not None:
        own_files = options.keys() & {"sslrootcert", "sslcert"}
        secure = mode in ("require", "verify-ca", "verify-full")
        # libpq: with a root certificate at hand, `require` verifies as `verify-ca` does
        args["ssl"] = _ssl_context(options, mode) if own_files and secure else mode
    if "application_name" in options:
        args["server_settings"] = {"application_name": options["application_name"]}
    return args


def _ssl_context(options: Mapping[str, str], mode: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("sslrootcert"))
        if "sslcert" in options:
            context.load_cert_chain(options["sslcert"], options.get("sslkey"))
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"SQL_DSN: a file of sslrootcert, sslcert or sslkey cannot be read: {exc}") from exc
    context.check_hostname = mode == "verify-full"
    if mode == "require" and "sslrootcert" not in options:
        context.verify_mode = ssl.CERT_NONE
    return context


def _mysql_args(options: Mapping[str, str], unix_socket: str | None) -> dict[str, Any]:
    args: dict[str, Any] = {}
    if unix_socket is not None:
        args["unix_socket"] = unix_socket
    mode = options.get("tls", "false")
    if mode in ("true", "skip-verify"):  # the driver cannot ask first, so `preferred` stays in the clear
        context = ssl.create_default_context()
        if mode == "skip-verify":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        args["ssl"] = context
    return args
