"""Secrets that tests hand to nodes, remembered, and the forms in which each of them might turn up where it must not.

Every request and answer of tests/support/rest_device.py passes `note`. What is sealed, hashed or keyed is not the canary and may be kept.
"""

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final


#: Members of bodies, requests and answers alike, that hold a secret.
SECRET_FIELDS: Final = {
    "phoneNumber": "phone number",
    "phoneNumbers": "phone number",
    "otp": "one-time code",
    "pin": "PIN",
    "currentPin": "PIN",
    "newPin": "PIN",
    "accessToken": "access token",
    "refreshToken": "refresh token",
    "registrationToken": "registration token",
    "inviteToken": "invitation token",
    "recoveryCode": "recovery code",
    "ticket": "socket ticket",
    "linkSecret": "link secret",
    "linkToken": "link token",
    "token": "invite token",
    "endpoint": "push endpoint",
    "auth": "push secret",
    "credential": "TURN credential",
}
#: Shorter ones are found by accident: a code of six digits counts only where it stands alone.
_LONG: Final = 10
#: The masked number of an account: what its owner is shown.
_MASKED: Final = "•"

noted_secrets: Final[dict[str, set[str]]] = defaultdict(set)


def note_secrets(said: object) -> None:
    """Remember every secret that this body holds, however deep."""
    match said:
        case dict():
            for name, value in said.items():
                for each in value if isinstance(value, list) else [value]:
                    if name in SECRET_FIELDS and isinstance(each, str) and _MASKED not in each:
                        noted_secrets[SECRET_FIELDS[name]].add(each)
                note_secrets(value)
        case list():
            for value in said:
                note_secrets(value)
        case _:
            pass


@contextmanager
def collect_secrets() -> Iterator[list[tuple[str, bytes]]]:
    """The secrets, short ones too, that are noted in this block: its list is filled at the end."""
    before, fresh = {kind: set(values) for kind, values in noted_secrets.items()}, list[tuple[str, bytes]]()
    yield fresh
    fresh += [
        (kind, each.encode()) for kind, values in noted_secrets.items() for each in values - before.get(kind, set())
    ]


def long_secrets() -> list[tuple[str, bytes]]:
    """All secrets noted so far that are not found by accident."""
    return [(kind, each.encode()) for kind, values in noted_secrets.items() for each in values if len(each) >= _LONG]


@dataclass(frozen=True, slots=True)
class FoundSecret:
    """A canary that was seen: what it is and where, never itself."""

    kind: str
    location: str


def scan(canaries: Iterable[tuple[str, bytes]], places: Iterable[tuple[str, bytes]]) -> set[FoundSecret]:
    """Which of these (kind, secret) are seen at which of these (place, content), in any of their forms."""
    secrets = [(kind, form) for kind, secret in canaries for form in encodings_of(secret)]
    return {FoundSecret(kind, place) for place, content in places for kind, form in secrets if _is_in(form, content)}


def scan_plain_form(canaries: Iterable[tuple[str, bytes]], places: Iterable[tuple[str, bytes]]) -> set[FoundSecret]:
    """As `sweep`, for thousands of canaries in their plain form alone."""
    secrets = [(kind, secret.removeprefix(b"+")) for kind, secret in canaries]
    return {FoundSecret(kind, place) for place, content in places for kind, secret in secrets if secret in content}


def encodings_of(secret: bytes) -> Iterator[bytes]:
    """The secret itself, in hex and in base64 at each of the three places it can begin in a longer text."""
    yield secret.removeprefix(b"+")
    if len(secret) < _LONG:
        return
    yield secret.hex().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # The first and the last characters depend on what stands beside it.
            yield encode(bytes(shift) + secret)[4:-4]


def _is_in(form: bytes, content: bytes) -> bool:
    if form not in content:
        return False
    return len(form) >= _LONG or re.search(rb"(?<![\w.+-])" + re.escape(form) + rb"(?![\w.-])", content) is not None
