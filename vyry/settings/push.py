"""The settings of push: the identity of the node for push services, and its accounts with Google and Apple."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings

from vyry.kernel.url_safety import is_confidential, is_loopback
from vyry.settings.types import split_matching


_ACCOUNT: Final = ("project_id", "client_email", "token_uri", "private_key_id", "private_key")


def _contact(value: str) -> str:
    if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+|https://[^\s/]+(/\S*)?", value):
        raise ValueError("must be mailto:ADDRESS or https://...")
    return value


def _hosts(value: object) -> object:
    names = split_matching(
        value.lower() if isinstance(value, str) else value,
        r"[a-z0-9.\-]+(:[0-9]{1,5})?",
        "must be hosts such as ntfy.example.org or 192.168.1.5:8443, separated by commas",
    )
    if isinstance(names, tuple) and any(is_loopback(name) for name in names):
        raise ValueError(
            "must name a port of this machine, such as 127.0.0.1:8443: any other may be a service of its own"
        )
    return names


def vapid_path(given: Path | None, data_dir: Path) -> Path:
    """The file of the key that signs Web Push: VYRY_VAPID_KEY_FILE, or one in the data folder."""
    return given or data_dir / "vapid-key"


def _service(value: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\s]+", value):
        raise ValueError("must be an address such as https://api.sandbox.push.apple.com")
    return value


ServiceUrl = Annotated[str, AfterValidator(_service)]


class PushSettings(BaseSettings):
    """The push services."""

    #: The private key (P-256, PEM) that signs Web Push. `vyry start` and `vyry secrets` create it.
    vapid_key_file: Path | None = None
    #: The contact address for push services; Apple's requires one.
    push_contact: Annotated[str, AfterValidator(_contact)] | None = None
    #: Hosts in a private network that endpoints may name, at any port: the operator's push server. For this machine a port is required.
    push_hosts: Annotated[frozenset[str], BeforeValidator(_hosts)] = frozenset()
    #: The service account (JSON) of Firebase.
    fcm_file: Path | None = None
    fcm_url: ServiceUrl | None = None
    #: The key (.p8) of APNs, with its key id and team id.
    apns_key_file: Path | None = None
    apns_key_id: str | None = None
    apns_team_id: str | None = None
    apns_url: ServiceUrl | None = None


def push_conflicts(settings: PushSettings) -> Iterator[str]:
    """A line for each setting of push that does not go with the others."""
    given = [settings.apns_key_file, settings.apns_key_id, settings.apns_team_id]
    if any(given) and not all(given):
        yield "VYRY_APNS_KEY_FILE, VYRY_APNS_KEY_ID and VYRY_APNS_TEAM_ID belong together: set all three, or none."
    for name, path in (("VAPID_KEY", settings.vapid_key_file), ("APNS_KEY", settings.apns_key_file)):
        if path is not None and (name != "VAPID_KEY" or path.exists()) and "PRIVATE KEY-----" not in _read_text(path):
            yield f"VYRY_{name}_FILE must hold a private key (PEM) that can be read."
    if settings.fcm_file is not None and not _is_account(_read_text(settings.fcm_file)):
        yield "VYRY_FCM_FILE must hold the service account as Google gives it (JSON)."
    if settings.apns_url is not None and not settings.apns_url.startswith("https://"):
        yield "VYRY_APNS_URL must begin with https://."


def unsafe_push_settings(settings: PushSettings) -> Iterator[str]:
    """A line for each setting of push that production may not have."""
    if settings.fcm_url is not None and not is_confidential(settings.fcm_url):
        yield "VYRY_FCM_URL sends tokens unencrypted: production needs https://..."


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _is_account(text: str) -> bool:
    try:
        account = json.loads(text)
    except ValueError:
        return False
    return isinstance(account, dict) and all(isinstance(account.get(name), str) and account[name] for name in _ACCOUNT)
