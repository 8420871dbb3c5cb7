"""Fuzz targets behind the doors: tokens, numbers, keys, envelopes, and what nodes tell each other. Only refusals of ours may leave."""

import hmac
import json
import re
import socket
import struct
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tests.support.fake_clock import FakeClock
from tests.support.xeddsa import LibsignalIdentity
from vyry.accounts.phone import Pepper, read_number
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.tokens import Tokens, hash_token
from vyry.devices.endpoints import PUBLIC, is_public
from vyry.devices.key_validation import check_upload
from vyry.devices.keyset import Identity, KeyUpload, OneTimePrekey, SignedPrekey, Suite
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push import check_target as check_push
from vyry.errors import InvalidKeys, InvalidRequest, InvalidToken
from vyry.kernel.grouped_base32 import MistypedCode
from vyry.kernel.ids import UserId
from vyry.kernel.recovery_code import RECOVERY_CODE
from vyry.mail import work_record
from vyry.mail.envelope import HEADER_BYTES, Envelope, pack_with_digest, unpack_header
from vyry.redis.hints import Hint
from vyry.settings.settings import Role, Settings, SettingsError, load_settings
from web.app_keys import SETTINGS
from web.auth import client_address


NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
SECRET: Final = b"a secret of the fuzzer, long enough"
_CLAIMS: Final = {"iss": str, "aud": str, "sub": str, "sid": str, "gen": int, "iat": int, "exp": int, "jti": str}


TOKENS: Final = Tokens(
    KeyRing([SigningKey.first(SECRET)], FakeClock(NOW)), timedelta(hours=1), timedelta(days=7), FakeClock(NOW)
)
_HEADER: Final = TOKENS.issue(UserId(UUID(int=1)), UUID(int=2), 1).partition(".")[0]


def access_token(raw: bytes) -> None:
    """A token as it comes: what is taken has our header, our MAC and one way of writing."""
    token = raw.decode("latin-1")
    try:
        TOKENS.verify(token)
    except InvalidToken:
        return
    header, payload, signature = token.split(".")
    assert header == _HEADER
    assert signature == _signature(f"{header}.{payload}")


def signed_claims(raw: bytes) -> None:
    """Claims under our own good signature, whatever they say: only whole, well-typed claims of our own, in time."""
    payload = urlsafe_b64encode(raw).rstrip(b"=").decode()
    try:
        claims = TOKENS.verify(f"{_HEADER}.{payload}.{_signature(f'{_HEADER}.{payload}')}")
    except InvalidToken:
        return
    said = json.loads(raw.decode())
    assert {name: type(value) for name, value in said.items()} == _CLAIMS
    assert (said["iss"], said["aud"]) == ("vyry", "vyry-api")
    assert said["iat"] < said["exp"] <= said["iat"] + 86_400
    assert said["iat"] - 10 <= NOW.timestamp() < said["exp"] + 10
    assert (str(claims.user_id), str(claims.device), claims.generation) == (said["sub"], said["sid"], said["gen"])


def _signature(text: str) -> str:
    return urlsafe_b64encode(hmac.digest(SECRET, text.encode(), "sha256")).rstrip(b"=").decode()


def opaque_token(raw: bytes) -> None:
    """Refresh tokens, tickets and link tokens are hashed as they come, text or not: no two alike, nothing breaks."""
    text = raw.decode("utf-8", "surrogateescape")
    assert len(hash_token(text)) == 64
    assert hash_token(text) != hash_token(text + "x")


def recovery_code_text(raw: bytes) -> None:
    """What is read is 16 bytes, whose text is read as the same bytes, or it is refused."""
    try:
        value = RECOVERY_CODE.decode(raw.decode("utf-8", "surrogateescape"))
    except MistypedCode:
        return
    assert len(value) == RECOVERY_CODE.secret_bytes
    assert RECOVERY_CODE.decode(RECOVERY_CODE.encode(value)) == value


