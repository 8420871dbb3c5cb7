"""`vyry check`: tests settings, data folder, disk, database, clock, phone numbers, Redis and Kafka; one line and a remedy for each finding."""

import asyncio
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import asyncpg
from pydantic import SecretStr

from vyry.cli.command_line import JsonFlag
from vyry.cli.operator import load_pepper
from vyry.clock import JUMP_THRESHOLD, SystemClock
from vyry.clock_monitor import ClockRecord
from vyry.errors import SchemaTooNew, SchemaTooOld, Unavailable
from vyry.operator.health import Dependency, probe
from vyry.operator.stored_numbers import NumberScan, scan_numbers
from vyry.settings.settings import (
    Role,
    Settings,
    SettingsError,
    exposed_files,
    folder_problems,
    load_settings,
    unsafe_settings,
)
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import is_postgres, open_database
from vyry.storage.migrator import pending_migrations, refuse_unknown


MAX_SKEW_SECONDS: Final = 2.0
#: Free disk space: `failed` below the first, `warning` below the second.
DISK_FULL_BYTES: Final = 256 << 20
DISK_LOW_BYTES: Final = 2 << 30
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
_REMEDIES: Final = {
    "database": "Start the database, or correct DATABASE_URL. Until then requests get 503; no message is lost.",
    "redis": "Start Redis, or correct REDIS_URL. Until then delivery is slower and WebSocket tickets fail.",
    "kafka": "Start Kafka, or correct KAFKA_URL. Until then the sweeper deposits messages, up to a second later.",
}
_ALL_APPLIED: Final = "All migrations are applied."
_STATE_LABELS: Final = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}
#: So many phone numbers that two accounts share are listed.
_MAX_DUPLICATES: Final = 5
State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    subject: str
    state: State
    text: str

    def to_json(self) -> Mapping[str, str]:
        """The finding as `vyry check --json` prints it."""
        return {"about": self.subject, "state": self.state, "line": self.text}


def check(*, as_json: JsonFlag = False) -> int:
    """Check settings, services, clock and disk.

    It also checks secrets, the data folder, migrations and stored phone numbers. Exit code 1 if a check failed.

    Args:
        as_json: Print one JSON object.
    """
    with _silenced_logger("aiokafka"):
        findings = asyncio.run(_run_checks())
    is_fine = all(each.state != "failed" for each in findings)
    if as_json:
        print(json.dumps({"ok": is_fine, "findings": [each.to_json() for each in findings]}, indent=2))
    else:
        print(*(f"{_STATE_LABELS[each.state]}  {each.subject:<11} {each.text}" for each in findings), sep="\n")
    return 0 if is_fine else 1


@contextmanager
def _silenced_logger(library: str) -> Iterator[None]:
    """Turn the log of a library off: the finding reports the outage."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _run_checks() -> list[Finding]:
    try:
        settings = load_settings(Role.TOOL)
    except SettingsError as error:
        return [Finding("settings", "failed", line) for line in error.problems]
    found = [*_check_settings(settings), _check_data_folder(settings), _check_disk(settings)]
    url = settings.database_url.get_secret_value()
    for service in await probe(url, _secret_text(settings.redis_url), _secret_text(settings.kafka_url)):
        found.append(_dependency_finding(service))
        if service.name == "database" and service.is_up:
            migrations = await _check_migrations(url)
            found += [migrations, *(await _check_postgres(url) if is_postgres(url) else ())]
            found += [await _check_store_clock(url)] if migrations.text == _ALL_APPLIED else []
            if migrations.state == "ok":
                found += await _check_phone_numbers(settings)
    return found


def _secret_text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _check_settings(settings: Settings) -> Iterator[Finding]:
    role = Role.START if settings.is_single_process else Role.WEB
    warnings = dict.fromkeys([*unsafe_settings(settings), *exposed_files(settings)])
    yield from (Finding("settings", "warning", line) for line in warnings)
    try:
        load_settings(role, makes_secrets=False)
    except SettingsError as error:
        yield from (Finding("settings", "failed", line) for line in error.problems)
        return
    yield Finding("settings", "ok", f"Valid for `vyry {role.value}` in {settings.env}.")


def _check_data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    for line in folder_problems(folder):
        return Finding("data folder", "failed", line)
    return Finding(
        "data folder", "ok", f"{folder}{'' if folder.exists() else ' does not exist yet; `vyry start` creates it'}."
    )


def _check_disk(settings: Settings) -> Finding:
    folder = next(each for each in (settings.data_dir, *settings.data_dir.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    line = f"{free / (1 << 30):.1f} GiB free at {folder}."
    if free < DISK_LOW_BYTES:
        return Finding(
            "disk", "failed" if free < DISK_FULL_BYTES else "warning", f"{line} Free disk space, or move VYRY_DATA_DIR."
        )
    return Finding("disk", "ok", line)


def _dependency_finding(service: Dependency) -> Finding:
    if service.is_up:
        return Finding(service.name, "ok", f"{service.version}.")
    return Finding(
        service.name, "failed", f"{service.problem[:1].upper()}{service.problem[1:]}. {_REMEDIES[service.name]}"
    )


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


async def _check_store_clock(url: str) -> Finding:
    try:
        async with open_database(url):
            reading = await TortoiseClock().read()
    except Unavailable as problem:
        return Finding("time", "warning", problem.problem)
    return _store_clock_finding(reading, SystemClock().now())


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


async def _check_phone_numbers(settings: Settings) -> list[Finding]:
    """Scan all stored phone numbers. No findings when this machine has no pepper file: numbers cannot be decrypted without it."""
    pepper = load_pepper(settings)
    if pepper is None:
        return []
    try:
        async with open_database(settings.database_url.get_secret_value()):
            found = await scan_numbers(pepper)
    except Unavailable as problem:
        return [Finding("numbers", "warning", f"Cannot read the phone numbers: {problem.problem}")]
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
