"""The one place that wires: from settings to the services of a process. Nothing else names an adapter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
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
from vyry.accounts.names import Usernames
from vyry.accounts.own_devices import OwnDevices
from vyry.accounts.own_pin import OwnPin, PinMeans
from vyry.accounts.pin import Pins
from vyry.accounts.profile import Accounts
from vyry.accounts.registration import Registration
from vyry.accounts.sessions import Sessions
from vyry.accounts.standings import EndingWatch
from vyry.adapters.account_events import TortoiseAccountEvents
from vyry.adapters.account_upkeep import TortoiseAccountUpkeep
from vyry.adapters.accounts import TortoiseAccounts
from vyry.adapters.archive import TortoiseArchive
from vyry.adapters.attachments import TortoiseAttachmentUpkeep
from vyry.adapters.blocks import TortoiseBlocks
from vyry.adapters.calls import TortoiseCalls
from vyry.adapters.captcha import WebhookDoor
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.clock_store import TortoiseClock
from vyry.adapters.database import is_postgres, open_database, sqlite_path
from vyry.adapters.deleting import TortoiseDeletion
from vyry.adapters.devices import TortoiseDevices
from vyry.adapters.friends import TortoiseFriends
from vyry.adapters.groups import TortoiseGroups
from vyry.adapters.health import Health
from vyry.adapters.idle_devices import TortoiseIdleDevices
from vyry.adapters.in_process import InProcessDoorbell, InProcessMailbags
from vyry.adapters.invitations import TortoiseInvitations
from vyry.adapters.invites import TortoiseInvites
from vyry.adapters.kafka import KafkaMailbags
from vyry.adapters.links import TortoiseLinks
from vyry.adapters.people import TortoisePeople
from vyry.adapters.pin import TortoisePins
from vyry.adapters.places import RedisPlaces
from vyry.adapters.postgres_mail import open_postgres_mail
from vyry.adapters.prekeys import TortoisePrekeys
from vyry.adapters.receipts import TortoiseReceipts
from vyry.adapters.redis import RedisDoorbell, connect_redis
from vyry.adapters.registration_lock import TortoiseLocks
from vyry.adapters.rings import Rings
from vyry.adapters.sessions import TortoiseSessions
from vyry.adapters.shared_buckets import SharedBuckets
from vyry.adapters.sms import webhook_key
from vyry.adapters.sqlite_mail import open_sqlite_mail
from vyry.adapters.tickets import RedisTickets
from vyry.adapters.typing_people import TortoiseQuiet
from vyry.circles.blocks import Blocks
from vyry.circles.conversations import CachedConversations, Conversations
from vyry.circles.friends import Friends
from vyry.circles.groups import Groups
from vyry.circles.invitations import Invitations
from vyry.circles.invites import Invites
from vyry.circles.people import People
from vyry.clock import CheckedClock, Clock, SteadyClock
from vyry.clock_watch import ClockWatch
from vyry.counting import Buckets
from vyry.devices.ledger import ClaimLedger
from vyry.devices.linking import Linking
from vyry.devices.prekeys import Prekeys
from vyry.devices.waking import Wakes
from vyry.errors import Unavailable
from vyry.files.service import Attachments
from vyry.files.upkeep import AttachmentUpkeep
from vyry.limits import FRAMES, USERNAMES, Limiter, Window
from vyry.mail.depositing import Depositor
from vyry.mail.mailbox import Mailboxes
from vyry.mail.notices import Notices
from vyry.mail.posting import PostOffice
from vyry.mail.receipts import Receipts
from vyry.mail.routing import Doorbell, Mailbags, Router
from vyry.mail.store import MailStore
from vyry.push_wiring import Push, open_push
from vyry.settings import Role, Settings
from vyry.signals.calls import Calls
from vyry.signals.places import Places
from vyry.signals.presence import Presence
from vyry.signals.turn import Turn
from vyry.signals.typists import Typists
from vyry.wiring import Carriers, Ground, keep_files, lay_ground, limit_keys, open_presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is passed on and never stored."""

    typists: Typists
    calls: Calls
    turn: Turn
    presence: Presence
    #: What typists and others remember of conversations.
    conversations: CachedConversations


@dataclass(frozen=True, slots=True, kw_only=True)
class Circles:
    """People and what is between them."""

    people: People
    friends: Friends
    blocks: Blocks
    groups: Groups
    invites: Invites
    invitations: Invitations
    receipts: Receipts


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Attachments, and clearing them away."""

    attachments: Attachments
    upkeep: AttachmentUpkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a process of the node can do."""

    clock_watch: ClockWatch
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
    push: Push
    linking: Linking
    prekeys: Prekeys
    claim_ledger: ClaimLedger
    circles: Circles
    files: Files
    conversations: Conversations
    notices: Notices
    post_office: PostOffice
    mailboxes: Mailboxes
    mail_store: MailStore
    depositor: Depositor
    mailbags: Mailbags
    router: Router
    doorbell: Doorbell
    signals: Signals
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

    @property
    def clock(self) -> Clock:
        """What all of it asks for the time."""
        return self.clock_watch.clock


