"""Access tokens: ours are recognised, and nothing else is."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import jwt
import pytest

from tests.account_room import NOON, SECRET, WEEK, StandingClock
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.tokens import Tokens
from vyry.errors import InvalidToken
from vyry.ids import UserId


USER, DEVICE = UserId(UUID(int=1)), UUID(int=2)
NOW = int(NOON.timestamp())
GOOD: dict[str, object] = {
    "iss": "vyry",
    "aud": "vyry-api",
    "sub": str(USER),
    "sid": str(DEVICE),
    "gen": 1,
    "iat": NOW,
    "exp": NOW + 3600,
    "jti": "x",
}
HEADER: dict[str, object] = {"alg": "HS256", "typ": "at+jwt"}
Forgery = Callable[[], str]


def made(claims: dict[str, object], header: dict[str, object] | None = None, key: bytes = SECRET) -> str:
    """A token signed with our algorithm, whatever it says."""
    return jwt.encode(claims, key, algorithm="HS256", headers=HEADER | (header or {}))


def raw(header: object, claims: object = GOOD, signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def without(claim: str) -> str:
    return made({name: value for name, value in GOOD.items() if name != claim})


def but(**claims: object) -> str:
    return made(GOOD | claims)


def grafted(header: dict[str, object]) -> str:
    """Another header in front of a good token's claims and signature."""
    _, claims, signature = made(GOOD).split(".")
    return f"{raw(header).split('.')[0]}.{claims}.{signature}"


HOSTILE: dict[str, Forgery] = {
    "nothing": lambda: "",
    "no token": lambda: "abc",
    "two dots": lambda: "..",
    "four parts": lambda: made(GOOD) + ".x",
    "not ascii": lambda: made(GOOD) + "é",
    "very long": lambda: "a" * 100_000,
    "deep claims": lambda: f"{made(GOOD).split('.')[0]}.{raw({}, json.loads('[' * 200 + ']' * 200)).split('.')[1]}.AA",
    "alg none": lambda: raw({"alg": "none", "typ": "at+jwt"}),
    "alg None": lambda: raw({"alg": "None", "typ": "at+jwt"}),
    "alg none with our signature": lambda: grafted({"alg": "none", "typ": "at+jwt"}),
    "alg list": lambda: grafted({"alg": ["HS256"], "typ": "at+jwt"}),
    "alg absent": lambda: grafted({"typ": "at+jwt"}),
    "alg RS256": lambda: grafted({"alg": "RS256", "typ": "at+jwt"}),
    "alg HS512": lambda: jwt.encode(GOOD, SECRET * 2, algorithm="HS512", headers={"typ": "at+jwt"}),
    "alg HS384, right key": lambda: jwt.encode(GOOD, SECRET * 2, algorithm="HS384", headers={"typ": "at+jwt"}),
    "typ JWT": lambda: made(GOOD, {"typ": "JWT"}),
    "typ in capitals": lambda: made(GOOD, {"typ": "AT+JWT"}),
    "typ with prefix": lambda: made(GOOD, {"typ": "application/at+jwt"}),
    "kid": lambda: made(GOOD, {"kid": "../../dev/null"}),
    "jku": lambda: made(GOOD, {"jku": "https://keys.example/jwks"}),
    "jwk": lambda: made(GOOD, {"jwk": {"kty": "oct", "k": "AA"}}),
    "x5u": lambda: made(GOOD, {"x5u": "https://keys.example/cert"}),
    "x5c": lambda: made(GOOD, {"x5c": ["MIIB"]}),
    "crit": lambda: made(GOOD, {"crit": ["exp"]}),
    "b64": lambda: made(GOOD, {"b64": False}),
    "zip": lambda: made(GOOD, {"zip": "DEF"}),
    "header is a list": lambda: raw([1]),
    "claims are a list": lambda: raw(HEADER, [1]),
    "another key": lambda: made(GOOD, key=b"another secret of 32 bytes or more"),
    "a zero key": lambda: made(GOOD, key=b"\x00" * 32),
    "no signature": lambda: made(GOOD).rpartition(".")[0] + ".",
    "cut signature": lambda: made(GOOD)[:-2],
    "claims changed": lambda: ".".join([made(GOOD).split(".")[0], *but(sub=str(UUID(int=9))).split(".")[1:2], "AAAA"]),
    "claims swapped": lambda: ".".join([made(GOOD).split(".")[0], but(gen=2).split(".")[1], made(GOOD).split(".")[2]]),
    "expired": lambda: but(iat=NOW - 7200, exp=NOW - 10),
    "expires before it begins": lambda: but(iat=NOW + 5, exp=NOW + 5),
    "from the future": lambda: but(iat=NOW + 11),
    "exp as text": lambda: but(exp=str(NOW + 3600)),
    "exp as a fraction": lambda: but(exp=NOW + 3600.5),
    "exp huge": lambda: but(exp=10**30),
    "exp null": lambda: but(exp=None),
    "exp negative": lambda: but(exp=-1),
    "iss foreign": lambda: but(iss="other"),
    "aud foreign": lambda: but(aud="other"),
    "aud list": lambda: but(aud=["vyry-api", "other"]),
    "sub no id": lambda: but(sub="root"),
    "sid no id": lambda: but(sid="1"),
    "sid number": lambda: but(sid=2),
    "gen text": lambda: but(gen="1"),
    "jti number": lambda: but(jti=1),
} | {f"without {claim}": (lambda claim=claim: without(claim)) for claim in GOOD}


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def tokens(clock: StandingClock) -> Tokens:
    return Tokens(KeyRing([SigningKey.first(SECRET)], clock), timedelta(hours=1), WEEK, clock)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused(tokens: Tokens, name: str) -> None:
    forged = HOSTILE[name]()

    with pytest.raises(InvalidToken):
        tokens.verify(forged)


def test_the_table_of_hostile_tokens_starts_from_a_good_one(tokens: Tokens) -> None:
    claims = tokens.verify(made(GOOD))

    assert (claims.user_id, claims.device, claims.generation) == (USER, DEVICE, 1)


def test_a_token_of_ours_is_recognised_until_its_leeway_is_over(tokens: Tokens, clock: StandingClock) -> None:
    token = tokens.issue(USER, DEVICE, 3)

    assert tokens.verify(token).expires_at == NOON + timedelta(hours=1)
    clock.advance(hours=1, seconds=9, milliseconds=999)
    assert tokens.verify(token).generation == 3
    clock.advance(milliseconds=1)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_a_token_from_a_clock_ten_seconds_ahead_is_taken(tokens: Tokens, clock: StandingClock) -> None:
    clock.advance(seconds=10)
    token = tokens.issue(USER, DEVICE, 1)
    clock.advance(seconds=-10)

    assert tokens.verify(token).device == DEVICE


def test_refresh_tokens_are_long_random_and_hidden(tokens: Tokens) -> None:
    one, other = tokens.fresh(), tokens.fresh()

    assert one.text != other.text
    assert len(one.text) == 43
    assert one.text not in f"{one!r} {tokens.pair(USER, DEVICE, 1, one.text, one.expires_at)!r}"
