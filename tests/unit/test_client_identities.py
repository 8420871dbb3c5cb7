"""A session belongs to an identity, and an account to the keys that were held for it, whatever the node says."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, listed, mailed_store, second
from tests.signal_devices import Device
from vyry.client import inbox
from vyry.client.events import DeviceListDiffers, Event, Message, OwnIdentityForged, Unreadable
from vyry.client.outgoing import Outgoing, Queue, Sent, SentTo, hash_of
from vyry.client.own_keys import OwnKeys
from vyry.client.peers import Peers, changed_key, is_verified
from vyry.client.unsealing import Letter
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import SessionUnknown
from vyry.signal_protocol.retries import Retry
from vyry.signal_protocol.sender_keys import Reader, Where
from vyry.signal_protocol.sessions import PeerDevice, Sessions, peer_of


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def bo() -> Device:
    return Device()


def signed_up_again(bo: Device) -> Device:
    """The same account and device number with keys of its own."""
    again = Device()
    again.person = replace(again.person, device=replace(again.person.device, address=bo.address))
    again.kept.owner = again.person
    return again


def answer(ann: MailedStore, bo: Device) -> bytes:
    """A content for that device, in the session that there is."""
    peers = Peers(ann.store)
    sessions, sealed = peers.sessions(bo.address).seal(b"yes")
    peers.keep_sessions(bo.address, sessions)
    return sealed


def sent_to(address: Address, peer: PeerDevice) -> SentTo:
    return SentTo(address.user_id, address.device_id, hash_of(peer))


def ann_to(ann: MailedStore) -> Device:
    """The client as the sender that other devices see."""
    shown = Device()
    shown.person = replace(shown.person, device=ann.me.own)
    return shown


def texts(events: Iterable[Event]) -> list[str]:
    return [each.text for each in events if isinstance(each, Message)]


def test_a_session_of_an_identity_that_was_given_up_opens_nothing(ann: MailedStore, bo: Device) -> None:
    assert texts(ann.hears(bo, content())) == ["hello"]
    bo.receive(ann_to(ann), answer(ann, bo))
    late, new = ann.seal(bo, content().pack()), signed_up_again(bo)

    ann.inbox.accept(bo.address.user_id, new.person.device.identity.public)
    ann.take(bo.address, late)

    assert [each.reason for each in ann.told() if isinstance(each, Unreadable)] == [SessionUnknown.__name__]
    assert Peers(ann.store).sessions(bo.address) == Sessions()


def test_a_late_handshake_of_an_identity_that_was_given_up_asks_nobody_again(ann: MailedStore, bo: Device) -> None:
    ann.hears(bo, content())
    late = ann.seal(bo, content().pack())
    ann.inbox.accept(bo.address.user_id, signed_up_again(bo).person.device.identity.public)

    ann.take(bo.address, late)

    assert [each.name for each in ann.told()] == ["unreadable"]
    assert changed_key(ann.store, bo.address.user_id) is None


def test_after_a_key_is_accepted_nothing_goes_to_the_old_devices(ann: MailedStore, bo: Device) -> None:
    ann.hears(bo, content())
    where, reader = Where(HERE, ann.me.own.address), Reader(bo.address, 77)
    keys = OwnKeys(ann.store)
    keys.keep(HERE, keys.current(where, [reader], NOW).telling([reader]))
    ann.store.put("verified", str(bo.address.user_id), Peers(ann.store).identity(bo.address.user_id))

    ann.inbox.accept(bo.address.user_id, signed_up_again(bo).person.device.identity.public)

    assert keys.get(HERE) is None
    assert not is_verified(ann.store, bo.address.user_id)


def test_what_was_sent_to_one_identity_is_not_sent_to_the_next(ann: MailedStore, bo: Device) -> None:
    ann.hears(bo, content())
    queue, new, said = Queue(ann.store), signed_up_again(bo), content()
    old_peer = peer_of(bo.kept.bundle(5))
    outgoing = Outgoing.of(said, NOW)
    queue.note(outgoing.message_id, Sent(said.pack(), None, (sent_to(bo.address, old_peer),)), NOW)
    ann.inbox.accept(bo.address.user_id, new.person.device.identity.public)
    ann.told()
    kept = queue.sent(outgoing.message_id, NOW)
    assert kept
    assert kept.devices == ()

    ann.hears(new, content(Retry.KIND, **Retry(outgoing.message_id, "BadMessage").fields()))

    assert [each.kind for each in queue.waiting()] == ["resync"]


def test_a_device_of_the_same_number_with_other_keys_gets_nothing_again(ann: MailedStore, bo: Device) -> None:
    queue, said, other = Queue(ann.store), content(), second(bo, 1)
    outgoing, peer = Outgoing.of(said, NOW), peer_of(bo.kept.bundle(5))
    queue.note(outgoing.message_id, Sent(said.pack(), None, (sent_to(bo.address, peer),)), NOW)

    ann.hears(other, content(Retry.KIND, **Retry(outgoing.message_id, "BadMessage").fields()))

    assert [each.kind for each in queue.waiting()] == ["resync"]


def test_late_mail_of_a_replaced_device_is_read_and_its_session_is_never_used_again(
    ann: MailedStore, bo: Device
) -> None:
    ann.hears(bo, content())
    late, other = ann.seal(bo, content().pack()), second(bo, 1)
    ann.knows(bo.address.user_id, listed(other))
    peers = Peers(ann.store)
    peers.meet(bo.address, peer_of(other.kept.bundle(6)), NOW)

    ann.take(bo.address, late)

    assert texts(ann.told()) == ["hello"]
    assert peers.sessions(bo.address).active is None


def test_the_session_of_a_replaced_device_ends_after_thirty_days(ann: MailedStore, bo: Device) -> None:
    ann.hears(bo, content())
    peers, other, day = Peers(ann.store), second(bo, 1), 86_400_000
    ann.knows(bo.address.user_id, listed(other))
    peers.meet(bo.address, peer_of(other.kept.bundle(6)), NOW)

    ann.hears(other, content(), at=NOW + 30 * day)
    assert len(peers.sessions(bo.address).archived) == 1
    ann.hears(other, content(), at=NOW + 31 * day)

    assert len(peers.sessions(bo.address).archived) == 0


@pytest.mark.parametrize(("days", "told"), [(30, ["message"]), (31, ["unreadable"])])
def test_late_mail_of_a_replaced_device_is_read_for_thirty_days_whatever_else_came(
    ann: MailedStore, bo: Device, days: int, told: list[str]
) -> None:
    ann.hears(bo, content())
    bo.receive(ann_to(ann), answer(ann, bo))
    late, other = ann.seal(bo, content().pack()), second(bo, 1)
    for each in (bo, other):
        ann.knows(bo.address.user_id, listed(each))
    Peers(ann.store).meet(bo.address, peer_of(other.kept.bundle(6)), NOW)

    ann.take(bo.address, late, at=NOW + days * 86_400_000)

    assert [each.name for each in ann.told()] == told
    assert Peers(ann.store).sessions(bo.address).active is None


def test_letters_under_another_identity_wait_up_to_a_bound_and_are_opened_once_it_is_accepted(
    ann: MailedStore, bo: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.hears(bo, content())
    monkeypatch.setattr(inbox, "MAX_HELD", 20)
    new = signed_up_again(bo)
    contents = [ann.seal(new, content(text=str(number)).pack()) for number in range(21)]

    ann.take(bo.address, *contents)

    assert [each.name for each in ann.told()] == ["identityChanged", "unreadable"]
    assert changed_key(ann.store, bo.address.user_id) == new.person.device.identity.public
    ann.inbox.accept(bo.address.user_id, new.person.device.identity.public)
    assert texts(ann.told()) == [str(number) for number in range(20)]


def test_nobody_speaks_for_ones_own_account_under_another_key(ann: MailedStore, bo: Device) -> None:
    ghost = Device()
    own = replace(ghost.person.device, address=Address(ann.me.user_id, 2))
    ghost.person = replace(ghost.person, device=own)
    said = content(text="I agree to everything.")
    sync = content("sync", sync={"sent": {"v": 1, "kind": "text"}, "recipients": []})

    assert ann.hears(ghost, said) == [OwnIdentityForged(source="message", device_id=2)]
    # The very same is told once.
    assert ann.hears(ghost, sync) == []
    assert Queue(ann.store).waiting() == []


def test_a_sync_counts_only_from_a_device_of_the_own_verified_list(ann: MailedStore) -> None:
    laptop = Device()
    own = replace(laptop.person.device, address=Address(ann.me.user_id, 2), identity=ann.me.identity)
    laptop.person = replace(laptop.person, device=own)
    sync = content("sync", sync={"read": []})

    assert [each.name for each in ann.hears(laptop, sync)] == ["ownIdentityForged"]
    ann.knows(ann.me.user_id, listed(laptop))

    assert [each.name for each in ann.hears(laptop, sync)] == ["read"]


def test_a_content_of_a_device_on_no_list_is_shown_and_told(ann: MailedStore, bo: Device) -> None:
    hidden = second(bo)
    ann.knows(bo.address.user_id, listed(bo))

    told = ann.hears(hidden, content())

    assert [each.name for each in told] == ["deviceListDiffers", "message"]
    assert told[0] == DeviceListDiffers(user_id=bo.address.user_id, device_id=2, seen_by="peer")
    assert [each.name for each in ann.hears(hidden, content())] == ["message"]


def test_letters_are_opened_only_by_their_own_device(ann: MailedStore, bo: Device) -> None:
    letter = Letter(bo.address, HERE, content().id, ann.seal(bo, content().pack()), NOW)
    other = Address(Device().address.user_id, 1)

    ann.take(other, letter.content)

    assert [each.name for each in ann.told()] == ["unreadable"]


def test_a_removed_device_is_heard_until_all_mail_of_before_is_here(ann: MailedStore, bo: Device) -> None:
    laptop = second(bo)
    ann.knows(bo.address.user_id, listed(bo, laptop))
    ann.knows(bo.address.user_id, listed(bo))

    ann.inbox.greeted(None, NOW - 1)
    ann.inbox.drained()
    assert [each.name for each in ann.hears(laptop, content())] == ["message"]
    # Connected again: whatever comes now was posted after its end.
    ann.inbox.greeted(None, NOW)
    ann.inbox.drained()

    assert [each.name for each in ann.hears(laptop, content())] == ["deviceListDiffers", "message"]
