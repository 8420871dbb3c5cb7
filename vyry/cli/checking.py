"""`vyry check`: what is wrong with this node, a line for each thing, and what to do about it."""

import asyncio
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final

import asyncpg
from cyclopts import Parameter
from pydantic import SecretStr

from vyry.adapters.clock_store import TortoiseClock
from vyry.adapters.database import is_postgres, open_database
from vyry.adapters.health import Dependency, probe
from vyry.adapters.migrating import pending, refuse_unknown
from vyry.cli.findings import Finding, State
from vyry.cli.number_findings import number_findings
from vyry.clock import JUMP, SystemClock
from vyry.clock_watch import Reading
from vyry.errors import SchemaTooNew, SchemaTooOld, Unavailable
from vyry.settings import Role, Settings, SettingsError, exposed, load_settings, shared_folder, unsafe


SKEW_SECONDS: Final = 2.0
#: Below the first nothing can be promised any more, below the second it is time to act.
DISK_FULL_BYTES: Final = 256 << 20
DISK_LOW_BYTES: Final = 2 << 30
OLDEST_POSTGRES: Final = 150_000
_SECONDS: Final = 3.0
_HELD_BACK: Final = (
    "nothing is deleted for good until the clocks agree, or `vyry clock confirm` (see docs/operations.md)."
)
_FACTS: Final = """
SELECT clock_timestamp() AS now, current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('full_page_writes') AS full_page_writes
"""
_REMEDIES: Final = {
    "database": "Start it, or correct DATABASE_URL; until then requests get 503 and nothing is lost.",
    "redis": "Start it, or correct REDIS_URL; until then mail is slower and tickets fail.",
    "kafka": "Start it, or correct KAFKA_URL; until then the sweeper carries the mail, up to a second later.",
}
_ALL_APPLIED: Final = "All applied."
_MARKS: Final = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}


