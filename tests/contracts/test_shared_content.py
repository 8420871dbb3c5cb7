"""What a content that many share costs: it is stored once, stays as long as one device may still read it, and goes with the last."""

from datetime import timedelta

import pytest

from tests.support.mail_store_harness import MailStoreHarness, contents_of, make_message
from vyry.kernel.ids import DeviceId, MailboxKey, UserId, new_id
from vyry.mail.store import MailboxCaps


@pytest.fixture
def caps() -> MailboxCaps:
    """Room for two entries each."""
    return MailboxCaps(mail_entries=2)


async def boxes(mail_harness: MailStoreHarness, count: int) -> list[MailboxKey]:
    """So many mailboxes of one account: accounts cost more, and the content does not know them."""
    user = UserId(new_id())
    return [await mail_harness.add_mailbox(user, DeviceId(number % 127 + 1)) for number in range(count)]


async def read(mail_harness: MailStoreHarness, box: MailboxKey) -> list[bytes | None]:
    """What the device is shown, and acknowledges."""
    entries = await mail_harness.numbered_entries(box)
    await mail_harness.acknowledge(box, entries[-1].seq, entries[-1].head)
    return contents_of(entries)


async def test_what_a_thousand_share_is_stored_once_and_goes_with_the_last_of_them(
    mail_harness: MailStoreHarness,
) -> None:
    everybody = await boxes(mail_harness, 1000)

    (stored,) = await mail_harness.post(make_message(*everybody, text=b"shared"))
    after_post = await mail_harness.registry.count_contents()
    await mail_harness.store.deposit(everybody)
    first = [await read(mail_harness, box) for box in everybody[:5]]
    points = {box: (await mail_harness.numbered_entries(box))[-1] for box in everybody[5:]}
    for box in everybody[5:-1]:
        await mail_harness.acknowledge(box, 1, points[box].head)
    after_all_but_one = await mail_harness.registry.count_contents()

    assert (len(set(stored.numbers)), after_post, after_all_but_one) == (1000, 1, 1)
    assert first == [[b"shared"]] * 5
    assert await read(mail_harness, everybody[-1]) == [b"shared"]
    assert await mail_harness.registry.count_contents() == 0


async def test_a_copy_that_is_lost_takes_nothing_from_the_others(mail_harness: MailStoreHarness) -> None:
    full, ended, parked, reader = await boxes(mail_harness, 4)
    await mail_harness.post_and_deposit(full, b"one", b"two")
    await mail_harness.registry.end_mailbox(ended)

    (stored,) = await mail_harness.post(make_message(full, ended, parked, reader, text=b"shared"))
    await mail_harness.store.deposit([full, ended, parked, reader])
    await mail_harness.store.discard(parked, 1)

    assert [number is None for number in stored.numbers] == [True, True, False, False]
    assert contents_of(await mail_harness.numbered_entries(parked)) == [None]
    assert await read(mail_harness, full) == [b"one", b"two"]
    assert await mail_harness.registry.count_contents() == 1
    assert await read(mail_harness, reader) == [b"shared"]
    assert await mail_harness.registry.count_contents() == 0


async def test_a_mailbox_that_ends_before_it_is_numbered_lets_go_of_its_share(mail_harness: MailStoreHarness) -> None:
    ended, reader = await boxes(mail_harness, 2)
    await mail_harness.post(make_message(ended, reader, text=b"shared"))
    await mail_harness.registry.end_mailbox(ended)

    await mail_harness.store.deposit([ended, reader])

    assert await mail_harness.registry.count_contents() == 1
    assert await read(mail_harness, reader) == [b"shared"]
    assert await mail_harness.registry.count_contents() == 0


async def test_with_its_expiry_it_is_gone_whoever_has_read_it(mail_harness: MailStoreHarness) -> None:
    everybody = await boxes(mail_harness, 3)
    await mail_harness.post(make_message(*everybody, text=b"shared", lifetime=timedelta(seconds=9)))
    await mail_harness.store.deposit(everybody)
    await read(mail_harness, everybody[0])
    mail_harness.clock.advance(seconds=9)

    shown = [contents_of(await mail_harness.numbered_entries(box)) for box in everybody[1:]]
    await mail_harness.upkeep.expire(mail_harness.clock.now(), 100)

    assert shown == [[None], [None]]
    assert await mail_harness.registry.count_contents() == 0