def phone_number(raw: bytes) -> None:
    """What is read is a number in E.164 that is read as itself, or it is refused; masked it shows its country and two digits; hidden it comes back under the pepper alone."""
    text = raw.decode("utf-8", "surrogateescape")
    try:
        number = read_number(text)
    except InvalidRequest:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", number.e164)
    assert read_number(number.e164) == number
    assert sum(map(str.isdigit, number.masked)) <= 5
    hidden = Pepper(SECRET).hide(number)
    assert Pepper(SECRET).unseal(hidden.sealed) == number
    assert number.e164[1:].encode() not in hidden.sealed


def envelope(raw: bytes) -> None:
    """Unpacked and packed again an envelope is the same, and the quick path makes the same bytes and digest."""
    try:
        read = Envelope.unpack(raw)
    except struct.error:
        assert len(raw) < HEADER_BYTES
        return
    assert read.pack() == raw
    assert pack_with_digest(unpack_header(raw), read.content, sha256(read.content).digest()) == (raw, read.digest())


def packed_work_record(raw: bytes) -> None:
    """A work record consists of whole keys, or unpacking raises ValueError."""
    try:
        keys = work_record.unpack(raw)
    except ValueError:
        return
    assert work_record.pack(keys) == raw


def hint(raw: bytes) -> None:
    """A hint over Redis is one of ours or a ValueError."""
    try:
        read = Hint.unpack(raw)
    except ValueError:
        return
    assert read.pack() == raw


def key_set(raw: bytes) -> None:
    """A good set with some bytes changed: nothing that is signed may differ, and no key may agree on nothing.

    The first byte chooses the suite; then three bytes each: which field, which byte of it (or from where to cut it off), what to XOR.
    """
    suite = list(Suite)[raw[0] % 2] if raw else Suite.VYRY
    good = _GOOD[suite]()
    fields = dict(_fields(good))
    for at in range(1, len(raw) - 2, 3):
        name = list(fields)[raw[at] % len(fields)]
        fields[name] = _changed(fields[name], raw[at + 1], raw[at + 2], is_cut=raw[at] >= 0x80)
    try:
        check_upload(_with(good, fields))
    except InvalidKeys:
        return
    signed = {name: value for name, value in fields.items() if name != "one-time"}
    assert signed == {name: value for name, value in _fields(good).items() if name != "one-time"}
    # An agreement with a point of small order fails here, on the library's own word.
    X25519PrivateKey.from_private_bytes(bytes([9]) * 32).exchange(
        X25519PublicKey.from_public_bytes(fields["one-time"][-32:])
    )


def _changed(value: bytes, place: int, mask: int, *, is_cut: bool) -> bytes:
    place %= max(1, len(value))
    if is_cut:
        return value[:place]
    return value[:place] + bytes([value[place] ^ mask]) + value[place + 1 :] if value else value


def _fields(upload: KeyUpload) -> dict[str, bytes]:
    identity, [pq] = upload.identity, upload.pq
    found = {
        "identity": identity.key,
        "signed": upload.signed_prekey.key,
        "signed signature": upload.signed_prekey.signature,
        "last": upload.pq_last_resort.key,
        "last signature": upload.pq_last_resort.signature,
        "pq": pq.key,
        "pq signature": pq.signature,
        "one-time": upload.one_time[0].key,
    }
    if identity.dh_key is not None and identity.dh_signature is not None:
        found |= {"dh": identity.dh_key, "dh signature": identity.dh_signature}
    return found


def _with(good: KeyUpload, fields: dict[str, bytes]) -> KeyUpload:
    def signed(name: str, before: SignedPrekey) -> SignedPrekey:
        return SignedPrekey(before.id, fields[name], fields[f"{name} signature"])

    return replace(
        good,
        identity=Identity(good.identity.suite, fields["identity"], fields.get("dh"), fields.get("dh signature")),
        signed_prekey=signed("signed", good.signed_prekey),
        pq_last_resort=signed("last", good.pq_last_resort),
        one_time=[OneTimePrekey(1, fields["one-time"])],
        pq=[signed("pq", good.pq[0])],
    )


