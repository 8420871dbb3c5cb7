"""Checks of the database: migrations, durability, clocks, peppers and stored phone numbers."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import asyncpg

from vyry.accounts.phone import Pepper, fingerprint
from vyry.cli.checks.finding import Finding, State
from vyry.clock import JUMP_THRESHOLD, SystemClock
from vyry.clock_monitor import ClockRecord
from vyry.errors import SchemaTooNew, SchemaTooOld, Unavailable
from vyry.operator.secret_files import read_peppers
from vyry.operator.stored_numbers import NumberScan, scan_numbers
from vyry.settings.settings import Settings
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import is_postgres, open_database
from vyry.storage.migrator import pending_migrations, refuse_unknown
from vyry.storage.peppers import list_peppers


MAX_SKEW_SECONDS: Final = 2.0
MIN_POSTGRES_VERSION: Final = 150_000
_CONNECT_TIMEOUT_SECONDS: Final = 3.0
_DELETION_PAUSED: Final = (
    "nodes delete nothing permanently until the clocks agree or you run `vyry clock confirm` (see docs/operations.md)."
)
_SERVER_FACTS_SQL: Final = """
SELECT clock_timestamp() AS now, current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('full_page_writes') AS full_page_writes
"""
_ALL_APPLIED: Final = "All migrations are applied."
#: So many phone numbers that two accounts share are listed.
_MAX_DUPLICATES: Final = 5


async def check_database(settings: Settings) -> list[Finding]:
    """Every check of a database that is up."""
    url = settings.database_url.get_secret_value()
    migrations = await _check_migrations(url)
    found = [migrations, *(await _check_postgres(url) if is_postgres(url) else ())]
    if migrations.state != "ok":
        return found
    try:
        async with open_database(url):
            found.append(_store_clock_finding(await TortoiseClock().read(), SystemClock().now()))
            found += await _check_peppers(settings)
    except Unavailable as problem:
        found.append(Finding("database", "warning", problem.problem))
    return found


async def _check_migrations(url: str) -> Finding:
    try:
        newer = await refuse_unknown(url)
        waiting = await pending_migrations(url)
    except Unavailable as problem:
        return Finding("migrations", "failed", problem.problem)
    except (SchemaTooNew, SchemaTooOld) as problem:
        return Finding("migrations", "failed", str(problem))
    if waiting:
        state: State = "failed" if is_postgres(url) else "warning"
        return Finding(
            "migrations",
            state,
            f"{len(waiting)} migrations not applied: run `vyry migrate` (`vyry start` applies them itself).",
        )
    text = f"{', '.join(newer)} of a newer release; this release runs on that schema." if newer else _ALL_APPLIED
    return Finding("migrations", "ok", text)


async def _check_postgres(url: str) -> list[Finding]:
    try:
        connection = await asyncpg.connect(
            url, timeout=_CONNECT_TIMEOUT_SECONDS, command_timeout=_CONNECT_TIMEOUT_SECONDS
        )
    except (OSError, asyncpg.PostgresError):
        return [
            Finding(
                "clock", "warning", "The connection to the database was lost during the check. Run `vyry check` again."
            )
        ]
    try:
        (row,) = await connection.fetch(_SERVER_FACTS_SQL)
        skew = abs((SystemClock().now() - row["now"]).total_seconds())
    finally:
        connection.terminate()
    return [_clock_skew_finding(skew), *_check_durability(dict(row))]


def _clock_skew_finding(skew: float) -> Finding:
    if skew > MAX_SKEW_SECONDS:
        return Finding(
            "clock",
            "warning",
            f"The clocks of this machine and the database differ by {skew:.0f} s: synchronize both with NTP.",
        )
    return Finding("clock", "ok", f"Within {max(skew, 0.1):.1f} s of the database clock.")


def _check_durability(row: Mapping[str, object]) -> Iterator[Finding]:
    if int(str(row["version"])) < MIN_POSTGRES_VERSION:
        yield Finding(
            "database", "failed", f"The server is older than PostgreSQL {MIN_POSTGRES_VERSION // 10_000}: upgrade it."
        )
    if row["encoding"] != "UTF8":
        yield Finding("database", "failed", "The encoding is not UTF8: create the database again with ENCODING 'UTF8'.")
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if row[name] == "off":
            yield Finding(
                "database", "warning", f"{name} is off: a power failure can lose accepted messages. Set it to on."
            )


def _store_clock_finding(reading: ClockRecord, now: datetime) -> Finding:
    """Compare the latest stored time with this machine's clock and with the clock of a node that is not trusted."""
    if reading.claimed_at is not None:
        comparison = f"A node reports {reading.claimed_at:%Y-%m-%d %H:%M}Z, but the latest time stored in the database is {reading.confirmed_at:%Y-%m-%d %H:%M}Z"
        return Finding("time", "warning", f"{comparison}: {_DELETION_PAUSED}")
    if reading.confirmed_at is not None and abs(now - reading.confirmed_at) > JUMP_THRESHOLD:
        comparison = f"This machine's clock is {now:%Y-%m-%d %H:%M}Z, but the latest time stored in the database is {reading.confirmed_at:%Y-%m-%d %H:%M}Z"
        return Finding(
            "time", "warning", f"{comparison}. A node started now does not trust its clock: {_DELETION_PAUSED}"
        )
    return Finding(
        "time", "ok", "This machine's clock agrees with the time stored in the database, or none is stored yet."
    )


async def _check_peppers(settings: Settings) -> list[Finding]:
    """Compare the pepper file with the database, then scan all phone numbers. Empty when this machine has no pepper file."""
    if not settings.pepper_file.exists():
        return []
    peppers = read_peppers(settings.pepper.get_secret_value())
    lacking = [
        str(each.pepper_id)
        for each in await list_peppers()
        if each.pepper_id not in peppers or fingerprint(peppers[each.pepper_id]) != each.fingerprint
    ]
    if lacking:
        line = f"{settings.pepper_file} lacks pepper {', '.join(lacking)}, with which the database hides phone numbers: restore the right file."
        return [Finding("pepper", "failed", line)]
    found = await scan_numbers(Pepper(peppers, max(peppers)))
    return _phone_number_findings(found) or [
        Finding("numbers", "ok", "Every phone number is stored once, in canonical form.")
    ]


def _phone_number_findings(found: NumberScan) -> list[Finding]:
    lines = []
    if found.duplicated:
        groups = "; ".join(" and ".join(map(str, group)) for group in found.duplicated[:_MAX_DUPLICATES])
        more = (
            f" (and {len(found.duplicated) - _MAX_DUPLICATES} more numbers)"
            if len(found.duplicated) > _MAX_DUPLICATES
            else ""
        )
        ask = "Compare them with `vyry user show`, then delete the unused one with `vyry user delete`."
        lines.append(f"One number has two accounts: {groups}{more}. {ask}")
    if found.outdated:
        count = len(found.outdated)
        lines.append(
            f"{count} phone numbers are stored in an old form, and their owners cannot sign in: run `vyry user canonical-numbers`."
        )
    if found.unreadable:
        lines.append(f"{found.unreadable} phone numbers cannot be decrypted or are not valid: see `vyry user show`.")
    return [Finding("numbers", "warning", line) for line in lines]
