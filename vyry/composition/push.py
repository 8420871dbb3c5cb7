"""Push: the providers that the settings name, each in a pool of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vyry.clock import Clock
from vyry.delivery.push.apns import APNS_URL, ApnsKey, ApnsPusher
from vyry.delivery.push.fcm import FCM_URL, FcmPusher, ServiceAccount
from vyry.delivery.push.web_push import WebPusher
from vyry.delivery.push.web_push_crypto import VapidSigner, create_vapid_key
from vyry.devices.endpoints import EndpointPolicy
from vyry.devices.push import PushKind, PushTargets
from vyry.devices.push_wakeups import DisabledPusher, Pusher, PushPool, WakeupSender
from vyry.settings.settings import Role, Settings
from vyry.storage.push import TortoisePushTargets, TortoiseWakeups
from vyry.telemetry import log


#: Wake-ups of a pool that are sent at the same time.
WEB_PUSH_CONCURRENCY, FCM_CONCURRENCY, APNS_CONCURRENCY = 128, 64, 64


@dataclass(frozen=True, slots=True)
class PushServices:
    """The push targets of devices, and the sender of wake-ups."""

    targets: PushTargets
    wakeups: WakeupSender


def vapid_path(settings: Settings) -> Path:
    """The file of the key that signs Web Push."""
    return settings.vapid_key_file or settings.data_dir / "vapid-key"


def _load_vapid(settings: Settings, role: Role, clock: Clock) -> VapidSigner | None:
    """The key of Web Push, which `vyry start` creates. None, with a log line, where there is no file."""
    path = vapid_path(settings)
    if role is Role.START:
        create_vapid_key(path)
    if not path.exists():
        if role is not Role.TOOL:
            log.info("web_push_disabled", reason="No VAPID key; create one for all nodes with `vyry secrets`.")
        return None
    return VapidSigner(path.read_bytes(), settings.push_contact, clock)


def build_push(settings: Settings, role: Role, clock: Clock) -> PushServices:
    """Build push with one pool for each provider, so that a provider that hangs delays no other."""
    vapid = _load_vapid(settings, role, clock)
    policy = EndpointPolicy(settings.push_hosts)
    targets = PushTargets(TortoisePushTargets(), vapid.public_key if vapid else None, policy)
    return PushServices(targets, WakeupSender(TortoiseWakeups(), _build_pools(settings, clock, vapid)))


def build_pools(settings: Settings, clock: Clock) -> Sequence[PushPool]:
    """The pools, for one push by a command."""
    return _build_pools(settings, clock, _load_vapid(settings, Role.TOOL, clock))


def _build_pools(settings: Settings, clock: Clock, vapid: VapidSigner | None) -> Sequence[PushPool]:
    """One pool for each provider."""
    web = WebPusher(vapid, clock, EndpointPolicy(settings.push_hosts))
    return [
        PushPool((PushKind.WEBPUSH, PushKind.UNIFIEDPUSH), web, WEB_PUSH_CONCURRENCY),
        PushPool((PushKind.FCM,), _fcm(settings, clock), FCM_CONCURRENCY),
        PushPool((PushKind.APNS,), _apns(settings, clock), APNS_CONCURRENCY),
    ]


def _fcm(settings: Settings, clock: Clock) -> Pusher:
    if settings.fcm_file is None:
        return DisabledPusher()
    return FcmPusher(ServiceAccount.read(settings.fcm_file.read_bytes()), clock, settings.fcm_url or FCM_URL)


def _apns(settings: Settings, clock: Clock) -> Pusher:
    if settings.apns_key_file is None:
        return DisabledPusher()
    pem = settings.apns_key_file.read_text(encoding="utf-8")
    key = ApnsKey(settings.apns_key_id or "", settings.apns_team_id or "", pem)
    return ApnsPusher(key, clock, settings.apns_url or APNS_URL)
