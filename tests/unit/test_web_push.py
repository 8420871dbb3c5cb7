"""Web Push and UnifiedPush against a service that opens the body and checks the signature: what is sent, and what each answer means."""

import base64
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from structlog.testing import capture_logs

from tests.account_room import StandingClock
from tests.carrier_house import Trouble, answering, hanging, hanging_up
from tests.push_house import CONTACT, PushHouse, open_push_house
from vyry.adapters import push_hosts
from vyry.adapters.push_sealing import Vapid, make_key, point, seal_with
from vyry.adapters.web_push import WebPush, retry_after
from vyry.clock import milliseconds
from vyry.devices.endpoints import Reach
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.waking import Fate, Outcome


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
async def services() -> AsyncIterator[PushHouse]:
    async with open_push_house() as opened:
        yield opened


@pytest.fixture
def vapid(tmp_path_factory: pytest.TempPathFactory) -> Vapid:
    path = tmp_path_factory.mktemp("keys") / "vapid"
    assert make_key(path)
    return Vapid(path.read_bytes(), CONTACT, StandingClock())


@pytest.fixture
async def pusher(vapid: Vapid) -> AsyncIterator[WebPush]:
    pusher = WebPush(vapid, StandingClock(), Reach(frozenset({"127.0.0.1"})))
    yield pusher
    await pusher.close()


def plain(services: PushHouse, name: str = "bo") -> PushTarget:
    return PushTarget(PushKind.UNIFIEDPUSH, f"{services.url}/push/{name}?token=secret")


def test_a_body_is_sealed_as_the_rfc_shows_it() -> None:
    own = derive_private_key(int.from_bytes(octets(SENDER_KEY), "big"), SECP256R1())

    assert seal_with(PLAIN, (octets(RECEIVER), octets(AUTH)), own, octets(SALT)) == octets(SEALED)


async def test_a_browser_gets_a_body_without_content_signed_by_the_node(
    services: PushHouse, pusher: WebPush, vapid: Vapid
) -> None:
    target = services.subscribe().target(services.url)

    urgent = await pusher.push(target, is_urgent=True)
    quiet = await pusher.push(target, is_urgent=False)

    first, second = services.pushed
    assert (urgent, quiet) == (Outcome(Fate.SENT), Outcome(Fate.SENT))
    assert (first.content, second.content) == (b"{}", b"{}")
    assert (first.headers["Urgency"], second.headers["Urgency"]) == ("high", "low")
    assert (first.headers["TTL"], first.headers["Topic"]) == ("2419200", "mail")
    now = milliseconds(StandingClock().now()) // 1000
    assert (first.claims["aud"], first.claims["sub"], first.claims["k"]) == (services.url, CONTACT, vapid.public_key)
    assert now < first.claims["exp"] <= now + 86_400


async def test_unified_push_without_keys_gets_the_same_for_everybody(services: PushHouse, pusher: WebPush) -> None:
    for name in ("ann", "bo"):
        await pusher.push(plain(services, name), is_urgent=True)

    ann, bo = services.pushed
    assert (ann.content, bo.content) == (b"{}", b"{}")
    assert ann.headers == bo.headers
    assert "Authorization" not in ann.headers


