"""An ended device leaves nothing behind but its row, and takes nothing from anybody else."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.account_harness import AccountStores, open_stores
from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mail_store
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import MailboxCaps
from vyry.storage.database import connection, database_guard
from vyry.storage.models import DeviceRow, KeySetRow, MailboxRow, OneTimePrekeyRow, RefreshTokenRow


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def harness(url: str) -> AsyncIterator[MailStoreHarness]:
    async with open_mail_store(url, MailboxCaps()) as harness:
        yield harness


@pytest.fixture
async def stores(harness: MailStoreHarness) -> AsyncIterator[AccountStores]:
    async with open_stores(harness.url) as stores:
        yield stores


async def publish_keys(mailbox: MailboxKey) -> None:
    """A key set and a one-time prekey for this mailbox."""
    prekey = {"signed_prekey_id": 1, "signed_prekey": b"k", "signed_prekey_signature": b"s", "signed_prekey_at": NOON}
    last_resort = {"pq_last_resort_id": 1, "pq_last_resort": b"k", "pq_last_resort_signature": b"s"}
    await KeySetRow(mailbox=mailbox, suite="vyry", **prekey, **last_resort).save(force_create=True)
    await OneTimePrekeyRow(mailbox=mailbox, kind="ec", key_id=1, public_key=b"k").save(force_create=True)


async def left_of(mailbox: MailboxKey) -> dict[str, int]:
    """How many rows still hang on this mailbox."""
    async with database_guard():
        waiting = await connection().execute_query_dict(f"SELECT count(*) AS n FROM envelope WHERE mailbox = {mailbox}")
    device = await DeviceRow.get(mailbox=mailbox)
    return {
        "envelopes": int(waiting[0]["n"]),
        "key sets": await KeySetRow.filter(mailbox=mailbox).count(),
        "prekeys": await OneTimePrekeyRow.filter(mailbox=mailbox).count(),
        "tokens": await RefreshTokenRow.filter(device=device.id).count(),
    }


async def test_an_ended_device_leaves_no_mail_keys_or_tokens(harness: MailStoreHarness, stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    mailbox = MailboxKey((await DeviceRow.get(id=stores.last_device)).mailbox)
    await publish_keys(mailbox)
    await harness.post_and_deposit(mailbox, b"numbered")
    await harness.post(make_message(mailbox, text=b"unnumbered"))
    assert min((await left_of(mailbox)).values()) > 0

    await stores.devices.end(user, stores.last_device, NOON + timedelta(hours=1))

    assert set((await left_of(mailbox)).values()) == {0}
    assert await harness.registry.count_contents() == 0
    assert (await MailboxRow.get(id=mailbox)).is_ended
    assert (await DeviceRow.get(mailbox=mailbox)).ended_at == NOON + timedelta(hours=1)


async def test_a_body_shared_with_others_stays_for_them(harness: MailStoreHarness, stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    mailbox = MailboxKey((await DeviceRow.get(id=stores.last_device)).mailbox)
    other = await harness.add_mailbox()
    await harness.post(make_message(mailbox, other, text=b"for both"))

    await stores.devices.end(user, stores.last_device, NOON)

    assert await harness.registry.count_contents() == 1
    assert [each.mailbox for each in await harness.store.deposit([mailbox, other])] == [other]


async def test_a_full_mailbox_ends_in_time_whatever_the_planner_believes(
    harness: MailStoreHarness, stores: AccountStores
) -> None:
    user = (await stores.sign_up()).user_id
    mailbox = MailboxKey((await DeviceRow.get(id=stores.last_device)).mailbox)
    for _ in range(9):
        await harness.post(*(make_message(mailbox) for _ in range(1000)))
    async with database_guard():
        await connection().execute_query("ANALYZE")

    # The statement timeout is what it must not run into.
    await stores.devices.end(user, stores.last_device, NOON)

    assert (await left_of(mailbox))["envelopes"] == 0
    assert await harness.registry.count_contents() == 0


async def test_nothing_is_posted_to_an_ended_mailbox(harness: MailStoreHarness, stores: AccountStores) -> None:
    await stores.sign_up(refresh="r1")
    old = MailboxKey((await DeviceRow.get(id=stores.last_device)).mailbox)
    await stores.sign_up(refresh="r2")

    (stored,) = await harness.post(make_message(old))

    assert stored.numbers == [None]
    assert (await left_of(old))["envelopes"] == 0


async def test_signing_up_again_resets_the_identity(harness: MailStoreHarness, stores: AccountStores) -> None:
    user = (await stores.sign_up(refresh="r1")).user_id
    async with database_guard():
        await connection().execute_query_dict("UPDATE account SET suite = 'vyry', identity_key = phone_sealed")

    await stores.sign_up(refresh="r2")

    async with database_guard():
        (row,) = await connection().execute_query_dict("SELECT suite, identity_key, device_list_epoch FROM account")
    assert (row["suite"], row["identity_key"]) == (None, None)
    assert row["device_list_epoch"] == (await stores.devices.list(user)).epoch == 2
