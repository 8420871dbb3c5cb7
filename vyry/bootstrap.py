"""The one place that wires: from settings to the services of a process. Nothing else names an adapter."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from vyry.accounts.account import AccountUpkeep
from vyry.accounts.allowances import Allowances, Counters
from vyry.accounts.arrival import Arrivals
from vyry.accounts.deletion import Deletion, Proofs
from vyry.accounts.door import Door, OpenDoor, ProofOfWork
from vyry.accounts.events import AccountEvents
from vyry.accounts.export import Exports
from vyry.accounts.idle import IdleDevices
from vyry.accounts.otp import OneTimeCodes, Terms
from vyry.accounts.own_devices import OwnDevices
from vyry.accounts.own_pin import OwnPin, PinMeans
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import Pins, Tries
from vyry.accounts.profile import Accounts
from vyry.accounts.registration import Registration
from vyry.accounts.sending import UNLIMITED, Rules, Tariff
from vyry.accounts.sessions import Sessions
from vyry.accounts.signing import KeyRing
from vyry.accounts.standings import Endings, EndingWatch, Standings
from vyry.accounts.tokens import Tokens
from vyry.adapters.account_events import TortoiseAccountEvents
from vyry.adapters.account_upkeep import TortoiseAccountUpkeep
from vyry.adapters.accounts import TortoiseAccounts
from vyry.adapters.archive import TortoiseArchive
from vyry.adapters.argon import ArgonPins
from vyry.adapters.captcha import WebhookDoor
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.database import is_postgres, open_database, sqlite_path
from vyry.adapters.deleting import TortoiseDeletion
from vyry.adapters.devices import TortoiseDevices
from vyry.adapters.health import Health
from vyry.adapters.idle_devices import TortoiseIdleDevices
from vyry.adapters.in_process import InProcessDoorbell, InProcessMailbags
from vyry.adapters.kafka import KafkaMailbags
from vyry.adapters.limiter import LimitKeys, RedisLimiter
from vyry.adapters.links import TortoiseLinks
from vyry.adapters.notices import TortoiseNoticeOutbox
from vyry.adapters.otp import TortoiseOtp
from vyry.adapters.pin import TortoisePins
from vyry.adapters.places import RedisPlaces
from vyry.adapters.postgres_mail import open_postgres_mail
from vyry.adapters.prekeys import TortoiseDeviceLists, TortoisePrekeys
from vyry.adapters.push_targets import TortoisePushTargets
from vyry.adapters.redis import RedisDoorbell, connect_redis
from vyry.adapters.registration_lock import TortoiseLocks
from vyry.adapters.ring_files import read_keys, read_peppers
from vyry.adapters.rings import Rings
from vyry.adapters.sessions import TortoiseSessions
from vyry.adapters.shared_buckets import SharedBuckets
from vyry.adapters.sms import Keys, open_sender, webhook_key
from vyry.adapters.sqlite_mail import open_sqlite_mail
from vyry.adapters.tickets import RedisTickets
from vyry.adapters.witness import TortoiseLedger, WitnessFile
from vyry.circles.conversations import CachedConversations, Conversations
from vyry.clock import Clock, SystemClock
from vyry.counting import Buckets
from vyry.devices.directory import CachedDeviceLists
from vyry.devices.ledger import ClaimLedger
from vyry.devices.linking import Linking
from vyry.devices.prekeys import Prekeys
from vyry.devices.push import PushTargets
from vyry.errors import Unavailable
from vyry.limits import FRAMES, Limiter, Quota, Unlimited, Window, overridden
from vyry.mail.depositing import Depositor
from vyry.mail.mailbox import Mailboxes
from vyry.mail.notices import Notices
from vyry.mail.posting import PostOffice
from vyry.mail.routing import Doorbell, Mailbags, Router
from vyry.mail.store import MailStore
from vyry.settings import Role, Settings
from vyry.signals.places import Places
from vyry.signals.relay import Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a process of the node can do."""

    clock: Clock
    registration: Registration
    sessions: Sessions
    ending_watch: EndingWatch
    accounts: Accounts
    account_events: AccountEvents
    account_upkeep: AccountUpkeep
    deletion: Deletion
    exports: Exports
    idle_devices: IdleDevices
    pins: Pins
    own_pin: OwnPin
    devices: OwnDevices
    push_targets: PushTargets
    linking: Linking
    prekeys: Prekeys
    claim_ledger: ClaimLedger
    conversations: Conversations
    notices: Notices
    post_office: PostOffice
    mailboxes: Mailboxes
    mail_store: MailStore
    depositor: Depositor
    mailbags: Mailbags
    router: Router
    doorbell: Doorbell
    relay: Relay
    limiter: Limiter
    #: Limits on what happens per envelope or frame.
    buckets: Buckets
    #: Limits on open sockets, and on the frames of each (None: any number).
    places: Places
    frames: Window | None
    allowances: Allowances
    health: Health
    #: What an operator changes while nodes run.
    rings: Rings


