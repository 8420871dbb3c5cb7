"""From settings to the open services of a process: `open_services` builds them, runs their loops and closes them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from vyry.accounts.account import AccountUpkeep
from vyry.accounts.deletion import Deletion
from vyry.accounts.device_status import RevocationWatcher
from vyry.accounts.events import AccountEvents
from vyry.accounts.export import Exports
from vyry.accounts.idle_devices import IdleDevices
from vyry.accounts.own_devices import OwnDevices
from vyry.accounts.own_pin import OwnPin
from vyry.accounts.pin import Pins
from vyry.accounts.profile import Accounts
from vyry.accounts.remaining_quotas import RemainingQuotas
from vyry.accounts.sessions import Sessions
from vyry.accounts.signup import Registration
from vyry.clock import CheckedClock, Clock
from vyry.clock_monitor import ClockMonitor
from vyry.composition.accounts import (
    build_deletion,
    build_exports,
    build_idle_devices,
    build_own_pin,
    build_registration,
    build_remaining_quotas,
    build_sessions,
    build_usernames,
)
from vyry.composition.features import (
    AttachmentServices,
    ContactServices,
    SignalServices,
    build_attachments,
    build_contacts,
    build_signals,
)
from vyry.composition.push import PushServices, build_push
from vyry.composition.shared import (
    Infrastructure,
    SharedServices,
    build_infrastructure,
    build_shared_services,
    limit_keys,
)
from vyry.composition.tracing import open_tracing
from vyry.conversations.conversations import Conversations
from vyry.devices.linking import Linking
from vyry.devices.prekeys import Prekeys
from vyry.devices.restore_detection import RestoreDetector
from vyry.errors import Unavailable
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.limits import FRAMES, Limiter, QuotaWindow
from vyry.local_limits import BucketLimiter
from vyry.mail.depositing import Depositor
from vyry.mail.mailbox import Mailboxes
from vyry.mail.notices import NoticePoster
from vyry.mail.overdue import OverdueMail
from vyry.mail.posting import Posting
from vyry.mail.routing import NodeSockets, Notifier, WorkTopic
from vyry.mail.store import MailStore
from vyry.mail.worker_watch import WorkerWatch
from vyry.mail.workers import WorkerStore
from vyry.operator.health import Health
from vyry.operator.secret_reloader import SecretReloader
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.notifier import RedisNotifier
from vyry.redis.shared_buckets import SharedBuckets
from vyry.settings.settings import Role, Settings
from vyry.signals.socket_quotas import ConnectionSlots
from vyry.storage.account_events import TortoiseAccountEvents
from vyry.storage.account_upkeep import TortoiseAccountUpkeep
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import is_postgres, open_database, sqlite_path
from vyry.storage.device_links import TortoiseLinks
from vyry.storage.devices import TortoiseDevices
from vyry.storage.mail_postgres.store import open_postgres_mail
from vyry.storage.mail_sqlite.store import open_sqlite_mail
from vyry.storage.partitions import PartitionStore
from vyry.storage.prekeys import TortoisePrekeys
from vyry.storage.workers import TortoiseWorkers


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of a process of the node."""

    clock_monitor: ClockMonitor
    registration: Registration
    sessions: Sessions
    revocation_watcher: RevocationWatcher
    accounts: Accounts
    account_events: AccountEvents
    account_upkeep: AccountUpkeep
    deletion: Deletion
    exports: Exports
    idle_devices: IdleDevices
    pins: Pins
    own_pin: OwnPin
    devices: OwnDevices
    push: PushServices
    linking: Linking
    prekeys: Prekeys
    claim_ledger: RestoreDetector
    contacts: ContactServices
    attachments: AttachmentServices
    conversations: Conversations
    notice_poster: NoticePoster
    posting: Posting
    mailboxes: Mailboxes
    mail_store: MailStore
    depositor: Depositor
    work_topic: WorkTopic
    #: What a worker writes about itself.
    workers: WorkerStore = field(default_factory=TortoiseWorkers)
    partitions: PartitionStore = field(default_factory=PartitionStore)
    sockets: NodeSockets
    notifier: Notifier
    signals: SignalServices
    limiter: Limiter
    #: Limits on what happens per envelope or frame.
    buckets: BucketLimiter
    #: Limits on open sockets, and on the frames of each (None: any number).
    connection_slots: ConnectionSlots
    frame_window: QuotaWindow | None
    remaining_quotas: RemainingQuotas
    health: Health
    #: Reloads secrets that an operator changes while nodes run.
    secret_reloader: SecretReloader

    @property
    def clock(self) -> Clock:
        """The clock of all services."""
        return self.clock_monitor.clock


