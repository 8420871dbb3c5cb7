"""`vyry migrate`, `vyry rollback` and `vyry secrets`: run once, before a node starts."""

import asyncio
import os
import sys

from aiokafka.errors import KafkaError

from vyry.cli.command_line import FilePath, Flag
from vyry.cli.operator import CURRENT_OPERATOR, Operator, write_audit_entry
from vyry.cli.prompts import confirm_operation
from vyry.delivery.push.web_push_crypto import create_vapid_key
from vyry.kafka.topic import TopicRefused, TopicState, ensure_topic, read_topic
from vyry.operator.backup.postgres_programs import copy_postgres
from vyry.operator.live_nodes import refuse_while_nodes_live
from vyry.operator.topic_map import map_differences, unused_setting
from vyry.settings.push import vapid_path
from vyry.settings.settings import Role, Settings, load_settings, make_secrets
from vyry.settings.types import mask_url
from vyry.storage import migrator as migrating
from vyry.storage.database import is_postgres, open_database
from vyry.storage.partitions import PartitionStore


def migrate(*, by: Operator = CURRENT_OPERATOR) -> int:
    """Migrate the database and create the Kafka topic. Safe to run concurrently.

    The topic is created if KAFKA_URL is set.

    Safe to run concurrently: one process migrates, the others wait and find nothing to do.

    Args:
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    url = settings.database_url.get_secret_value()
    os.umask(0o077)
    applied = asyncio.run(migrating.migrate(url, lambda name: print(f"applied {name}")))
    if applied:
        write_audit_entry(url, by.audit_entry("migrate", details=", ".join(applied)))
        _print_copy(url, applied[0])
    print(f"{mask_url(url)}: {f'{len(applied)} migrated' if applied else 'nothing to migrate'}")
    if newer := asyncio.run(migrating.refuse_unknown(url)):
        print(f"The schema has {', '.join(newer)} of a newer release. This release runs on it.")
    if settings.kafka_url:
        asyncio.run(_make_topic(settings.kafka_url.get_secret_value(), settings))
    return 0


async def _make_topic(url: str, settings: Settings) -> None:
    try:
        is_new = await ensure_topic(url, settings.partitions, settings.kafka_replication)
        topic = await read_topic(url)
    except (KafkaError, OSError, TopicRefused) as problem:
        # Kafka carries hints only: without the topic the sweeper delivers mail.
        reason = str(problem) if isinstance(problem, TopicRefused) else type(problem).__name__
        print(
            f"vyry: Cannot reach Kafka, its topic was not created ({reason}). Run `vyry migrate` again when Kafka is running.",
            file=sys.stderr,
        )
        return
    print(f"{mask_url(url)}: topic {'created' if is_new else 'exists'}")
    if topic is not None:
        await _store_map(settings, topic)


async def _store_map(settings: Settings, topic: TopicState) -> None:
    """Store how many partitions mailboxes are spread over, once; afterwards say what differs and what to do."""
    store = PartitionStore()
    async with open_database(settings.database_url.get_secret_value()):
        await store.create_map(topic.partitions, topic.name)
        known = await store.read_map()
    wanted = settings.partitions if "partitions" in settings.model_fields_set else None
    for line in [*map_differences(known, topic), *unused_setting(known, wanted)] if known else ():
        print(f"vyry: {line}", file=sys.stderr)


def rollback(
    *, by: Operator = CURRENT_OPERATOR, copy_to: FilePath | None = None, without_copy: Flag = False, yes: Flag = False
) -> int:
    """Undo the newest migration and delete the data stored in what it added, while no node runs.

    A copy of the database is kept first: of SQLite beside its file, of PostgreSQL by pg_dump (custom format, mode 0600) in VYRY_DATA_DIR.
    To go back to the previous release this command is not needed: a release runs on the schema of the next one.

    Args:
        by: The operator and the reason.
        copy_to: PostgreSQL: the file of the copy.
        without_copy: PostgreSQL: keep no copy.
        yes: Skip the confirmation prompt.
    """
    os.umask(0o077)
    settings = load_settings(Role.TOOL)
    url = settings.database_url.get_secret_value()
    asyncio.run(migrating.refuse_newer(url))
    applied = asyncio.run(migrating.applied_migrations(url))
    if not applied:
        print("No migration is applied.")
        return 0
    asyncio.run(refuse_while_nodes_live(url))
    if not confirm_operation(f"This would undo {applied[-1]} and delete its data", yes=yes):
        return 1
    if is_postgres(url) and not without_copy:
        copy = copy_to or settings.data_dir / f"postgres.before-undoing-{applied[-1]}"
        asyncio.run(copy_postgres(url, copy))
        print(f"copy: {copy}")
    # Before the rollback, which may drop the audit log itself.
    write_audit_entry(url, by.audit_entry("rollback", details=applied[-1]))
    print(f"undone: {asyncio.run(migrating.rollback(url))}")
    _print_copy(url, f"undoing-{applied[-1]}")
    return 0


def _print_copy(url: str, name: str) -> None:
    """Where the copy of a SQLite file is."""
    if not is_postgres(url) and (copy := migrating.copy_file(url, name)).exists():
        print(f"copy: {copy}")


def secrets() -> int:
    """Create missing secret files in the data folder.

    Files with mode 0600: the pepper, JWT_SECRET and the Web Push (VAPID) key. Existing files are left unchanged.

    They are created in VYRY_DATA_DIR, or at VYRY_PEPPER_FILE and VYRY_VAPID_KEY_FILE if set. All web nodes need the same files,
    and all workers the same Web Push key.
    """
    made = make_secrets()
    settings = load_settings(Role.TOOL)
    vapid = vapid_path(settings.vapid_key_file, settings.data_dir)
    if create_vapid_key(vapid):
        made.append(vapid)
    for path in made:
        print(f"created {path}")
    if not made:
        print("All secret files exist.")
    return 0
