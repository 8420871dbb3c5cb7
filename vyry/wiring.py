"""What most services of a node stand on; vyry/bootstrap.py lays it once and wires everything else upon it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from redis.asyncio import Redis

from vyry.accounts.otp import OneTimeCodes
from vyry.accounts.otp import Terms as CodeTerms
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import Pins, Tries
from vyry.accounts.pin_checks import CountedHasher
from vyry.accounts.sending import UNLIMITED, Rules, Tariff
from vyry.accounts.signing import KeyRing
from vyry.accounts.standings import Endings, Standings
from vyry.accounts.tokens import Tokens
from vyry.adapters.argon import ArgonPins
from vyry.adapters.attachments import TortoiseAttachments
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.disk_parts import DiskParts
from vyry.adapters.held_notices import TortoiseHeldNotices
from vyry.adapters.in_process import InProcessDoorbell, InProcessMailbags
from vyry.adapters.kafka import KafkaMailbags
from vyry.adapters.limiter import LimitKeys, RedisLimiter
from vyry.adapters.notices import TortoiseNoticeOutbox
from vyry.adapters.otp import TortoiseOtp
from vyry.adapters.pin import TortoisePins
from vyry.adapters.places import RedisPlaces
from vyry.adapters.prekeys import TortoiseDeviceLists
from vyry.adapters.presence import InProcessPresence, RedisPresence
from vyry.adapters.presence_people import TortoiseShowing
from vyry.adapters.redis import RedisDoorbell
from vyry.adapters.ring_files import read_keys, read_peppers
from vyry.adapters.s3_parts import S3Place, in_s3
from vyry.adapters.sessions import TortoiseSessions
from vyry.adapters.sms import Keys, open_sender
from vyry.adapters.witness import TortoiseLedger, WitnessFile
from vyry.circles.conversations import CachedConversations
from vyry.clock import CheckedClock, Clock
from vyry.counting import Buckets
from vyry.devices.directory import CachedDeviceLists
from vyry.devices.ledger import ClaimLedger
from vyry.files.attachments import MIB, PartStore, Terms
from vyry.files.uploading import Keeping
from vyry.limits import Quota, Unlimited, Window, overridden
from vyry.mail.depositing import Depositor
from vyry.mail.notices import Notices
from vyry.mail.routing import Changes, Router
from vyry.mail.store import MailStore
from vyry.settings import Settings
from vyry.signals.presence import Presence, PresencePace


@dataclass(frozen=True, slots=True)
class Carriers:
    """What carries the domain in this process."""

    mail: MailStore
    redis: Redis
    doorbell: InProcessDoorbell | RedisDoorbell
    mailbags: InProcessMailbags | KafkaMailbags
    #: None where no other node counts.
    places: RedisPlaces | None


@dataclass(frozen=True, slots=True)
class Ground:
    """What most services stand on."""

    settings: Settings
    carriers: Carriers
    clock: CheckedClock
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
    changes: Changes
    #: Limits on what happens per envelope or frame, and on PINs.
    buckets: Buckets

    @property
    def is_limited(self) -> bool:
        """Whether rates are counted."""
        return self.settings.limits == "on"


def lay_ground(settings: Settings, carriers: Carriers, clock: CheckedClock) -> Ground:
    """What the services of this process will stand on."""
    secret = settings.jwt_secret.get_secret_value().encode()
    quotas = overridden(settings.limit_overrides)
    buckets = Buckets(quotas, is_on=settings.limits == "on")
    peppers = read_peppers(settings.pepper.get_secret_value())
    pepper = Pepper(peppers, min(peppers))
    sender = open_sender(
        settings.sms.get_secret_value(), Keys(secret, settings.sms_secret, settings.sms_url or ""), clock
    )
    standings = Standings(TortoiseSessions(), clock)
    keys = KeyRing(read_keys(settings.key_ring_file, secret), clock)
    depositor = Depositor(carriers.mail, carriers.doorbell)
    router = Router(carriers.mailbags, depositor)
    return Ground(
        settings,
        carriers,
        clock,
        quotas,
        RedisLimiter(carriers.redis, quotas, limit_keys(settings)) if settings.limits == "on" else Unlimited(),
        pepper,
        _pins(pepper, clock, quotas["pin_tries"].windows[0], buckets),
        Tokens(keys, settings.jwt_expiration, settings.refresh_token_expiration, clock),
        OneTimeCodes(TortoiseOtp(), sender, pepper, clock, _terms(settings, quotas)),
        standings,
        Endings(standings, carriers.doorbell),
        CachedConversations(TortoiseConversations()),
        CachedDeviceLists(TortoiseDeviceLists()),
        depositor,
        router,
        Notices(carriers.mail, router, clock, TortoiseNoticeOutbox(), TortoiseHeldNotices()),
        ClaimLedger(TortoiseLedger(), WitnessFile(settings.data_dir), clock),
        Changes(carriers.doorbell),
        buckets,
    )


def limit_keys(settings: Settings) -> LimitKeys:
    """What hides whom the shared counters count."""
    # The oldest pepper: nodes that know a newer one already count with the others.
    peppers = read_peppers(settings.pepper.get_secret_value())
    return LimitKeys(peppers[min(peppers)])


def open_presence(ground: Ground) -> Presence:
    """The presence of this node's sockets and of whom they watch."""
    carriers, pace = ground.carriers, PresencePace(lease=ground.settings.presence_seconds)
    if isinstance(carriers.doorbell, RedisDoorbell):
        return Presence(RedisPresence(carriers.redis, carriers.doorbell, pace), TortoiseShowing(), pace)
    return Presence(InProcessPresence(pace), TortoiseShowing(), pace)