@asynccontextmanager
async def open_services(settings: Settings, role: Role) -> AsyncIterator[Services]:
    """Open everything, run the loops of the mail, and close it all in the other order. A loop that dies ends the process."""
    async with AsyncExitStack() as stack:
        database = settings.database_url.get_secret_value()
        await stack.enter_async_context(open_database(database))
        clock = CheckedClock()
        mail = await stack.enter_async_context(_open_mail(database, clock))
        redis = await stack.enter_async_context(_open_redis(settings))
        is_alone = settings.redis_url is None
        doorbell = InProcessDoorbell() if is_alone else RedisDoorbell(redis)
        url = settings.kafka_url.get_secret_value() if settings.kafka_url else None
        mailbags = InProcessMailbags() if url is None else KafkaMailbags(url, settings.partitions)
        places = None if is_alone else RedisPlaces(redis, limit_keys(settings))
        services = _wire(lay_ground(settings, Carriers(mail, redis, doorbell, mailbags, places), clock), role)
        await _look_first(services, role)
        loops = [
            services.post_office.run,
            services.post_office.note_activity,
            services.mailboxes.run,
            services.depositor.run,
            services.linking.run,
            services.claim_ledger.run,
            services.clock_watch.run,
        ]
        loops += [carrier.run for carrier in (doorbell, mailbags) if isinstance(carrier, RedisDoorbell | KafkaMailbags)]
        if places is not None:
            loops.append(SharedBuckets(redis, services.buckets, limit_keys(settings)).run)
            loops.append(partial(places.run, services.places.held))
        if role is not Role.WORKER:
            loops.append(services.rings.run)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(loop()) for loop in loops]
        stack.callback(lambda: [task.cancel() for task in running])
        yield services


async def _look_first(services: Services, role: Role) -> None:
    """What is better known before anybody is served; while the database is away the loops look again."""
    with suppress(Unavailable):
        await services.clock_watch.look()
        if role is not Role.WORKER:
            await services.rings.look()


def _open_mail(database: str, clock: Clock) -> AbstractAsyncContextManager[MailStore]:
    if is_postgres(database):
        return open_postgres_mail(database, clock)
    return open_sqlite_mail(Path(sqlite_path(database)), clock)


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """Redis, or the same inside this process: one-shots and limits run the same scripts."""
    redis = connect_redis(settings.redis_url.get_secret_value()) if settings.redis_url else FakeAsyncRedis()
    try:
        yield redis
    finally:
        await redis.aclose()


def _wire(ground: Ground, role: Role) -> Services:
    places, push = _places(ground), open_push(ground.settings, role, ground.clock)
    return Services(
        clock_watch=ClockWatch(ground.clock, TortoiseClock()),
        registration=_registration(ground),
        sessions=_sessions(ground),
        ending_watch=EndingWatch(TortoiseSessions(), ground.standings),
        accounts=Accounts(TortoiseAccounts(), ground.pepper, ground.changes, _usernames(ground)),
        account_events=TortoiseAccountEvents(),
        account_upkeep=TortoiseAccountUpkeep(),
        deletion=_deletion(ground),
        exports=_exports(ground),
        idle_devices=_idle_devices(ground),
        pins=ground.pins,
        own_pin=_own_pin(ground),
        devices=OwnDevices(TortoiseDevices(), ground.endings, ground.clock),
        push=push,
        linking=Linking(TortoiseLinks(), ground.pins, ground.limiter, ground.tokens, ground.settings.max_devices),
        prekeys=Prekeys(TortoisePrekeys(), ground.limiter, ground.clock, ground.notices, ground.ledger),
        claim_ledger=ground.ledger,
        circles=_circles(ground),
        files=_files(ground),
        conversations=Conversations(TortoiseConversations(), ground.limiter, ground.clock),
        notices=ground.notices,
        post_office=_post_office(ground),
        mailboxes=Mailboxes(ground.carriers.mail),
        mail_store=ground.carriers.mail,
        depositor=ground.depositor,
        mailbags=ground.carriers.mailbags,
        router=ground.router,
        doorbell=ground.carriers.doorbell,
        signals=_signals(ground, push.wakes),
        limiter=ground.limiter,
        buckets=ground.buckets,
        places=places,
        frames=ground.quotas[FRAMES.name].windows[0] if ground.is_limited else None,
        allowances=_allowances(ground, places),
        health=_health(ground.settings),
        rings=_rings(ground),
    )