@cache
def _vyry() -> KeyUpload:
    identity, dh = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32), _x25519(1)
    public = identity.public_key().public_bytes_raw()

    def signed(label: bytes, key: bytes) -> SignedPrekey:
        return SignedPrekey(1, key, identity.sign(label + dh + (1).to_bytes(4, "big") + key))

    return KeyUpload(
        1,
        Identity(Suite.VYRY, public, dh, identity.sign(b"vyry/1 identity dh\0" + public + dh)),
        signed(b"vyry/1 signed prekey\0", _x25519(2)),
        signed(b"vyry/1 pq last-resort prekey\0", bytes(1568)),
        [OneTimePrekey(1, _x25519(3))],
        [signed(b"vyry/1 pq one-time prekey\0", bytes(1568))],
    )


@cache
def _libsignal() -> KeyUpload:
    identity = LibsignalIdentity(bytes([3]) * 32)

    def signed(key: bytes) -> SignedPrekey:
        return SignedPrekey(1, key, identity.sign(key))

    return KeyUpload(
        1,
        Identity(Suite.LIBSIGNAL, identity.public),
        signed(b"\x05" + _x25519(2)),
        signed(b"\x08" + bytes(1568)),
        [OneTimePrekey(1, b"\x05" + _x25519(3))],
        [signed(b"\x0a" + bytes(1568))],
    )


_GOOD: Final[dict[Suite, Callable[[], KeyUpload]]] = {Suite.VYRY: _vyry, Suite.LIBSIGNAL: _libsignal}


def _x25519(seed: int) -> bytes:
    return X25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()


def push_target(raw: bytes) -> None:
    """`kind`, then a member a line: what is taken has a host to wake the device at, and no place to hide a password."""
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    kind = next((each for each in PushKind if each.value == lines[0]), PushKind.WEBPUSH)
    texts = [line or None for line in (*lines[1:], *([""] * 5))]
    octets = [text.encode("utf-8", "surrogateescape") if text else None for text in texts[1:3]]
    target = PushTarget(kind, texts[0], octets[0], octets[1], texts[3], texts[4])
    try:
        check_push(target, PUBLIC)
    except InvalidRequest:
        return
    if target.endpoint is not None:
        parts = urlsplit(target.endpoint)
        assert (parts.scheme, parts.username, parts.password, parts.fragment) == ("https", None, None, "")
        assert parts.hostname
        with suppress(OSError):
            # However it is written: what resolvers take for an address is one of the internet.
            assert is_public(socket.inet_ntoa(socket.inet_aton(parts.hostname.rstrip("."))))


def client(raw: bytes) -> None:
    """Forwarding headers: whatever they claim, the answer is an address, and the peer's own unless the peer is trusted."""
    lines = raw.decode("latin-1").split("\n")[:4]
    headers = [("X-Forwarded-For", "".join(filter(str.isprintable, line))) for line in lines]
    for trusted in ("10.0.0.0/8", "127.0.0.0/8,10.0.0.0/8"):
        app = web.Application()
        app[SETTINGS] = _settings(trusted)
        request = make_mocked_request("GET", "/", headers=headers, app=app).clone(remote="127.0.0.1")
        address = client_address(request)
        assert str(ip_address(address)) == address
        assert trusted.startswith("127") or address == "127.0.0.1"


@cache
def _settings(trusted: str) -> Settings:
    return load_settings(Role.TOOL, {"VYRY_DATA_DIR": _folder(), "VYRY_TRUSTED_PROXIES": trusted})


@cache
def _folder() -> str:
    return str(Path(tempfile.gettempdir()) / "vyry-fuzz-has-no-folder")


def settings(raw: bytes) -> None:
    """NAME=value lines for a process: settings, or lines that tell what to mend and never a value."""
    lines = [line.partition("=") for line in raw.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")]
    environ = {name: value for name, _, value in lines if name and "FILE" not in name}
    role = list(Role)[len(raw) % len(Role)]
    try:
        read = load_settings(role, environ | {"VYRY_DATA_DIR": _folder()}, makes_secrets=False)
    except SettingsError as problem:
        assert problem.problems  # noqa: PT017  a refusal is an outcome here
        return
    assert len(read.jwt_secret.get_secret_value()) >= 32
    assert role is not Role.START or read.redis_url is None
    # Only a node of its own that nobody said to be in production takes what is unsafe, and warns.
    assert environ.get("VYRY_ENV") != "production" or "*" not in read.cors_origins
