"""The one place that wires: from settings to the services of a process. Nothing else names an adapter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

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
from vyry.accounts.registration import Registration
from vyry.accounts.remaining_quotas import RemainingQuotas
from vyry.accounts.sessions import Sessions
from vyry.accounts.signup import Signup
from vyry.accounts.signup_guard import NoGuard, ProofOfWork, SignupGuard
from vyry.accounts.usernames import Usernames
from vyry.attachments.service import Attachments
from vyry.attachments.upkeep import AttachmentUpkeep
from vyry.clock import CheckedClock, Clock, SteadyClock
from vyry.clock_monitor import ClockMonitor
from vyry.composition.push import PushServices, build_push
from vyry.composition.shared import (
    SharedServices,
    attachment_limits,
    build_infrastructure,
    build_part_store,
    build_shared_services,
    limit_keys,
)
from vyry.contacts.blocks import Blocks
from vyry.contacts.discovery import ContactDiscovery
from vyry.contacts.friends import Friends
from vyry.conversations.conversations import CachedConversations, Conversations
from vyry.conversations.groups import Groups
from vyry.conversations.invitations import Invitations
from vyry.conversations.invite_links import InviteLinks
from vyry.delivery.webhook_signing import webhook_key
from vyry.delivery.webhook_signup_guard import WebhookSignupGuard
from vyry.devices.linking import Linking
from vyry.devices.prekeys import Prekeys
from vyry.devices.push_wakeups import WakeupSender
from vyry.devices.restore_detection import RestoreDetector
from vyry.errors import Unavailable
from vyry.in_process.tickets import InProcessTickets
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.limits import FRAMES, USERNAMES, Limiter, QuotaWindow
from vyry.local_limits import BucketLimiter
from vyry.mail.depositing import Depositor
from vyry.mail.mailbox import Mailboxes
from vyry.mail.notices import NoticePoster
from vyry.mail.posting import Posting
from vyry.mail.receipts import Receipts
from vyry.mail.routing import NodeSockets, Notifier, WorkTopic
from vyry.mail.store import MailStore
from vyry.operator.health import Health
from vyry.operator.secret_reloader import SecretReloader
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.notifier import RedisNotifier
from vyry.redis.shared_buckets import SharedBuckets
from vyry.redis.tickets import RedisTickets
from vyry.settings import Role, Settings
from vyry.signals.calls import Calls
from vyry.signals.presence import Presence
from vyry.signals.socket_quotas import ConnectionSlots
from vyry.signals.turn import TurnCredentials
from vyry.signals.typing_indicators import TypingIndicators
from vyry.storage.account_deletion import TortoiseDeletion
from vyry.storage.account_events import TortoiseAccountEvents
from vyry.storage.account_export import TortoiseExportSource
from vyry.storage.account_upkeep import TortoiseAccountUpkeep
from vyry.storage.attachments import TortoiseAttachments, TortoiseAttachmentUpkeep
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.calls import TortoiseCalls
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import is_postgres, open_database, sqlite_path
from vyry.storage.device_links import TortoiseLinks
from vyry.storage.devices import TortoiseDevices
from vyry.storage.discovery import TortoiseDiscovery
from vyry.storage.friends import TortoiseFriends
from vyry.storage.group_invitations import TortoiseInvitations
from vyry.storage.groups import TortoiseGroups
from vyry.storage.idle_devices import TortoiseIdleDevices
from vyry.storage.invite_links import TortoiseInviteLinks
from vyry.storage.mail_postgres.store import open_postgres_mail
from vyry.storage.mail_sqlite.store import open_sqlite_mail
from vyry.storage.prekeys import TortoisePrekeys
from vyry.storage.typing_privacy import TortoiseTypingPrivacy
from vyry.storage.unlock_tokens import TortoiseUnlockTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalServices:
    """What is passed on and never stored."""

    typing: TypingIndicators
    calls: Calls
    turn: TurnCredentials
    presence: Presence
    #: What typists and others remember of conversations.
    conversations: CachedConversations


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactServices:
    """People and what is between them."""

    discovery: ContactDiscovery
    friends: Friends
    blocks: Blocks
    groups: Groups
    invites: InviteLinks
    invitations: Invitations
    receipts: Receipts


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentServices:
    """Attachments, and clearing them away."""

    service: Attachments
    upkeep: AttachmentUpkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a process of the node can do."""

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
    #: What an operator changes while nodes run.
    secret_reloader: SecretReloader

    @property
    def clock(self) -> Clock:
        """What all of it asks for the time."""
        return self.clock_monitor.clock