def check(*, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """Tell what is wrong: settings, secrets, disk, database, migrations, clock, Redis, Kafka. Exit code 1 if anything failed.

    Args:
        as_json: Answer with one JSON object.
    """
    with _hushed("aiokafka"):
        findings = asyncio.run(_findings())
    is_fine = all(each.state != "failed" for each in findings)
    if as_json:
        print(json.dumps({"ok": is_fine, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        print(*(f"{_MARKS[each.state]}  {each.about:<11} {each.line}" for each in findings), sep="\n")
    return 0 if is_fine else 1


@contextmanager
def _hushed(library: str) -> Iterator[None]:
    """What it has to say of an outage stands in the finding."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _findings() -> list[Finding]:
    try:
        settings = load_settings(Role.TOOL)
    except SettingsError as error:
        return [Finding("settings", "failed", line) for line in error.lines]
    found = [*_settings(settings), _folder(settings), _disk(settings)]
    url = settings.database_url.get_secret_value()
    for service in await probe(url, _plain(settings.redis_url), _plain(settings.kafka_url)):
        found.append(_service(service))
        if service.name == "database" and service.is_up:
            migrations = await _migrations(url)
            found += [migrations, *(await _postgres(url) if is_postgres(url) else ())]
            found += [await _time(url)] if migrations.line == _ALL_APPLIED else []
            if migrations.state == "ok":
                found += await number_findings(settings)
    return found


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _settings(settings: Settings) -> Iterator[Finding]:
    role = Role.ALONE if settings.is_alone else Role.WEB
    warnings = dict.fromkeys([*unsafe(settings), *exposed(settings)])
    yield from (Finding("settings", "warning", line) for line in warnings)
    try:
        load_settings(role, makes_secrets=False)
    except SettingsError as error:
        yield from (Finding("settings", "failed", line) for line in error.lines)
        return
    yield Finding("settings", "ok", f"They do for `vyry {role.value}`, in {settings.env}.")


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    for line in shared_folder(folder):
        return Finding("data folder", "failed", line)
    return Finding(
        "data folder", "ok", f"{folder}{'' if folder.exists() else ' is not there yet; `vyry start` makes it'}."
    )


def _disk(settings: Settings) -> Finding:
    folder = next(each for each in (settings.data_dir, *settings.data_dir.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    line = f"{free / (1 << 30):.1f} GiB free at {folder}."
    if free < DISK_LOW_BYTES:
        return Finding(
            "disk", "failed" if free < DISK_FULL_BYTES else "warning", f"{line} Make room, or move VYRY_DATA_DIR."
        )
    return Finding("disk", "ok", line)


def _service(service: Dependency) -> Finding:
    if service.is_up:
        return Finding(service.name, "ok", f"{service.version}.")
    return Finding(
        service.name, "failed", f"{service.problem[:1].upper()}{service.problem[1:]}. {_REMEDIES[service.name]}"
    )


async def _migrations(url: str) -> Finding:
    try:
        await refuse_unknown(url)
        waiting = await pending(url)
    except Unavailable as problem:
        return Finding("migrations", "failed", problem.problem)
    except (SchemaTooNew, SchemaTooOld) as problem:
        return Finding("migrations", "failed", str(problem))
    if waiting:
        state: State = "failed" if is_postgres(url) else "warning"
        return Finding("migrations", state, f"{len(waiting)} not applied: run `vyry migrate` (`vyry start` does it).")
    return Finding("migrations", "ok", _ALL_APPLIED)


async def _postgres(url: str) -> list[Finding]:
    try:
        connection = await asyncpg.connect(url, timeout=_SECONDS, command_timeout=_SECONDS)
    except (OSError, asyncpg.PostgresError):
        return [Finding("clock", "warning", "The database went away while it was asked.")]
    try:
        (row,) = await connection.fetch(_FACTS)
        skew = abs((SystemClock().now() - row["now"]).total_seconds())
    finally:
        connection.terminate()
    return [_clock(skew), *_durability(dict(row))]


def _clock(skew: float) -> Finding:
    if skew > SKEW_SECONDS:
        return Finding(
            "clock", "warning", f"This machine and the database are {skew:.0f} s apart: let both follow NTP."
        )
    return Finding("clock", "ok", f"Within {max(skew, 0.1):.1f} s of the database's.")


async def _time(url: str) -> Finding:
    try:
        async with open_database(url):
            reading = await TortoiseClock().read()
    except Unavailable as problem:
        return Finding("time", "warning", problem.problem)
    return _seen(reading, SystemClock().now())


def _seen(reading: Reading, now: datetime) -> Finding:
    """What the store has seen, beside this machine's clock and a clock in doubt."""
    if reading.claimed_at is not None:
        said = f"A node's clock says {reading.claimed_at:%Y-%m-%d %H:%M}Z, the store has seen {reading.seen_at:%Y-%m-%d %H:%M}Z"
        return Finding("time", "warning", f"{said}: {_HELD_BACK}")
    if reading.seen_at is not None and abs(now - reading.seen_at) > JUMP:
        said = f"This machine's clock says {now:%Y-%m-%d %H:%M}Z, the store has seen {reading.seen_at:%Y-%m-%d %H:%M}Z"
        return Finding("time", "warning", f"{said}. A node that starts now is in doubt: {_HELD_BACK}")
    return Finding("time", "ok", "The store has seen this machine's time, or none yet.")


def _durability(row: Mapping[str, object]) -> Iterator[Finding]:
    if int(str(row["version"])) < OLDEST_POSTGRES:
        yield Finding("database", "failed", f"It is older than PostgreSQL {OLDEST_POSTGRES // 10_000}: upgrade it.")
    if row["encoding"] != "UTF8":
        yield Finding("database", "failed", "Its encoding is not UTF8: make the database anew with ENCODING 'UTF8'.")
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if row[name] == "off":
            yield Finding("database", "warning", f"{name} is off: a power cut can take accepted mail. Set it to on.")
