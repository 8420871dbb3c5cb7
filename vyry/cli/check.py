"""`vyry check`: tests the machine, the database, Redis and Kafka; one line and a remedy for each finding (vyry/cli/checks)."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vyry.cli.checks.database import check_database
from vyry.cli.checks.finding import Finding
from vyry.cli.checks.machine import check_machine
from vyry.cli.checks.production import ProductionOptions, check_production
from vyry.cli.checks.services import check_services, check_topic
from vyry.cli.command_line import Flag, JsonFlag
from vyry.settings.settings import Role, SettingsError, load_settings
from vyry.storage.database import is_postgres


_DEFAULTS: Final = ProductionOptions()


def check(*, production: Flag = False, options: ProductionOptions = _DEFAULTS, as_json: JsonFlag = False) -> int:
    """Check settings, services, clock and disk.

    It also checks secrets, certificates, the data folder, migrations and stored phone numbers. Exit code 1 if a check failed.

    Args:
        production: Also check the production checklist (docs/operations.md): secrets, encryption, limits, monitoring, backup, firewall, health.
        options: Values for `--production`.
        as_json: Print one JSON object.
    """
    with _silenced_logger("aiokafka"):
        findings = asyncio.run(_run_checks(options if production else None))
    is_fine = all(each.state != "failed" for each in findings)
    if as_json:
        print(json.dumps({"ok": is_fine, "findings": [each.to_json() for each in findings]}, indent=2))
    else:
        print(*(each.to_line() for each in findings), sep="\n")
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


async def _run_checks(options: ProductionOptions | None) -> list[Finding]:
    try:
        settings = load_settings(Role.TOOL)
    except SettingsError as error:
        return [Finding("settings", "failed", line) for line in error.problems]
    found = check_machine(settings)
    # A cluster without DATABASE_URL has no database to check: the SQLite file of `vyry start` is not meant.
    if settings.is_single_process or is_postgres(settings.database_url.get_secret_value()):
        services = await check_services(settings)
        found += services
        if services[0].state == "ok":
            found += [*await check_database(settings), *await check_topic(settings)]
    return found + (await check_production(settings, options) if options is not None else [])