@asynccontextmanager
async def open_services(settings: Settings, role: Role) -> AsyncIterator[Services]:
    """Open everything, run the loops of the mail, and close it all in the other order. A loop that dies ends the process."""
    async with AsyncExitStack() as stack:
        database = settings.database_url.get_secret_value()
        await stack.enter_async_context(open_database(database))
        clock = CheckedClock()
        mail = await stack.enter_async_context(_open_mail(database, clock))
        redis = await stack.enter_async_context(_open_redis(settings))
        infrastructure = build_infrastructure(settings, mail, redis)
        services = _build_services(build_shared_services(settings, infrastructure, clock), role)
        await _run_first_checks(services, role)
        loops = [
            services.posting.run,
            services.posting.run_activity_updates,
            services.mailboxes.run,
            services.depositor.run,
            services.linking.run,
            services.claim_ledger.run,
            services.clock_monitor.run,
        ]
        remote = (infrastructure.notifier, infrastructure.work_topic)
        loops += [each.run for each in remote if isinstance(each, RedisNotifier | KafkaWorkTopic)]
        if redis is not None and infrastructure.slots is not None:
            loops.append(SharedBuckets(redis, services.buckets, limit_keys(settings)).run)
            loops.append(partial(infrastructure.slots.run, services.connection_slots.device_slots))
        if role is not Role.WORKER:
            loops.append(services.secret_reloader.run)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(loop()) for loop in loops]
        stack.callback(lambda: [task.cancel() for task in running])
        yield services


