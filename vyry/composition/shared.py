"""What most services of a node depend on: its stores, its connections to the database and to other nodes, and the services used by others."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from vyry.accounts.device_status import DeviceStatusCache, SessionRevocations
from vyry.accounts.otp import OneTimeCodes
from vyry.accounts.otp import OtpOptions as CodeTerms
from vyry.accounts.otp_limits import UNLIMITED, OtpLimits, Tariff
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import CountedHasher, Pins, PinTryLimit
from vyry.accounts.signing import KeyRing
from vyry.accounts.tokens import Tokens
from vyry.attachments.attachment import MIB, AttachmentLimits, PartStore
from vyry.clock import CheckedClock, Clock
from vyry.conversations.conversations import CachedConversations
from vyry.delivery.sms.senders import SenderSecrets, open_sender
from vyry.devices.device_lists import CachedDeviceLists
from vyry.devices.restore_detection import RestoreDetector
from vyry.in_process.limiter import InProcessLimiter
from vyry.in_process.pin_hasher import ArgonPinHasher
from vyry.in_process.presence import InProcessPresence
from vyry.in_process.routing import InProcessNotifier, InProcessWorkTopic
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.limits import MEMBER_INVITES, Quota, QuotaWindow, Unlimited, apply_overrides
from vyry.local_limits import BucketLimiter
from vyry.mail.depositing import Depositor
from vyry.mail.notices import NoticePoster
from vyry.mail.routing import CacheInvalidation, NodeSockets, Router, WorkerInProcess
from vyry.mail.store import MailStore
from vyry.mail.worker_watch import WorkerWatch
from vyry.operator.restore_marker import RestoreMarkerFile, TortoiseRestoreMarkers
from vyry.operator.secret_files import read_peppers, read_signing_keys
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.redis.limiter import RedisLimiter
from vyry.redis.notifier import RedisNotifier, new_node_name
from vyry.redis.presence import RedisPresence, parse_states
from vyry.redis.slots import RedisConnectionSlots
from vyry.redis.socket_query import channel_name
from vyry.settings.settings import Settings
from vyry.signals.presence import Presence, PresenceLeases, PresenceListener, PresenceTiming
from vyry.storage.accounts import TortoiseAccounts
from vyry.storage.attachment_disk import DiskParts
from vyry.storage.attachment_s3 import S3Location, open_s3_parts
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.deferred_notices import TortoiseDeferredNotices
from vyry.storage.live_workers import count_live_workers
from vyry.storage.notice_outbox import TortoiseNoticeOutbox
from vyry.storage.otp import TortoiseOtp
from vyry.storage.partitions import PartitionStore
from vyry.storage.pins import TortoisePins
from vyry.storage.prekeys import TortoiseDeviceLists
from vyry.storage.privacy import TortoisePresencePrivacy, TortoiseReceipts
from vyry.storage.sessions import TortoiseSessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Infrastructure:
    """What connects this process with its database and with the other nodes."""

    mail_store: MailStore
    #: The sockets of this process: the web application attaches them.
    sockets: NodeSockets
    presence: Presence
    #: None for a node that runs alone.
    redis: RedisGuard | None
    notifier: InProcessNotifier | RedisNotifier
    work_topic: InProcessWorkTopic | KafkaWorkTopic
    workers: WorkerInProcess | WorkerWatch
    #: None for a node that runs alone.
    slots: RedisConnectionSlots | None


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores that several services use; each is built once. A store with one user is built beside that user."""

    accounts: TortoiseAccounts = field(default_factory=TortoiseAccounts)
    conversations: TortoiseConversations = field(default_factory=TortoiseConversations)
    pins: TortoisePins = field(default_factory=TortoisePins)
    receipts: TortoiseReceipts = field(default_factory=TortoiseReceipts)
    sessions: TortoiseSessions = field(default_factory=TortoiseSessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedServices:
    """What most services depend on."""

    settings: Settings
    stores: Stores
    infrastructure: Infrastructure
    clock: CheckedClock
    quotas: Mapping[str, Quota]
    limiter: RedisLimiter | InProcessLimiter | Unlimited
    pepper: Pepper
    pins: Pins
    tokens: Tokens
    one_time_codes: OneTimeCodes
    device_statuses: DeviceStatusCache
    revocations: SessionRevocations
    conversations: CachedConversations
    device_lists: CachedDeviceLists
    depositor: Depositor
    router: Router
    notices: NoticePoster
    claim_ledger: RestoreDetector
    cache_invalidation: CacheInvalidation
    #: Limits per envelope, frame and PIN.
    buckets: BucketLimiter

    @property
    def has_limits(self) -> bool:
        """Whether rates are counted."""
        return self.settings.limits == "on"


def build_shared_services(settings: Settings, infrastructure: Infrastructure, clock: CheckedClock) -> SharedServices:
    """Build what most services of this process depend on."""
    stores, mail_store, notifier = Stores(), infrastructure.mail_store, infrastructure.notifier
    quotas = _quotas(settings)
    buckets = BucketLimiter(quotas, is_on=settings.limits == "on")
    peppers = read_peppers(settings.pepper.get_secret_value())
    pepper = Pepper(peppers, min(peppers))
    statuses = DeviceStatusCache(stores.sessions, clock)
    depositor = Depositor(mail_store, notifier=notifier, sockets=infrastructure.sockets)
    router = Router(
        infrastructure.work_topic,
        depositor=depositor,
        sockets=infrastructure.sockets,
        workers=infrastructure.workers,
    )
    return SharedServices(
        settings=settings,
        stores=stores,
        infrastructure=infrastructure,
        clock=clock,
        quotas=quotas,
        limiter=_limiter(settings, infrastructure.redis, quotas),
        pepper=pepper,
        pins=_pins(stores.pins, pepper, clock, quotas["pin_tries"].windows[0], buckets),
        tokens=_tokens(settings, clock),
        one_time_codes=_one_time_codes(settings, quotas, pepper, clock),
        device_statuses=statuses,
        revocations=SessionRevocations(statuses, notifier),
        conversations=CachedConversations(stores.conversations),
        device_lists=CachedDeviceLists(TortoiseDeviceLists()),
        depositor=depositor,
        router=router,
        notices=NoticePoster(
            mail_store, router=router, clock=clock, outbox=TortoiseNoticeOutbox(), deferred=TortoiseDeferredNotices()
        ),
        claim_ledger=RestoreDetector(TortoiseRestoreMarkers(), RestoreMarkerFile(settings.data_dir), clock),
        cache_invalidation=CacheInvalidation(notifier),
        buckets=buckets,
    )


def build_infrastructure(settings: Settings, mail_store: MailStore, redis: RedisGuard | None) -> Infrastructure:
    """Build what connects this process with the others; without `redis` it is the only one."""
    sockets, node = NodeSockets(), new_node_name()
    timing = PresenceTiming(lease_seconds=settings.presence_seconds)

    def build_leases(listener: PresenceListener) -> PresenceLeases:
        if redis is None:
            return InProcessPresence(timing, listener)
        return RedisPresence(redis, timing, channel=channel_name(node))

    def on_presence(news: bytes) -> None:
        presence.on_states(parse_states(news))

    presence = Presence(build_leases=build_leases, privacy=TortoisePresencePrivacy(), timing=timing)
    url = settings.kafka_url.get_secret_value() if settings.kafka_url else None
    return Infrastructure(
        mail_store=mail_store,
        sockets=sockets,
        presence=presence,
        redis=redis,
        notifier=InProcessNotifier(sockets)
        if redis is None
        else RedisNotifier(redis, sockets=sockets, on_presence=on_presence, node=node),
        work_topic=InProcessWorkTopic() if url is None else KafkaWorkTopic(url, PartitionStore().read_map),
        workers=WorkerInProcess() if url is None else WorkerWatch(count_live_workers, mail_store.upkeep),
        slots=None if redis is None else RedisConnectionSlots(redis, limit_keys(settings)),
    )


def _quotas(settings: Settings) -> Mapping[str, Quota]:
    quotas = apply_overrides(settings.limit_overrides)
    (window,) = MEMBER_INVITES.windows
    invites = replace(MEMBER_INVITES, windows=(replace(window, limit=settings.member_invites),))
    return {**quotas, invites.name: invites}


def _tokens(settings: Settings, clock: Clock) -> Tokens:
    secret = settings.jwt_secret.get_secret_value().encode()
    keys = KeyRing(read_signing_keys(settings.key_ring_file, secret), clock)
    return Tokens(keys, settings.jwt_expiration, settings.refresh_token_expiration, clock)


def _one_time_codes(settings: Settings, quotas: Mapping[str, Quota], pepper: Pepper, clock: Clock) -> OneTimeCodes:
    secret = settings.jwt_secret.get_secret_value().encode()
    sender = open_sender(
        settings.sms.get_secret_value(), SenderSecrets(secret, settings.sms_secret, settings.sms_url or ""), clock
    )
    return OneTimeCodes(TortoiseOtp(), sender, pepper, clock, _code_terms(settings, quotas))


def _limiter(
    settings: Settings, redis: RedisGuard | None, quotas: Mapping[str, Quota]
) -> RedisLimiter | InProcessLimiter | Unlimited:
    if settings.limits == "off":
        return Unlimited()
    return InProcessLimiter(quotas) if redis is None else RedisLimiter(redis, quotas, limit_keys(settings))


def limit_keys(settings: Settings) -> RedisLimitKeys:
    """The key that hides accounts and addresses in the counters of Redis."""
    # The oldest pepper: nodes that have a newer one already share the counters of the others.
    peppers = read_peppers(settings.pepper.get_secret_value())
    return RedisLimitKeys(peppers[min(peppers)])


def attachment_limits(settings: Settings) -> AttachmentLimits:
    """How much an account may keep, and for how long."""
    return AttachmentLimits(
        max_bytes=settings.attachment_mib * MIB,
        quota_bytes=settings.attachment_quota_mib * MIB,
        lifetime=timedelta(days=settings.attachment_days),
    )


def attachments_folder(settings: Settings) -> Path:
    """The folder with the bytes of attachments, unless they are in a bucket."""
    return Path(settings.attachments or settings.data_dir / "attachments").absolute()


def build_part_store(settings: Settings) -> PartStore:
    """Where the bytes of attachments are stored: a folder or a bucket."""
    if settings.bucket is None:
        return DiskParts(attachments_folder(settings), settings.attachment_reserve_mib * MIB)
    name, prefix = settings.bucket
    key, endpoint = settings.s3_access_key or "", settings.s3_endpoint
    return open_s3_parts(S3Location(name, prefix, settings.s3_region, key, settings.s3_secret, endpoint))


def _pins(store: TortoisePins, pepper: Pepper, clock: Clock, max_tries: QuotaWindow, buckets: BucketLimiter) -> Pins:
    most = PinTryLimit(max_tries.limit, timedelta(seconds=max_tries.seconds))
    return Pins(store, CountedHasher(ArgonPinHasher(), buckets), pepper, clock, most)


def _code_terms(settings: Settings, quotas: Mapping[str, Quota]) -> CodeTerms:
    number, total, network = (quotas[name].windows for name in ("otp_number", "otp_total", "otp_network"))
    prefix = QuotaWindow(settings.sms_per_prefix, 3600) if settings.sms_per_prefix else None
    rules = (
        OtpLimits(number=number, total=total, network=network, prefix=prefix) if settings.limits == "on" else UNLIMITED
    )
    cap = None if settings.sms_daily_cap is None else _millionths(settings.sms_daily_cap)
    prices = {country: _millionths(price) for country, price in settings.sms_prices.items()}
    tariff = Tariff(settings.sms_countries, _millionths(settings.sms_price or Decimal(0)), prices)
    return CodeTerms(replace(rules, daily_cap=cap), tariff, quotas["otp_guesses"].windows[0].limit)


def _millionths(money: Decimal) -> int:
    return int(money * 1_000_000)
