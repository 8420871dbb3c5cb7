"""What the sweeper forgets about accounts, and what it keeps."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support.account_harness import WEEK, AccountStores, open_stores
from tests.support.fake_clock import NOON
from vyry.accounts.account import KEEP_ENDED
from vyry.accounts.otp import Challenge, Purpose
from vyry.accounts.otp_limits import UNLIMITED, OtpCounterKeys
from vyry.accounts.sessions import Rotated, Rotation
from vyry.kernel.ids import new_id
from vyry.storage.account_upkeep import TortoiseAccountUpkeep
from vyry.storage.models import DeviceRow, MailboxRow, OtpChallengeRow, OtpSentRow, RefreshTokenRow, RevocationRow


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as stores:
        yield stores


async def test_word_of_an_end_is_kept_for_ten_minutes(stores: AccountStores) -> None:
    await stores.sign_up()
    for minutes in (5, 11):
        _ = await RevocationRow.create(device=new_id(), at=NOON - timedelta(minutes=minutes))

    assert await TortoiseAccountUpkeep().delete_expired(NOON, 100) == 1
    assert [row.at for row in await RevocationRow.all()] == [NOON - timedelta(minutes=5)]


async def test_what_still_means_something_is_kept(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    challenge = Challenge(new_id(), "a" * 64, b"s", Purpose.LOGIN, b"h", NOON, NOON + timedelta(minutes=3))
    await stores.otp.open_challenge(challenge, OtpCounterKeys("a" * 64, "b" * 64, "c" * 64, "d" * 64), UNLIMITED)

    assert await TortoiseAccountUpkeep().delete_expired(NOON + timedelta(minutes=2), 100) == 0

    outcome = await stores.sessions.rotate(Rotation("r0", "r1", uuid4(), NOON, WEEK))
    assert isinstance(outcome, Rotated)


async def test_the_rest_goes_in_bounded_batches(stores: AccountStores) -> None:
    for number in range(3):
        user = (await stores.sign_up(f"{number:064}", refresh=f"r{number}")).user_id
        challenge = Challenge(new_id(), f"{number:064}", b"s", Purpose.LOGIN, b"h", NOON, NOON)
        await stores.otp.open_challenge(
            challenge, OtpCounterKeys(f"{number:064}", "b" * 64, "c" * 64, "d" * 64), UNLIMITED
        )
        await stores.devices.end(user, stores.last_device, NOON)
    await stores.sign_up("f" * 64, refresh="r9")
    upkeep = TortoiseAccountUpkeep()
    late = NOON + KEEP_ENDED + timedelta(seconds=1)

    batches = [
        await upkeep.delete_expired(late, 2),
        await upkeep.delete_expired(late, 2),
        await upkeep.delete_expired(late, 2),
    ]

    assert batches == [7, 3, 0]
    assert (await OtpChallengeRow.all().count(), await OtpSentRow.all().count()) == (0, 0)
    assert (await RefreshTokenRow.all().count(), await DeviceRow.all().count(), await MailboxRow.all().count()) == (
        0,
        1,
        1,
    )
