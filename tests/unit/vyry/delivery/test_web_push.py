"""Web Push and UnifiedPush against a service that opens the body and checks the signature: what is sent, and what each answer means."""

import base64
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from structlog.testing import capture_logs

from tests.support.fake_clock import FakeClock
from tests.support.push_server import CONTACT, PushServer, open_push_server
from tests.support.sms_provider_server import FaultHandler, drop_connection, never_respond, respond_with
from vyry.delivery.push import host_throttle as push_hosts
from vyry.delivery.push.outcome import parse_retry_after
from vyry.delivery.push.web_push import WebPusher
from vyry.delivery.push.web_push_crypto import VapidSigner, create_vapid_key, encrypt_push_with, public_point
from vyry.devices.endpoints import EndpointPolicy
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult
from vyry.kernel.time import to_milliseconds


#: RFC 8291, section 5 and appendix A.
PLAIN = b"When I grow up, I want to be a watermelon"
SENDER_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH, SALT = "BTBZMqHH6r4Tts7J_aSIgg", "DGv6ra1nlYgDCS1FRnbzlw"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server() as opened:
        yield opened


@pytest.fixture
def vapid(tmp_path_factory: pytest.TempPathFactory) -> VapidSigner:
    path = tmp_path_factory.mktemp("keys") / "vapid"
    assert create_vapid_key(path)
    return VapidSigner(path.read_bytes(), CONTACT, FakeClock())


@pytest.fixture
async def pusher(vapid: VapidSigner) -> AsyncIterator[WebPusher]:
    pusher = WebPusher(vapid, FakeClock(), EndpointPolicy(frozenset({"127.0.0.1"})))
    yield pusher
    await pusher.close()


def plain(services: PushServer, name: str = "bo") -> PushTarget:
    return PushTarget(PushKind.UNIFIEDPUSH, f"{services.url}/push/{name}?token=secret")


def test_a_body_is_sealed_as_the_rfc_shows_it() -> None:
    own = derive_private_key(int.from_bytes(octets(SENDER_KEY), "big"), SECP256R1())

    assert encrypt_push_with(PLAIN, (octets(RECEIVER), octets(AUTH)), own, octets(SALT)) == octets(SEALED)


async def test_a_browser_gets_a_body_without_content_signed_by_the_node(
    services: PushServer, pusher: WebPusher, vapid: VapidSigner
) -> None:
    target = services.subscribe().push_target(services.url)

    urgent = await pusher.push(target, is_urgent=True)
    quiet = await pusher.push(target, is_urgent=False)

    first, second = services.pushed
    assert (urgent, quiet) == (PushOutcome(PushResult.SENT), PushOutcome(PushResult.SENT))
    assert (first.content, second.content) == (b"{}", b"{}")
    assert (first.headers["Urgency"], second.headers["Urgency"]) == ("high", "low")
    assert (first.headers["TTL"], first.headers["Topic"]) == ("2419200", "mail")
    now = to_milliseconds(FakeClock().now()) // 1000
    assert (first.claims["aud"], first.claims["sub"], first.claims["k"]) == (services.url, CONTACT, vapid.public_key)
    assert now < first.claims["exp"] <= now + 86_400


async def test_unified_push_without_keys_gets_the_same_for_everybody(services: PushServer, pusher: WebPusher) -> None:
    for name in ("ann", "bo"):
        await pusher.push(plain(services, name), is_urgent=True)

    ann, bo = services.pushed
    assert (ann.content, bo.content) == (b"{}", b"{}")
    assert ann.headers == bo.headers
    assert "Authorization" not in ann.headers