async def _run_first_checks(services: Services, role: Role) -> None:
    """What is better known before anybody is served; while the database is away the loops look again."""
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
    places, push = _connection_slots(shared), build_push(shared.settings, role, shared.clock)
    return Services(
        clock_monitor=ClockMonitor(shared.clock, TortoiseClock()),
        registration=_registration(shared),
        sessions=_sessions(shared),
        revocation_watcher=RevocationWatcher(shared.stores.sessions, shared.device_statuses),
        accounts=Accounts(shared.stores.accounts, shared.pepper, shared.cache_invalidation, _usernames(shared)),
        account_events=TortoiseAccountEvents(),
        account_upkeep=TortoiseAccountUpkeep(),
        deletion=_deletion(shared),
        exports=_exports(shared),
        idle_devices=_idle_devices(shared),
        pins=shared.pins,
        own_pin=_own_pin(shared),
        devices=OwnDevices(TortoiseDevices(), shared.revocations, shared.clock),
        push=push,
        linking=Linking(TortoiseLinks(), shared.pins, shared.limiter, shared.tokens, shared.settings.max_devices),
        prekeys=Prekeys(
            TortoisePrekeys(),
            limiter=shared.limiter,
            clock=shared.clock,
            listener=shared.notices,
            restore_guard=shared.claim_ledger,
        ),
        claim_ledger=shared.claim_ledger,
        contacts=_contacts(shared),
        attachments=_attachments(shared),
        conversations=Conversations(shared.stores.conversations, shared.limiter, shared.clock),
        notice_poster=shared.notices,
        posting=_posting(shared),
        mailboxes=Mailboxes(shared.infrastructure.mail_store),
        mail_store=shared.infrastructure.mail_store,
        depositor=shared.depositor,
        work_topic=shared.infrastructure.work_topic,
        sockets=shared.infrastructure.sockets,
        notifier=shared.infrastructure.notifier,
        signals=_signals(shared, push.wakeups),
        limiter=shared.limiter,
        buckets=shared.buckets,
        connection_slots=places,
        frame_window=shared.quotas[FRAMES.name].windows[0] if shared.has_limits else None,
        remaining_quotas=_remaining_quotas(shared, places),
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


def _deletion(shared: SharedServices) -> Deletion:
    return Deletion(
        TortoiseDeletion(),
        accounts=shared.stores.accounts,
        codes=shared.one_time_codes,
        pins=shared.pins,
        pepper=shared.pepper,
        revocations=shared.revocations,
        clock=shared.clock,
    )


def _exports(shared: SharedServices) -> Exports:
    archive = TortoiseExportSource(shared.infrastructure.mail_store)
    return Exports(archive, shared.stores.accounts, shared.pepper, shared.limiter, shared.clock)


def _signals(shared: SharedServices, waker: WakeupSender) -> SignalServices:
    notifier = shared.infrastructure.notifier
    return SignalServices(
        typing=TypingIndicators(
            shared.conversations,
            device_lists=shared.device_lists,
            notifier=notifier,
            privacy=TortoiseTypingPrivacy(),
            clock=SteadyClock(),
        ),
        calls=Calls(
            TortoiseCalls(),
            conversations=shared.stores.conversations,
            device_lists=shared.device_lists,
            notifier=notifier,
            waker=waker,
            limiter=shared.limiter,
            clock=shared.clock,
        ),
        turn=TurnCredentials(shared.settings.turn_urls, shared.settings.turn_secret, shared.settings.turn_seconds),
        presence=shared.infrastructure.presence,
        conversations=shared.conversations,
    )


def _contacts(shared: SharedServices) -> ContactServices:
    return ContactServices(
        discovery=ContactDiscovery(TortoiseDiscovery(), shared.pepper, shared.limiter),
        friends=Friends(TortoiseFriends(), shared.limiter, shared.clock, shared.cache_invalidation),
        blocks=Blocks(TortoiseBlocks(), shared.clock, shared.cache_invalidation),
        groups=Groups(TortoiseGroups(), shared.cache_invalidation, shared.limiter, shared.clock),
        invites=InviteLinks(TortoiseInviteLinks(), shared.cache_invalidation, shared.clock),
        invitations=Invitations(TortoiseInvitations(), shared.cache_invalidation, shared.clock),
        receipts=Receipts(shared.infrastructure.mail_store.upkeep, shared.stores.receipts),
    )


def _attachments(shared: SharedServices) -> AttachmentServices:
    parts, limits = build_part_store(shared.settings), attachment_limits(shared.settings)
    return AttachmentServices(
        service=Attachments(TortoiseAttachments(), parts, limits=limits, limiter=shared.limiter, clock=shared.clock),
        upkeep=AttachmentUpkeep(TortoiseAttachmentUpkeep(), parts, shared.clock),
    )


def _idle_devices(shared: SharedServices) -> IdleDevices:
    lifetime = timedelta(days=shared.settings.idle_device_days)
    return IdleDevices(TortoiseIdleDevices(), shared.revocations, shared.clock, lifetime)


def _usernames(shared: SharedServices) -> Usernames:
    return Usernames(shared.stores.accounts, shared.clock, shared.quotas[USERNAMES.name])


def _remaining_quotas(shared: SharedServices, connection_slots: ConnectionSlots) -> RemainingQuotas:
    return RemainingQuotas(
        shared.quotas,
        accounts=shared.stores.accounts,
        usernames=_usernames(shared),
        codes=shared.one_time_codes,
        pins=shared.pins,
        shared=shared.limiter,
        buckets=shared.buckets,
        sockets=connection_slots,
    )


def _secret_reloader(shared: SharedServices) -> SecretReloader:
    settings = shared.settings
    files = (settings.key_ring_file, settings.pepper_file)
    secret = settings.jwt_secret.get_secret_value().encode()
    return SecretReloader(files, (shared.tokens.keys, shared.pepper), secret, shared.clock)


def _registration(shared: SharedServices) -> Registration:
    arrivals = Signup(shared.stores.accounts, TortoiseUnlockTokens(), shared.pins, shared.tokens, shared.revocations)
    return Registration(shared.one_time_codes, _signup_guard(shared), arrivals)


def _own_pin(shared: SharedServices) -> OwnPin:
    return OwnPin(
        shared.pins,
        store=shared.stores.pins,
        accounts=shared.stores.accounts,
        codes=shared.one_time_codes,
        pepper=shared.pepper,
        clock=shared.clock,
    )


def _signup_guard(shared: SharedServices) -> SignupGuard:
    if shared.settings.captcha is None:
        return NoGuard()
    kind, _, target = shared.settings.captcha.get_secret_value().partition(":")
    if kind == "hashcash":
        return ProofOfWork(int(target), shared.clock)
    return WebhookSignupGuard(target, webhook_key(shared.settings.jwt_secret.get_secret_value().encode()), shared.clock)


def _sessions(shared: SharedServices) -> Sessions:
    redis = shared.infrastructure.redis
    tickets = InProcessTickets(shared.clock) if redis is None else RedisTickets(redis)
    return Sessions(shared.stores.sessions, tickets, shared.tokens, shared.device_statuses, shared.revocations)


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


def _health(settings: Settings) -> Health:
    return Health(
        settings.database_url.get_secret_value(),
        settings.redis_url.get_secret_value() if settings.redis_url else None,
        settings.kafka_url.get_secret_value() if settings.kafka_url else None,
    )
