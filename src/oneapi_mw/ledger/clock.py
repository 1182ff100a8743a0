"""The clock of each database in Unix milliseconds, as an expression: leases are measured by nothing else.

An expression must not pass through local time, which shows the same hour twice when summer time ends: at the end
of that hour every lease given in it would have been over for an hour.
"""

from __future__ import annotations

SQLITE = "CAST(strftime('%s', 'now') AS INTEGER) * 1000"
POSTGRESQL = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
MYSQL = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"

BY_DIALECT = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mysql": MYSQL, "mariadb": MYSQL}
"""By the name SQLAlchemy gives the database."""