ANSWERS: dict[str, tuple[FaultHandler, PushOutcome]] = {
    "unknown": (respond_with(404), PushOutcome(PushResult.GONE)),
    "gone": (respond_with(410), PushOutcome(PushResult.GONE)),
    "too large": (respond_with(413), PushOutcome(PushResult.LATER)),
    "too many": (respond_with(429, b"", **{"Retry-After": "77"}), PushOutcome(PushResult.LATER, 77.0)),
    "broken": (respond_with(500), PushOutcome(PushResult.LATER)),
    "away": (
        respond_with(503, b"", **{"Retry-After": "Thu, 01 Jan 2026 12:02:00 GMT"}),
        PushOutcome(PushResult.LATER, 120.0),
    ),
    "another key": (respond_with(403), PushOutcome(PushResult.REFUSED)),
    "bad request": (respond_with(400), PushOutcome(PushResult.REFUSED)),
    "sends us elsewhere": (respond_with(307, b"", Location="/elsewhere"), PushOutcome(PushResult.REFUSED)),
    "talks without end": (respond_with(201, b"x" * (1 << 20)), PushOutcome(PushResult.SENT)),
    "hangs up": (drop_connection, PushOutcome(PushResult.LATER)),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_answer_has_its_meaning(services: PushServer, pusher: WebPusher, name: str) -> None:
    services.fault, expected = ANSWERS[name]

    with capture_logs() as logs:
        found = await pusher.push(services.subscribe().push_target(services.url), is_urgent=True)

    assert (found, services.request_count) == (expected, 1)
    assert services.url not in str(logs)


async def test_a_service_that_hangs_is_given_up(
    services: PushServer, vapid: VapidSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vyry.delivery.push.web_push.TRY_SECONDS", 0.05)
    pusher, services.fault = WebPusher(vapid, FakeClock(), EndpointPolicy(frozenset({"127.0.0.1"}))), never_respond

    found = await pusher.push(plain(services), is_urgent=True)
    await pusher.close()

    assert found.result is PushResult.LATER


async def test_a_service_that_fails_is_left_alone_and_no_other_with_it(services: PushServer, pusher: WebPusher) -> None:
    async with open_push_server() as other:
        services.fault = respond_with(500)
        first = [await pusher.push(plain(services), is_urgent=True) for _ in range(3)]

        closed = await pusher.push(plain(services), is_urgent=True)
        elsewhere = await pusher.push(plain(other), is_urgent=True)

    assert {each.result for each in first} == {PushResult.LATER}
    assert (closed.result, services.request_count, elsewhere.result) == (PushResult.BUSY, 3, PushResult.SENT)
    assert closed.wait_seconds > 0


def test_a_service_has_so_many_requests_at_once_and_is_forgotten_when_it_is_well() -> None:
    hosts = push_hosts.HostThrottle()
    visits = [hosts.track_request("push.example:443") for _ in range(push_hosts.MAX_IN_FLIGHT)]
    for visit in visits:
        visit.__enter__().has_succeeded = True

    full, elsewhere = hosts.wait_seconds("push.example:443"), hosts.wait_seconds("other.example:443")
    for visit in visits:
        visit.__exit__(None, None, None)

    assert (full > 0, elsewhere, hosts.wait_seconds("push.example:443")) == (True, 0.0, 0.0)
    assert hosts._hosts == {}


async def test_without_a_key_a_browser_is_not_pushed_to(services: PushServer) -> None:
    pusher = WebPusher(None, FakeClock(), EndpointPolicy(frozenset({"127.0.0.1"})))

    found = await pusher.push(services.subscribe().push_target(services.url), is_urgent=True)

    assert (found.result, services.request_count) == (PushResult.REFUSED, 0)


def test_a_key_is_made_once_and_is_the_owners_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("data") / "new" / "vapid"

    made = [create_vapid_key(path), create_vapid_key(path)]

    assert (made, path.stat().st_mode & 0o777) == ([True, False], 0o600)
    assert len(VapidSigner(path.read_bytes(), None, FakeClock()).public_key) == 65


def test_one_signature_serves_many_pushes_and_is_made_anew_in_time(vapid: VapidSigner) -> None:
    clock = vapid._clock
    assert isinstance(clock, FakeClock)
    first, same = vapid.authorization("https://a.example"), vapid.authorization("https://a.example")
    other = vapid.authorization("https://b.example")
    clock.advance(hours=7)

    later = vapid.authorization("https://a.example")

    assert first == same
    assert len({first, other, later}) == 3


@pytest.mark.parametrize("value", ["", "soon", "-5", "١٢", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    assert parse_retry_after(value, FakeClock()) == 0.0


def test_another_key_than_p256_is_refused() -> None:
    other = public_point(derive_private_key(7, SECP256R1()))

    with pytest.raises(ValueError, match=r"PEM|P-256|deserialize"):
        VapidSigner(other, None, FakeClock())