@dataclass(frozen=True, slots=True)
class _Carriers:
    """What carries the domain in this process."""

    mail: MailStore
    redis: Redis
    doorbell: InProcessDoorbell | RedisDoorbell
    mailbags: InProcessMailbags | KafkaMailbags
    #: None where no other node counts.
    places: RedisPlaces | None


@asynccontextmanager
async def open_services(settings: Settings, role: Role) -> AsyncIterator[Services]:
    """Open everything, run the loops of the mail, and close it all in the other order. A loop that dies ends the process."""
    async with AsyncExitStack() as stack:
        database = settings.database_url.get_secret_value()
        await stack.enter_async_context(open_database(database))
        mail = await stack.enter_async_context(_open_mail(database))
        redis = await stack.enter_async_context(_open_redis(settings))
        is_alone = settings.redis_url is None
        doorbell = InProcessDoorbell() if is_alone else RedisDoorbell(redis)
        url = settings.kafka_url.get_secret_value() if settings.kafka_url else None
        mailbags = InProcessMailbags() if url is None else KafkaMailbags(url, settings.partitions)
        places = None if is_alone else RedisPlaces(redis, _limit_keys(settings))
        services = _wire(settings, _Carriers(mail, redis, doorbell, mailbags, places))
        loops = [
            services.post_office.run,
            services.post_office.note_activity,
            services.mailboxes.run,
            services.depositor.run,
            services.linking.run,
            services.claim_ledger.run,
        ]
        loops += [carrier.run for carrier in (doorbell, mailbags) if isinstance(carrier, RedisDoorbell | KafkaMailbags)]
        if places is not None:
            loops.append(SharedBuckets(redis, services.buckets, _limit_keys(settings)).run)
            loops.append(partial(places.run, services.places.held))
        if role is not Role.WORKER:
            with suppress(Unavailable):
                await services.rings.look()
            loops.append(services.rings.run)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(loop()) for loop in loops]
        stack.callback(lambda: [task.cancel() for task in running])
        yield services


def _open_mail(database: str) -> AbstractAsyncContextManager[MailStore]:
    if is_postgres(database):
        return open_postgres_mail(database)
    return open_sqlite_mail(Path(sqlite_path(database)), SystemClock())


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """Redis, or the same inside this process: one-shots and limits run the same scripts."""
    redis = connect_redis(settings.redis_url.get_secret_value()) if settings.redis_url else FakeAsyncRedis()
    try:
        yield redis
    finally:
        await redis.aclose()


@dataclass(frozen=True, slots=True)
class _Ground:
    """What most services stand on."""

    settings: Settings
    carriers: _Carriers
    clock: Clock
    quotas: Mapping[str, Quota]
    limiter: RedisLimiter | Unlimited
    pepper: Pepper
    pins: Pins
    tokens: Tokens
    codes: OneTimeCodes
    standings: Standings
    endings: Endings
    conversations: CachedConversations
    lists: CachedDeviceLists
    depositor: Depositor
    router: Router
    notices: Notices
    ledger: ClaimLedger

    @property
    def is_limited(self) -> bool:
        """Whether rates are counted."""
        return self.settings.limits == "on"


