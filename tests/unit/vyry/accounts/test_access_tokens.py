"""Access tokens: only tokens of the node are accepted."""

from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.account_harness import SECRET, WEEK
from tests.support.fake_clock import NOON, FakeClock
from tests.support.hostile_tokens import HOSTILE_TOKENS, TokenForger
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.tokens import Tokens
from vyry.errors import InvalidToken
from vyry.kernel.ids import UserId


USER, DEVICE = UserId(UUID(int=1)), UUID(int=2)
NOW = int(NOON.timestamp())
FORGER = TokenForger(
    SECRET,
    {
        "iss": "vyry",
        "aud": "vyry-api",
        "sub": str(USER),
        "sid": str(DEVICE),
        "gen": 1,
        "iat": NOW,
        "exp": NOW + 3600,
        "jti": "x",
    },
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return Tokens(KeyRing([SigningKey.first(SECRET)], clock), timedelta(hours=1), WEEK, clock)


def is_taken(tokens: Tokens, token: str) -> bool:
    """Whether the node accepts the token."""
    try:
        tokens.verify(token)
    except InvalidToken:
        return False
    return True


def test_no_hostile_token_is_taken(tokens: Tokens) -> None:
    assert len(HOSTILE_TOKENS) >= 60

    taken = [name for name, forge in HOSTILE_TOKENS.items() if is_taken(tokens, forge(FORGER))]

    assert taken == []


def test_the_catalogue_starts_from_a_good_token(tokens: Tokens) -> None:
    claims = tokens.verify(FORGER.good_token())

    assert (claims.user_id, claims.device, claims.generation) == (USER, DEVICE, 1)


def test_a_token_of_ours_is_recognised_until_its_leeway_is_over(tokens: Tokens, clock: FakeClock) -> None:
    token = tokens.issue(USER, DEVICE, 3)

    assert tokens.verify(token).expires_at == NOON + timedelta(hours=1)
    clock.advance(hours=1, seconds=9, milliseconds=999)
    assert tokens.verify(token).generation == 3
    clock.advance(milliseconds=1)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_a_token_from_a_clock_ten_seconds_ahead_is_taken(tokens: Tokens, clock: FakeClock) -> None:
    clock.advance(seconds=10)
    token = tokens.issue(USER, DEVICE, 1)
    clock.advance(seconds=-10)

    assert tokens.verify(token).device == DEVICE


def test_refresh_tokens_are_long_random_and_hidden(tokens: Tokens) -> None:
    one, other = tokens.new_refresh_token(), tokens.new_refresh_token()

    assert one.text != other.text
    assert len(one.text) == 43
    assert one.text not in f"{one!r} {tokens.issue_pair(USER, DEVICE, 1, one.text, one.expires_at)!r}"


def make_key_ring(clock: FakeClock) -> tuple[KeyRing, Tokens]:
    """A key ring with JWT_SECRET only, and tokens signed with it."""
    keys = KeyRing([SigningKey.first(SECRET)], clock)
    return keys, Tokens(keys, timedelta(hours=1), WEEK, clock)


def test_a_new_key_signs_only_when_all_nodes_know_it(clock: FakeClock) -> None:
    first, fresh = SigningKey.first(SECRET), SigningKey("k2", b"2" * 48, NOON + timedelta(minutes=1))
    (ours, ahead), (theirs, behind) = make_key_ring(clock), make_key_ring(clock)
    ours.replace([first, fresh])
    token = ahead.issue(USER, DEVICE, 1)
    clock.advance(seconds=59)

    assert behind.verify(token).key_id == behind.verify(ahead.issue(USER, DEVICE, 1)).key_id == ""

    theirs.replace([first, fresh])
    clock.advance(seconds=1)
    assert behind.verify(ahead.issue(USER, DEVICE, 1)).key_id == "k2"
    assert behind.verify(token).key_id == ""


def test_an_unknown_key_is_refused_whoever_signed(clock: FakeClock) -> None:
    _, tokens = make_key_ring(clock)
    _, others = make_key_ring(clock)
    others.keys.replace([SigningKey("k2", SECRET, NOON)])

    with pytest.raises(InvalidToken):
        tokens.verify(others.issue(USER, DEVICE, 1))


def test_a_token_under_the_name_of_another_key_is_refused(clock: FakeClock) -> None:
    keys, tokens = make_key_ring(clock)
    keys.replace([SigningKey.first(SECRET), SigningKey("k2", b"2" * 48, NOON + timedelta(days=1))])

    with pytest.raises(InvalidToken):
        tokens.verify(FORGER.with_header(kid="k2"))


def test_what_an_old_key_signed_ends_with_its_time(clock: FakeClock) -> None:
    keys, tokens = make_key_ring(clock)
    token = tokens.issue(USER, DEVICE, 1)
    until = NOON + timedelta(minutes=30)
    keys.replace([SigningKey("", SECRET, NOON, until), SigningKey("k2", b"2" * 48, NOON)])
    clock.advance(minutes=29)
    assert tokens.verify(token).device == DEVICE

    clock.advance(minutes=1)

    with pytest.raises(InvalidToken):
        tokens.verify(token)
    assert tokens.verify(tokens.issue(USER, DEVICE, 1)).key_id == "k2"


def test_a_token_is_written_in_one_way_only(tokens: Tokens) -> None:
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = tokens.issue(USER, DEVICE, 1)

    # The last digit of 32 bytes has two bits to spare: three more digits decode to the same signature.
    last = digits.index(token[-1])
    alike = [token[:-1] + digits[last + spare] for spare in (1, 2, 3)]

    assert last % 4 == 0
    assert [is_taken(tokens, each) for each in (token, *alike)] == [True, False, False, False]
