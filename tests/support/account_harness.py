"""A harness for account stores and services: numbers, devices and a fake clock, over memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from tests.fakes.account_deletion import MemoryDeletion
from tests.fakes.accounts import (
    AccountState,
    MemoryAccounts,
    MemoryDevices,
    MemorySessions,
)
from tests.fakes.otp import MemoryOtp
from tests.fakes.pins import MemoryPins
from tests.fakes.recovery_codes import NoRecoveryCodes
from tests.fakes.unlock_tokens import MemoryUnlockTokens
from tests.support.fake_clock import NOON, FakeClock
from vyry.accounts.account import AccountStore, DeviceStore, NewDevice, Platform, SignupResult
from vyry.accounts.deletion import DeletionStore
from vyry.accounts.device_status import DeviceStatusCache, SessionRevocations
from vyry.accounts.otp import Channel, OneTimeCodes, OtpMessage, OtpOptions, OtpStore, Purpose, SendFailed
from vyry.accounts.otp_limits import OtpLimits
from vyry.accounts.own_devices import OwnDevices
from vyry.accounts.own_pin import OwnPin
from vyry.accounts.phone import HiddenNumber, Pepper
from vyry.accounts.pin import Pins, PinTryLimit
from vyry.accounts.profile import Accounts
from vyry.accounts.registration_lock import UnlockTokenStore
from vyry.accounts.sessions import Sessions
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.signup import NewSession, NoGuard, Registration, RequestOrigin, Signup
from vyry.accounts.tokens import Tokens
from vyry.accounts.usernames import Usernames
from vyry.errors import Unavailable
from vyry.in_process.pin_hasher import ArgonCost, ArgonPinHasher
from vyry.in_process.tickets import InProcessTickets
from vyry.kernel.ids import MailboxId, MailboxKey, UserId, new_id
from vyry.limits import OTP_NUMBER
from vyry.storage.account_deletion import TortoiseDeletion
from vyry.storage.accounts import TortoiseAccounts
from vyry.storage.database import open_database
from vyry.storage.devices import TortoiseDevices
from vyry.storage.otp import TortoiseOtp
from vyry.storage.pins import TortoisePins, TortoiseUnlockTokens
from vyry.storage.sessions import TortoiseSessions


WEEK = timedelta(days=7)
SECRET = b"a secret of the tests, 32 bytes and more"
NUMBER = "+41791234567"
#: What a PIN costs to hash where nobody attacks.
CHEAP_PIN_COST = ArgonCost(memory_kib=8, iterations=1)
#: A number is paced, as it always is; nothing else is counted.
RATE_LIMITED_TERMS = OtpOptions(
    OtpLimits(number=OTP_NUMBER.windows[:1], total=(), network=(), prefix=None, has_breaker=False)
)


@dataclass(slots=True)
class AccountStores:
    """Every store about accounts, on one database."""

    accounts: AccountStore
    devices: DeviceStore
    sessions: TortoiseSessions | MemorySessions
    otp: OtpStore
    pins: TortoisePins | MemoryPins
    locks: UnlockTokenStore
    #: The row of the device that signed up last.
    last_device: UUID = field(default_factory=uuid4)
    deletion: DeletionStore = field(default_factory=TortoiseDeletion)

    async def sign_up(self, phone_hash: str = "a" * 64, *, refresh: str = "r0", at: datetime = NOON) -> SignupResult:
        """A new primary device for this number; its first refresh token has the hash given."""
        device = new_device(refresh, at)
        made = await self.accounts.sign_up(stored_number(phone_hash), device, at)
        self.last_device = device.device
        return made


def stored_number(phone_hash: str = "a" * 64) -> HiddenNumber:
    """A number that is stored under this hash."""
    return HiddenNumber(1, phone_hash, b"sealed", {1: phone_hash})


def new_device(refresh: str = "r0", at: datetime = NOON) -> NewDevice:
    """A device about to come to life."""
    return NewDevice(new_id(), MailboxId(new_id()), "phone", Platform.CLI, refresh, at + WEEK, at + timedelta(days=30))


@asynccontextmanager
async def open_stores(url: str | None) -> AsyncIterator[AccountStores]:
    """The stores on this database; in memory without a URL."""
    if url is None:
        ledger = AccountState()
        stores = (MemoryAccounts(ledger), MemoryDevices(ledger), MemorySessions(ledger))
        pins = (MemoryPins(ledger.pins), MemoryUnlockTokens(ledger))
        yield AccountStores(*stores, MemoryOtp(), *pins, deletion=MemoryDeletion(ledger))
        return
    async with open_database(url):
        stored = (TortoiseAccounts(), TortoiseDevices(), TortoiseSessions(), TortoiseOtp())
        yield AccountStores(*stored, TortoisePins(), TortoiseUnlockTokens())


@dataclass(slots=True)
class RecordingOtpSender:
    """A sender that keeps what it sends, and breaks when told to."""

    sent: list[OtpMessage] = field(default_factory=list)
    is_broken: bool = False

    async def send(self, message: OtpMessage) -> None:
        self.sent.append(message)
        if self.is_broken:
            raise SendFailed(is_certain=True)


@dataclass(slots=True)
class RecordingAccountListener:
    """Hears whose sockets must close, and whose settings have changed."""

    ended_mailboxes: list[MailboxKey] = field(default_factory=list)
    changed_users: set[UserId] = field(default_factory=set)
    is_failing: bool = False

    async def close_sockets(self, mailboxes: Collection[MailboxKey]) -> None:
        if self.is_failing:
            raise Unavailable
        self.ended_mailboxes += mailboxes

    async def accounts_changed(self, users: Collection[UserId]) -> None:
        self.changed_users |= set(users)


class AccountHarness:
    """All services about accounts over one set of stores, as one node has them."""

    def __init__(self, stores: AccountStores, terms: OtpOptions = RATE_LIMITED_TERMS) -> None:
        self.stores = stores
        self.clock = FakeClock()
        self.otp_sender = RecordingOtpSender()
        self.listener = RecordingAccountListener()
        self.pepper = Pepper(b"p" * 32)
        self.tokens = Tokens(KeyRing([SigningKey.first(SECRET)], self.clock), timedelta(hours=1), WEEK, self.clock)
        self.standings = DeviceStatusCache(stores.sessions, self.clock)
        endings = SessionRevocations(self.standings, self.listener)
        self.codes = OneTimeCodes(stores.otp, self.otp_sender, self.pepper, self.clock, terms)
        self.sessions = Sessions(stores.sessions, InProcessTickets(self.clock), self.tokens, self.standings, endings)
        # Crowds of one account are tried here: all of them may wait.
        self.pins = Pins(stores.pins, ArgonPinHasher(CHEAP_PIN_COST, each=1000), self.pepper, self.clock, PinTryLimit())
        self.arrivals = Signup(stores.accounts, stores.locks, self.pins, self.tokens, endings)
        self.registration = Registration(self.codes, NoGuard(), self.arrivals)
        self.own_pin = OwnPin(
            self.pins,
            store=stores.pins,
            accounts=stores.accounts,
            codes=self.codes,
            recovery=NoRecoveryCodes(),
            pepper=self.pepper,
            clock=self.clock,
        )
        self.accounts = Accounts(stores.accounts, self.pepper, self.listener, Usernames(stores.accounts, self.clock))
        self.devices = OwnDevices(stores.devices, endings, self.clock)

    async def sign_up(self, number: str = NUMBER) -> NewSession:
        """The whole way in, 31 s after whatever was before."""
        self.clock.advance(seconds=31)
        challenge = await self.request_code(number)
        made = await self.registration.verify_otp(challenge, self.otp_sender.sent[-1].otp, "phone", Platform.CLI)
        assert isinstance(made, NewSession)
        return made

    async def request_code(self, number: str = NUMBER, purpose: Purpose = Purpose.LOGIN) -> UUID:
        """A challenge whose code is the last one in the post."""
        sent = await self.registration.request_otp(number, purpose, Channel.SMS, RequestOrigin("192.0.2.7"))
        return sent.challenge_id