def _ground(settings: Settings, carriers: _Carriers) -> _Ground:
    clock, secret = SystemClock(), settings.jwt_secret.get_secret_value().encode()
    quotas = overridden(settings.limit_overrides)
    peppers = read_peppers(settings.pepper.get_secret_value())
    pepper = Pepper(peppers, min(peppers))
    sender = open_sender(
        settings.sms.get_secret_value(), Keys(secret, settings.sms_secret, settings.sms_url or ""), clock
    )
    standings = Standings(TortoiseSessions(), clock)
    keys = KeyRing(read_keys(settings.key_ring_file, secret), clock)
    depositor = Depositor(carriers.mail, carriers.doorbell)
    router = Router(carriers.mailbags, depositor)
    return _Ground(
        settings,
        carriers,
        clock,
        quotas,
        RedisLimiter(carriers.redis, quotas, _limit_keys(settings)) if settings.limits == "on" else Unlimited(),
        pepper,
        _pins(pepper, clock, quotas),
        Tokens(keys, settings.jwt_expiration, settings.refresh_token_expiration, clock),
        OneTimeCodes(TortoiseOtp(), sender, pepper, clock, _terms(settings, quotas)),
        standings,
        Endings(standings, carriers.doorbell),
        CachedConversations(TortoiseConversations()),
        CachedDeviceLists(TortoiseDeviceLists()),
        depositor,
        router,
        Notices(carriers.mail, router, clock, TortoiseNoticeOutbox()),
        ClaimLedger(TortoiseLedger(), WitnessFile(settings.data_dir), clock),
    )


def _wire(settings: Settings, carriers: _Carriers) -> Services:
    ground = _ground(settings, carriers)
    mail, clock = carriers.mail, ground.clock
    buckets, places = Buckets(ground.quotas, is_on=ground.is_limited), _places(ground)
    return Services(
        clock=clock,
        registration=_registration(ground),
        sessions=_sessions(ground),
        ending_watch=EndingWatch(TortoiseSessions(), ground.standings),
        accounts=Accounts(TortoiseAccounts(), ground.pepper),
        account_events=TortoiseAccountEvents(),
        account_upkeep=TortoiseAccountUpkeep(),
        deletion=_deletion(ground),
        exports=Exports(TortoiseArchive(mail), TortoiseAccounts(), ground.pepper, ground.limiter, clock),
        idle_devices=_idle_devices(ground),
        pins=ground.pins,
        own_pin=_own_pin(ground),
        devices=OwnDevices(TortoiseDevices(), ground.endings, clock),
        push_targets=PushTargets(TortoisePushTargets(), allows_plain=settings.env == "development"),
        linking=Linking(TortoiseLinks(), ground.pins, ground.limiter, ground.tokens, settings.max_devices),
        prekeys=Prekeys(TortoisePrekeys(), ground.limiter, clock, ground.notices, ground.ledger),
        claim_ledger=ground.ledger,
        conversations=Conversations(TortoiseConversations(), ground.limiter, clock),
        notices=ground.notices,
        post_office=_post_office(ground),
        mailboxes=Mailboxes(mail),
        mail_store=mail,
        depositor=ground.depositor,
        mailbags=carriers.mailbags,
        router=ground.router,
        doorbell=carriers.doorbell,
        relay=Relay(ground.conversations, TortoiseConversations(), ground.lists, carriers.doorbell),
        limiter=ground.limiter,
        buckets=buckets,
        places=places,
        frames=ground.quotas[FRAMES.name].windows[0] if ground.is_limited else None,
        allowances=_allowances(ground, buckets, places),
        health=_health(settings),
        rings=_rings(ground),
    )


def _places(ground: _Ground) -> Places:
    settings, carriers = ground.settings, ground.carriers
    return Places(ground.quotas, carriers.places, settings.max_sockets, is_on=ground.is_limited)


