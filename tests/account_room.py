"""Where account stores and services are tried: a clock that stands still, numbers, devices, and the stores over memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from vyry.accounts.account import AccountStore, DeviceStore, NewDevice, Platform, SignedUp
from vyry.accounts.arrival import Arrivals, NewSession
from vyry.accounts.deletion import DeletionStore
from vyry.accounts.door import OpenDoor
from vyry.accounts.lock import LockStore
from vyry.accounts.names import Usernames
from vyry.accounts.otp import Channel, NotSent, OneTimeCodes, OtpMessage, OtpStore, Purpose, Terms
from vyry.accounts.own_devices import OwnDevices
from vyry.accounts.own_pin import OwnPin, PinMeans
from vyry.accounts.phone import HiddenNumber, Pepper
from vyry.accounts.pin import Pins, Tries
from vyry.accounts.profile import Accounts
from vyry.accounts.registration import Asking, Registration
from vyry.accounts.sending import Rules
from vyry.accounts.sessions import Sessions
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.standings import Endings, Standings
from vyry.accounts.tokens import Tokens
from vyry.adapters.accounts import TortoiseAccounts
from vyry.adapters.argon import ArgonPins, Cost
from vyry.adapters.database import open_database
from vyry.adapters.deleting import TortoiseDeletion
from vyry.adapters.devices import TortoiseDevices
from vyry.adapters.memory_accounts import (
    AccountLedger,
    MemoryAccounts,
    MemoryDevices,
    MemorySessions,
    MemoryTickets,
)
from vyry.adapters.memory_deletion import MemoryDeletion
from vyry.adapters.memory_locks import MemoryLocks
from vyry.adapters.memory_otp import MemoryOtp
from vyry.adapters.memory_pin import MemoryPins
from vyry.adapters.otp import TortoiseOtp
from vyry.adapters.pin import TortoisePins
from vyry.adapters.registration_lock import TortoiseLocks
from vyry.adapters.sessions import TortoiseSessions
from vyry.errors import Unavailable
from vyry.ids import MailboxId, MailboxKey, UserId, new_id
from vyry.limits import OTP_NUMBER


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
SECRET = b"a secret of the tests, 32 bytes and more"
NUMBER = "+41791234567"
#: What a PIN costs to hash where nobody attacks.
CHEAP = Cost(memory_kib=8, passes=1)
#: A number is paced, as it always is; nothing else is counted.
PACED = Terms(Rules(number=OTP_NUMBER.windows[:1], total=(), network=(), prefix=None, has_breaker=False))


class StandingClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.moment = NOON
        #: What is confirmed while the clock is in doubt.
        self.sure: datetime | None = None

    def now(self) -> datetime:
        return self.moment

    def confirmed(self) -> datetime:
        return self.sure or self.moment

    def latest(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


@dataclass(slots=True)
class AccountStores:
    """Every store about accounts, on one database."""

    accounts: AccountStore
    devices: DeviceStore
    sessions: TortoiseSessions | MemorySessions
    otp: OtpStore
    pins: TortoisePins | MemoryPins
    locks: LockStore
    #: The row of the device that signed up last.
    last_device: UUID = field(default_factory=uuid4)
    deletion: DeletionStore = field(default_factory=TortoiseDeletion)

    async def sign_up(self, phone_hash: str = "a" * 64, *, refresh: str = "r0", at: datetime = NOON) -> SignedUp:
        """A new primary device for this number; its first refresh token has the hash given."""
        device = new_device(refresh, at)
        made = await self.accounts.sign_up(hidden(phone_hash), device, at)
        self.last_device = device.device
        return made


def hidden(phone_hash: str = "a" * 64) -> HiddenNumber:
    """A number that is stored under this hash."""
    return HiddenNumber(1, phone_hash, b"sealed", {1: phone_hash})


def new_device(refresh: str = "r0", at: datetime = NOON) -> NewDevice:
    """A device about to come to life."""
    return NewDevice(new_id(), MailboxId(new_id()), "phone", Platform.CLI, refresh, at + WEEK, at + timedelta(days=30))


@asynccontextmanager
async def open_stores(url: str | None) -> AsyncIterator[AccountStores]:
    """The stores on this database; in memory without a URL."""
    if url is None:
        ledger = AccountLedger()
        stores = (MemoryAccounts(ledger), MemoryDevices(ledger), MemorySessions(ledger))
        pins = (MemoryPins(ledger.pins), MemoryLocks(ledger))
        yield AccountStores(*stores, MemoryOtp(), *pins, deletion=MemoryDeletion(ledger))
        return
    async with open_database(url):
        stored = (TortoiseAccounts(), TortoiseDevices(), TortoiseSessions(), TortoiseOtp())
        yield AccountStores(*stored, TortoisePins(), TortoiseLocks())


@dataclass(slots=True)
class Post:
    """A sender that keeps what it sends, and breaks when told to."""

    sent: list[OtpMessage] = field(default_factory=list)
    is_broken: bool = False

    async def send(self, message: OtpMessage) -> None:
        self.sent.append(message)
        if self.is_broken:
            raise NotSent(is_certain=True)


@dataclass(slots=True)
class Ear:
    """Hears whose sockets must close, and whose settings have changed."""

    heard: list[MailboxKey] = field(default_factory=list)
    changed: set[UserId] = field(default_factory=set)
    is_deaf: bool = False

    async def ended(self, mailboxes: Collection[MailboxKey]) -> None:
        if self.is_deaf:
            raise Unavailable
        self.heard += mailboxes

    async def people_changed(self, users: Collection[UserId]) -> None:
        self.changed |= set(users)


class AccountRoom:
    """All services about accounts over one set of stores, as one node has them."""

    def __init__(self, stores: AccountStores, terms: Terms = PACED) -> None:
        self.stores = stores
        self.clock = StandingClock()
        self.post = Post()
        self.ear = Ear()
        self.pepper = Pepper(b"p" * 32)
        self.tokens = Tokens(KeyRing([SigningKey.first(SECRET)], self.clock), timedelta(hours=1), WEEK, self.clock)
        self.standings = Standings(stores.sessions, self.clock)
        endings = Endings(self.standings, self.ear)
        self.codes = OneTimeCodes(stores.otp, self.post, self.pepper, self.clock, terms)
        self.sessions = Sessions(stores.sessions, MemoryTickets(self.clock), self.tokens, self.standings, endings)
        # Crowds of one account are tried here: all of them may wait.
        self.pins = Pins(stores.pins, ArgonPins(CHEAP, each=1000), self.pepper, self.clock, Tries())
        self.arrivals = Arrivals(stores.accounts, stores.locks, self.pins, self.tokens, endings)
        self.registration = Registration(self.codes, OpenDoor(), self.arrivals)
        means = PinMeans(stores.pins, stores.accounts, self.codes, self.pepper, self.clock)
        self.own_pin = OwnPin(self.pins, means)
        self.accounts = Accounts(stores.accounts, self.pepper, self.ear, Usernames(stores.accounts, self.clock))
        self.devices = OwnDevices(stores.devices, endings, self.clock)

    async def sign_up(self, number: str = NUMBER) -> NewSession:
        """The whole way in, 31 s after whatever was before."""
        self.clock.advance(seconds=31)
        challenge = await self.request(number)
        made = await self.registration.verify_otp(challenge, self.post.sent[-1].otp, "phone", Platform.CLI)
        assert isinstance(made, NewSession)
        return made

    async def request(self, number: str = NUMBER, purpose: Purpose = Purpose.LOGIN) -> UUID:
        """A challenge whose code is the last one in the post."""
        sent = await self.registration.request_otp(number, purpose, Channel.SMS, Asking("192.0.2.7"))
        return sent.challenge_id