ANSWERS: dict[str, tuple[Trouble, Outcome]] = {
    "unknown": (answering(404), Outcome(Fate.GONE)),
    "gone": (answering(410), Outcome(Fate.GONE)),
    "too large": (answering(413), Outcome(Fate.LATER)),
    "too many": (answering(429, b"", **{"Retry-After": "77"}), Outcome(Fate.LATER, 77.0)),
    "broken": (answering(500), Outcome(Fate.LATER)),
    "away": (answering(503, b"", **{"Retry-After": "Thu, 01 Jan 2026 12:02:00 GMT"}), Outcome(Fate.LATER, 120.0)),
    "another key": (answering(403), Outcome(Fate.REFUSED)),
    "bad request": (answering(400), Outcome(Fate.REFUSED)),
    "sends us elsewhere": (answering(307, b"", Location="/elsewhere"), Outcome(Fate.REFUSED)),
    "talks without end": (answering(201, b"x" * (1 << 20)), Outcome(Fate.SENT)),
    "hangs up": (hanging_up, Outcome(Fate.LATER)),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_answer_has_its_meaning(services: PushHouse, pusher: WebPush, name: str) -> None:
    services.trouble, expected = ANSWERS[name]

    with capture_logs() as logs:
        found = await pusher.push(services.subscribe().target(services.url), is_urgent=True)

    assert (found, services.asked) == (expected, 1)
    assert services.url not in str(logs)


async def test_a_service_that_hangs_is_given_up(
    services: PushHouse, vapid: Vapid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vyry.adapters.web_push.TRY_SECONDS", 0.05)
    pusher, services.trouble = WebPush(vapid, StandingClock(), Reach(frozenset({"127.0.0.1"}))), hanging

    found = await pusher.push(plain(services), is_urgent=True)
    await pusher.close()

    assert found.fate is Fate.LATER


async def test_a_service_that_fails_is_left_alone_and_no_other_with_it(services: PushHouse, pusher: WebPush) -> None:
    async with open_push_house() as other:
        services.trouble = answering(500)
        first = [await pusher.push(plain(services), is_urgent=True) for _ in range(3)]

        closed = await pusher.push(plain(services), is_urgent=True)
        elsewhere = await pusher.push(plain(other), is_urgent=True)

    assert {each.fate for each in first} == {Fate.LATER}
    assert (closed.fate, services.asked, elsewhere.fate) == (Fate.BUSY, 3, Fate.SENT)
    assert closed.wait_seconds > 0


def test_a_service_has_so_many_requests_at_once_and_is_forgotten_when_it_is_well() -> None:
    hosts = push_hosts.Hosts()
    visits = [hosts.visit("push.example:443") for _ in range(push_hosts.HOST_WIDTH)]
    for visit in visits:
        visit.__enter__().is_well = True

    full, elsewhere = hosts.wait("push.example:443"), hosts.wait("other.example:443")
    for visit in visits:
        visit.__exit__(None, None, None)

    assert (full > 0, elsewhere, hosts.wait("push.example:443")) == (True, 0.0, 0.0)
    assert hosts._hosts == {}


async def test_without_a_key_a_browser_is_not_pushed_to(services: PushHouse) -> None:
    pusher = WebPush(None, StandingClock(), Reach(frozenset({"127.0.0.1"})))

    found = await pusher.push(services.subscribe().target(services.url), is_urgent=True)

    assert (found.fate, services.asked) == (Fate.REFUSED, 0)


def test_a_key_is_made_once_and_is_the_owners_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("data") / "new" / "vapid"

    made = [make_key(path), make_key(path)]

    assert (made, path.stat().st_mode & 0o777) == ([True, False], 0o600)
    assert len(Vapid(path.read_bytes(), None, StandingClock()).public_key) == 65


def test_one_signature_serves_many_pushes_and_is_made_anew_in_time(vapid: Vapid) -> None:
    clock = vapid._clock
    assert isinstance(clock, StandingClock)
    first, same = vapid.authorization("https://a.example"), vapid.authorization("https://a.example")
    other = vapid.authorization("https://b.example")
    clock.advance(hours=7)

    later = vapid.authorization("https://a.example")

    assert first == same
    assert len({first, other, later}) == 3


@pytest.mark.parametrize("value", ["", "soon", "-5", "١٢", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    assert retry_after(value, StandingClock()) == 0.0


def test_another_key_than_p256_is_refused() -> None:
    other = point(derive_private_key(7, SECP256R1()))

    with pytest.raises(ValueError, match=r"PEM|P-256|deserialize"):
        Vapid(other, None, StandingClock())