@asynccontextmanager
async def open_services(settings: Settings, role: Role) -> AsyncIterator[Services]:
    """Open all services, run their loops, and close them in reverse order. A loop that fails ends the process."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_tracing(settings, role))
        database = settings.database_url.get_secret_value()
        await stack.enter_async_context(open_database(database))
        clock = CheckedClock()
        mail = await stack.enter_async_context(_open_mail(database, clock))
        redis = await stack.enter_async_context(_open_redis(settings))
        infrastructure = build_infrastructure(settings, mail, redis)
        services = _build_services(build_shared_services(settings, infrastructure, clock), role)
        stack.push_async_callback(services.health.aclose)
        await _run_first_checks(services, role)
        loops = _background_loops(settings, role, services, infrastructure, redis)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(loop()) for loop in loops]
        stack.callback(lambda: [task.cancel() for task in running])
        yield services


def _background_loops(
    settings: Settings, role: Role, services: Services, infrastructure: Infrastructure, redis: RedisGuard | None
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    loops = [
        services.posting.run,
        services.posting.run_activity_updates,
        services.mailboxes.run,
        services.depositor.run,
        services.linking.run,
        services.claim_ledger.run,
        services.clock_monitor.run,
    ]
    remote = (infrastructure.notifier, infrastructure.work_topic, infrastructure.workers)
    loops += [each.run for each in remote if isinstance(each, RedisNotifier | KafkaWorkTopic | WorkerWatch)]
    if redis is not None and infrastructure.slots is not None:
        loops.append(SharedBuckets(redis, services.buckets, limit_keys(settings)).run)
        loops.append(partial(infrastructure.slots.run, services.connection_slots.device_slots))
    if role is not Role.WORKER:
        loops.append(services.secret_reloader.run)
    if role is Role.WEB:
        loops.append(_overdue_mail(settings, services).run)
    return loops


async def _run_first_checks(services: Services, role: Role) -> None:
    """Check the clock and the secrets before the first request; while the database is down, the loops retry."""
    with suppress(Unavailable):
        await services.clock_monitor.check()
        if role is not Role.WORKER:
            await services.secret_reloader.reload()


def _open_mail(database: str, clock: Clock) -> AbstractAsyncContextManager[MailStore]:
    if is_postgres(database):
        return open_postgres_mail(database, clock)
    return open_sqlite_mail(Path(sqlite_path(database)), clock)


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator[RedisGuard | None]:
    """Yields None for a node that runs alone."""
    if settings.redis_url is None:
        yield None
        return
    redis = connect_redis(settings.redis_url.get_secret_value())
    try:
        yield RedisGuard(redis)
    finally:
        await redis.aclose()


def _build_services(shared: SharedServices, role: Role) -> Services:
    connection_slots, push = _connection_slots(shared), build_push(shared.settings, role, shared.clock)
    return Services(
        clock_monitor=ClockMonitor(shared.clock, TortoiseClock()),
        registration=build_registration(shared),
        sessions=build_sessions(shared),
        revocation_watcher=RevocationWatcher(shared.stores.sessions, shared.device_statuses),
        accounts=Accounts(shared.stores.accounts, shared.pepper, shared.cache_invalidation, build_usernames(shared)),
        account_events=TortoiseAccountEvents(),
        account_upkeep=TortoiseAccountUpkeep(),
        deletion=build_deletion(shared),
        exports=build_exports(shared),
        idle_devices=build_idle_devices(shared),
        pins=shared.pins,
        own_pin=build_own_pin(shared),
        devices=OwnDevices(TortoiseDevices(), shared.revocations, shared.clock),
        push=push,
        linking=Linking(TortoiseLinks(), shared.pins, shared.limiter, shared.tokens, shared.settings.max_devices),
        prekeys=_prekeys(shared),
        claim_ledger=shared.claim_ledger,
        contacts=build_contacts(shared),
        attachments=build_attachments(shared),
        conversations=Conversations(shared.stores.conversations, shared.limiter, shared.clock),
        notice_poster=shared.notices,
        posting=_posting(shared),
        mailboxes=Mailboxes(shared.infrastructure.mail_store),
        mail_store=shared.infrastructure.mail_store,
        depositor=shared.depositor,
        work_topic=shared.infrastructure.work_topic,
        sockets=shared.infrastructure.sockets,
        notifier=shared.infrastructure.notifier,
        signals=build_signals(shared, push.wakeups),
        limiter=shared.limiter,
        buckets=shared.buckets,
        connection_slots=connection_slots,
        frame_window=shared.quotas[FRAMES.name].windows[0] if shared.has_limits else None,
        remaining_quotas=build_remaining_quotas(shared, connection_slots),
        health=_health(shared.settings),
        secret_reloader=_secret_reloader(shared),
    )


def _connection_slots(shared: SharedServices) -> ConnectionSlots:
    return ConnectionSlots(
        shared.quotas,
        shared=shared.infrastructure.slots,
        max_sockets=shared.settings.max_sockets,
        has_limits=shared.has_limits,
    )


def _prekeys(shared: SharedServices) -> Prekeys:
    return Prekeys(
        TortoisePrekeys(),
        limiter=shared.limiter,
        clock=shared.clock,
        listener=shared.notices,
        restore_guard=shared.claim_ledger,
    )


def _secret_reloader(shared: SharedServices) -> SecretReloader:
    settings = shared.settings
    files = (settings.key_ring_file, settings.pepper_file)
    secret = settings.jwt_secret.get_secret_value().encode()
    return SecretReloader(files, (shared.tokens.keys, shared.pepper), secret, shared.clock)


def _posting(shared: SharedServices) -> Posting:
    return Posting(
        shared.infrastructure.mail_store,
        device_lists=shared.device_lists,
        conversations=shared.conversations,
        conversation_store=shared.stores.conversations,
        receipts=shared.stores.receipts,
        router=shared.router,
        clock=shared.clock,
        max_life_seconds=shared.settings.max_life_seconds,
    )


def _overdue_mail(settings: Settings, services: Services) -> OverdueMail:
    return OverdueMail(
        services.mail_store.upkeep,
        depositor=services.depositor,
        sockets=services.sockets,
        clock=services.clock,
        handover_time=timedelta(milliseconds=settings.handover_ms),
    )


def _health(settings: Settings) -> Health:
    return Health(
        settings.database_url.get_secret_value(),
        settings.redis_url.get_secret_value() if settings.redis_url else None,
        settings.kafka_url.get_secret_value() if settings.kafka_url else None,
    )