def _deletion(ground: _Ground) -> Deletion:
    proofs = Proofs(ground.codes, ground.pins, ground.pepper)
    return Deletion(TortoiseDeletion(), TortoiseAccounts(), proofs, ground.endings, ground.clock)


def _idle_devices(ground: _Ground) -> IdleDevices:
    lifetime = timedelta(days=ground.settings.idle_device_days)
    return IdleDevices(TortoiseIdleDevices(), ground.endings, ground.clock, lifetime)


def _limit_keys(settings: Settings) -> LimitKeys:
    # The oldest pepper: nodes that know a newer one already count with the others.
    peppers = read_peppers(settings.pepper.get_secret_value())
    return LimitKeys(peppers[min(peppers)])


def _allowances(ground: _Ground, buckets: Buckets, places: Places) -> Allowances:
    counters = Counters(TortoiseAccounts(), ground.codes, ground.pins, ground.limiter, buckets, places)
    return Allowances(ground.quotas, counters)


def _rings(ground: _Ground) -> Rings:
    settings = ground.settings
    files = (settings.key_ring_file, settings.pepper_file)
    secret = settings.jwt_secret.get_secret_value().encode()
    return Rings(files, (ground.tokens.keys, ground.pepper), secret, ground.clock)


def _registration(ground: _Ground) -> Registration:
    arrivals = Arrivals(TortoiseAccounts(), TortoiseLocks(), ground.pins, ground.tokens, ground.endings)
    return Registration(ground.codes, _door(ground), arrivals)


def _pins(pepper: Pepper, clock: Clock, quotas: Mapping[str, Quota]) -> Pins:
    window = quotas["pin_tries"].windows[0]
    return Pins(TortoisePins(), ArgonPins(), pepper, clock, Tries(window.limit, timedelta(seconds=window.seconds)))


def _own_pin(ground: _Ground) -> OwnPin:
    means = PinMeans(TortoisePins(), TortoiseAccounts(), ground.codes, ground.pepper, ground.clock)
    return OwnPin(ground.pins, means)


def _terms(settings: Settings, quotas: Mapping[str, Quota]) -> Terms:
    number, network = quotas["otp_number"].windows, quotas["otp_network"].windows
    prefix = Window(settings.sms_per_prefix, 3600) if settings.sms_per_prefix else None
    rules = Rules(number=number, network=network, prefix=prefix) if settings.limits == "on" else UNLIMITED
    cap = None if settings.sms_daily_cap is None else _millionths(settings.sms_daily_cap)
    prices = {country: _millionths(price) for country, price in settings.sms_prices.items()}
    tariff = Tariff(settings.sms_countries, _millionths(settings.sms_price or Decimal(0)), prices)
    return Terms(replace(rules, daily_cap=cap), tariff, quotas["otp_guesses"].windows[0].limit)


def _millionths(money: Decimal) -> int:
    return int(money * 1_000_000)


def _door(ground: _Ground) -> Door:
    if ground.settings.captcha is None:
        return OpenDoor()
    kind, _, target = ground.settings.captcha.get_secret_value().partition(":")
    if kind == "hashcash":
        return ProofOfWork(int(target), ground.clock)
    return WebhookDoor(target, webhook_key(ground.settings.jwt_secret.get_secret_value().encode()), ground.clock)


def _sessions(ground: _Ground) -> Sessions:
    tickets = RedisTickets(ground.carriers.redis)
    return Sessions(TortoiseSessions(), tickets, ground.tokens, ground.standings, ground.endings)


def _post_office(ground: _Ground) -> PostOffice:
    conversations = (ground.conversations, TortoiseConversations())
    return PostOffice(ground.carriers.mail, ground.lists, conversations, ground.router, ground.clock)


def _health(settings: Settings) -> Health:
    return Health(
        settings.database_url.get_secret_value(),
        settings.redis_url.get_secret_value() if settings.redis_url else None,
        settings.kafka_url.get_secret_value() if settings.kafka_url else None,
    )