def keep_files(settings: Settings, clock: Clock) -> Keeping:
    """Where the attachments of this node are kept."""
    terms = Terms(
        most_bytes=settings.attachment_mib * MIB,
        quota_bytes=settings.attachment_quota_mib * MIB,
        kept=timedelta(days=settings.attachment_days),
    )
    return Keeping(TortoiseAttachments(), _parts(settings), terms, clock)


def _parts(settings: Settings) -> PartStore:
    if settings.bucket is None:
        folder = Path(settings.attachments or settings.data_dir / "attachments").absolute()
        return DiskParts(folder, settings.attachment_reserve_mib * MIB)
    name, prefix = settings.bucket
    key, endpoint = settings.s3_access_key or "", settings.s3_endpoint
    return in_s3(S3Place(name, prefix, settings.s3_region, key, settings.s3_secret, endpoint))


def _pins(pepper: Pepper, clock: Clock, tries: Window, buckets: Buckets) -> Pins:
    most = Tries(tries.limit, timedelta(seconds=tries.seconds))
    return Pins(TortoisePins(), CountedHasher(ArgonPins(), buckets), pepper, clock, most)


def _terms(settings: Settings, quotas: Mapping[str, Quota]) -> CodeTerms:
    number, total, network = (quotas[name].windows for name in ("otp_number", "otp_total", "otp_network"))
    prefix = Window(settings.sms_per_prefix, 3600) if settings.sms_per_prefix else None
    rules = Rules(number=number, total=total, network=network, prefix=prefix) if settings.limits == "on" else UNLIMITED
    cap = None if settings.sms_daily_cap is None else _millionths(settings.sms_daily_cap)
    prices = {country: _millionths(price) for country, price in settings.sms_prices.items()}
    tariff = Tariff(settings.sms_countries, _millionths(settings.sms_price or Decimal(0)), prices)
    return CodeTerms(replace(rules, daily_cap=cap), tariff, quotas["otp_guesses"].windows[0].limit)


def _millionths(money: Decimal) -> int:
    return int(money * 1_000_000)
