"""The wiring of push, part of vyry/bootstrap.py: who carries wake-ups, by the operator's settings."""

from dataclasses import dataclass
from pathlib import Path

from vyry.adapters.apns import APNS_URL, Apns, ApnsKey
from vyry.adapters.fcm import FCM_URL, Fcm, ServiceAccount
from vyry.adapters.push_sealing import Vapid, make_key
from vyry.adapters.push_targets import TortoisePushTargets
from vyry.adapters.wakes import TortoiseWakes
from vyry.adapters.web_push import WebPush
from vyry.clock import Clock
from vyry.devices.endpoints import Reach
from vyry.devices.push import PushKind, PushTargets
from vyry.devices.waking import Lane, Pusher, Unset, Wakes
from vyry.settings import Role, Settings
from vyry.telemetry import log


#: How many wake-ups of a lane are under way at once.
WEB_WIDTH, FCM_WIDTH, APNS_WIDTH = 128, 64, 64


@dataclass(frozen=True, slots=True)
class Push:
    """How devices are woken."""

    targets: PushTargets
    wakes: Wakes


def vapid_path(settings: Settings) -> Path:
    """Where the key lies that signs Web Push."""
    return settings.vapid_key_file or settings.data_dir / "vapid-key"


def _vapid(settings: Settings, role: Role, clock: Clock) -> Vapid | None:
    """The key of Web Push; a node that is alone makes it. None, with a line that says so, where there is none."""
    path = vapid_path(settings)
    if role is Role.ALONE:
        make_key(path)
    if not path.exists():
        log.info("no web push", reason="there is no VAPID key: vyry secrets makes one for all nodes")
        return None
    return Vapid(path.read_bytes(), settings.push_contact, clock)


def open_push(settings: Settings, role: Role, clock: Clock) -> Push:
    """What devices may say about being woken, and who wakes them: a lane for each that may hang by itself."""
    vapid, reach = _vapid(settings, role, clock), Reach(settings.push_hosts)
    targets = PushTargets(TortoisePushTargets(), vapid.public_key if vapid else None, reach)
    web = WebPush(vapid, clock, reach)
    lanes = [
        Lane((PushKind.WEBPUSH, PushKind.UNIFIEDPUSH), web, WEB_WIDTH),
        Lane((PushKind.FCM,), _fcm(settings, clock), FCM_WIDTH),
        Lane((PushKind.APNS,), _apns(settings, clock), APNS_WIDTH),
    ]
    return Push(targets, Wakes(TortoiseWakes(), lanes))


def _fcm(settings: Settings, clock: Clock) -> Pusher:
    if settings.fcm_file is None:
        return Unset()
    return Fcm(ServiceAccount.read(settings.fcm_file.read_bytes()), clock, settings.fcm_url or FCM_URL)


def _apns(settings: Settings, clock: Clock) -> Pusher:
    if settings.apns_key_file is None:
        return Unset()
    pem = settings.apns_key_file.read_text(encoding="utf-8")
    key = ApnsKey(settings.apns_key_id or "", settings.apns_team_id or "", pem)
    return Apns(key, clock, settings.apns_url or APNS_URL)