def _places(ground: Ground) -> Places:
    settings, carriers = ground.settings, ground.carriers
    return Places(ground.quotas, carriers.places, settings.max_sockets, is_on=ground.is_limited)


def _deletion(ground: Ground) -> Deletion:
    proofs = Proofs(ground.codes, ground.pins, ground.pepper)
    return Deletion(TortoiseDeletion(), TortoiseAccounts(), proofs, ground.endings, ground.clock)


def _exports(ground: Ground) -> Exports:
    archive = TortoiseArchive(ground.carriers.mail)
    return Exports(archive, TortoiseAccounts(), ground.pepper, ground.limiter, ground.clock)


def _signals(ground: Ground, wakes: Wakes) -> Signals:
    doorbell = ground.carriers.doorbell
    return Signals(
        typists=Typists(ground.conversations, ground.lists, doorbell, TortoiseQuiet(), SteadyClock()),
        calls=Calls(
            TortoiseConversations(), ground.lists, (doorbell, wakes), (TortoiseCalls(), ground.limiter), ground.clock
        ),
        turn=Turn(ground.settings.turn_urls, ground.settings.turn_secret, ground.settings.turn_seconds),
        presence=open_presence(ground),
        conversations=ground.conversations,
    )


def _circles(ground: Ground) -> Circles:
    return Circles(
        people=People(TortoisePeople(), ground.pepper, ground.limiter),
        friends=Friends(TortoiseFriends(), ground.limiter, ground.clock, ground.changes),
        blocks=Blocks(TortoiseBlocks(), ground.clock, ground.changes),
        groups=Groups(TortoiseGroups(), ground.changes, ground.limiter, ground.clock),
        invites=Invites(TortoiseInvites(), ground.changes, ground.clock),
        invitations=Invitations(TortoiseInvitations(), ground.changes, ground.clock),
        receipts=Receipts(ground.carriers.mail.upkeep, TortoiseReceipts()),
    )


def _files(ground: Ground) -> Files:
    keeping = keep_files(ground.settings, ground.clock)
    upkeep = AttachmentUpkeep(TortoiseAttachmentUpkeep(), keeping.store, ground.clock)
    return Files(attachments=Attachments(keeping, ground.limiter), upkeep=upkeep)


def _idle_devices(ground: Ground) -> IdleDevices:
    lifetime = timedelta(days=ground.settings.idle_device_days)
    return IdleDevices(TortoiseIdleDevices(), ground.endings, ground.clock, lifetime)


def _usernames(ground: Ground) -> Usernames:
    return Usernames(TortoiseAccounts(), ground.clock, ground.quotas[USERNAMES.name])


def _allowances(ground: Ground, places: Places) -> Allowances:
    counters = Counters(
        TortoiseAccounts(), _usernames(ground), ground.codes, ground.pins, ground.limiter, ground.buckets, places
    )
    return Allowances(ground.quotas, counters)


def _rings(ground: Ground) -> Rings:
    settings = ground.settings
    files = (settings.key_ring_file, settings.pepper_file)
    secret = settings.jwt_secret.get_secret_value().encode()
    return Rings(files, (ground.tokens.keys, ground.pepper), secret, ground.clock)


def _registration(ground: Ground) -> Registration:
    arrivals = Arrivals(TortoiseAccounts(), TortoiseLocks(), ground.pins, ground.tokens, ground.endings)
    return Registration(ground.codes, _door(ground), arrivals)


def _own_pin(ground: Ground) -> OwnPin:
    means = PinMeans(TortoisePins(), TortoiseAccounts(), ground.codes, ground.pepper, ground.clock)
    return OwnPin(ground.pins, means)


def _door(ground: Ground) -> Door:
    if ground.settings.captcha is None:
        return OpenDoor()
    kind, _, target = ground.settings.captcha.get_secret_value().partition(":")
    if kind == "hashcash":
        return ProofOfWork(int(target), ground.clock)
    return WebhookDoor(target, webhook_key(ground.settings.jwt_secret.get_secret_value().encode()), ground.clock)


def _sessions(ground: Ground) -> Sessions:
    tickets = RedisTickets(ground.carriers.redis)
    return Sessions(TortoiseSessions(), tickets, ground.tokens, ground.standings, ground.endings)


def _post_office(ground: Ground) -> PostOffice:
    conversations = (ground.conversations, TortoiseConversations(), TortoiseReceipts())
    office = PostOffice(ground.carriers.mail, ground.lists, conversations, ground.router, ground.clock)
    office.longest_life = ground.settings.max_life_seconds
    return office


def _health(settings: Settings) -> Health:
    return Health(
        settings.database_url.get_secret_value(),
        settings.redis_url.get_secret_value() if settings.redis_url else None,
        settings.kafka_url.get_secret_value() if settings.kafka_url else None,
    )
