"""A session belongs to an identity, and an account to the keys stored for it, whatever the node reports."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.client_inbox import (
    CONVERSATION,
    NOW,
    InboxHarness,
    device_list_of,
    make_content,
    open_inbox,
    second_device,
)
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.peers import OwnSenderKeys, Peers, changed_key, is_verified
from vyry.client.crypto.unsealing import IncomingEnvelope
from vyry.client.store.events import DeviceListDiffers, Event, Message, OwnIdentityForged, Unreadable
from vyry.client.store.outgoing import Outgoing, SendQueue, SentContent, SentTo, hash_device
from vyry.client.sync import inbox
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import SessionUnknown
from vyry.signal_protocol.retries import Retry
from vyry.signal_protocol.sender_keys import KeyRecipient, SenderKeyScope
from vyry.signal_protocol.sessions import PeerDevice, Sessions, peer_device


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
def bo() -> ProtocolDevice:
    return ProtocolDevice()


def signed_up_again(bo: ProtocolDevice) -> ProtocolDevice:
    """The same account and device id with new keys."""
    again = ProtocolDevice()
    again.person = replace(again.person, device=replace(again.person.device, address=bo.address))
    again.kept.owner = again.person
    return again


def reply_in_session(ann: InboxHarness, bo: ProtocolDevice) -> bytes:
    """A content for that device, in the existing session."""
    peers = Peers(ann.store)
    sessions, sealed = peers.sessions(bo.address).seal(b"yes")
    peers.save_sessions(bo.address, sessions)
    return sealed


def sent_to(address: Address, peer: PeerDevice) -> SentTo:
    return SentTo(address.user_id, address.device_id, hash_device(peer))


def ann_to(ann: InboxHarness) -> ProtocolDevice:
    """The client as the sender that other devices see."""
    shown = ProtocolDevice()
    shown.person = replace(shown.person, device=ann.local_device.protocol_device)
    return shown


def texts(events: Iterable[Event]) -> list[str]:
    return [each.text for each in events if isinstance(each, Message)]


def test_a_session_of_an_identity_that_was_given_up_opens_nothing(ann: InboxHarness, bo: ProtocolDevice) -> None:
    assert texts(ann.receive_content(bo, make_content())) == ["hello"]
    bo.receive(ann_to(ann), reply_in_session(ann, bo))
    late, new = ann.seal(bo, make_content().pack()), signed_up_again(bo)

    ann.inbox.accept_identity(bo.address.user_id, new.person.device.identity.public)
    ann.receive(bo.address, late)

    assert [each.reason for each in ann.pop_events() if isinstance(each, Unreadable)] == [SessionUnknown.__name__]
    assert Peers(ann.store).sessions(bo.address) == Sessions()


def test_a_late_handshake_of_an_identity_that_was_given_up_asks_nobody_again(
    ann: InboxHarness, bo: ProtocolDevice
) -> None:
    ann.receive_content(bo, make_content())
    late = ann.seal(bo, make_content().pack())
    ann.inbox.accept_identity(bo.address.user_id, signed_up_again(bo).person.device.identity.public)

    ann.receive(bo.address, late)

    assert [each.name for each in ann.pop_events()] == ["unreadable"]
    assert changed_key(ann.store, bo.address.user_id) is None


def test_after_a_key_is_accepted_nothing_goes_to_the_old_devices(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.receive_content(bo, make_content())
    where, reader = SenderKeyScope(CONVERSATION, ann.local_device.protocol_device.address), KeyRecipient(bo.address, 77)
    keys = OwnSenderKeys(ann.store)
    keys.save(CONVERSATION, keys.current(where, [reader], NOW).with_recipients([reader]))
    ann.store.put("verified", str(bo.address.user_id), Peers(ann.store).identity_key(bo.address.user_id))

    ann.inbox.accept_identity(bo.address.user_id, signed_up_again(bo).person.device.identity.public)

    assert keys.get(CONVERSATION) is None
    assert not is_verified(ann.store, bo.address.user_id)


def test_what_was_sent_to_one_identity_is_not_sent_to_the_next(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.receive_content(bo, make_content())
    queue, new, said = SendQueue(ann.store), signed_up_again(bo), make_content()
    old_peer = peer_device(bo.kept.bundle(5))
    outgoing = Outgoing.from_content(said, NOW)
    queue.record_sent(outgoing.message_id, SentContent(said.pack(), None, (sent_to(bo.address, old_peer),)), NOW)
    ann.inbox.accept_identity(bo.address.user_id, new.person.device.identity.public)
    ann.pop_events()
    kept = queue.find_sent(outgoing.message_id, NOW)
    assert kept
    assert kept.devices == ()

    ann.receive_content(new, make_content(Retry.KIND, **Retry(outgoing.message_id, "BadMessage").fields()))

    assert [each.kind for each in queue.pending()] == ["resync"]


def test_a_device_of_the_same_number_with_other_keys_gets_nothing_again(ann: InboxHarness, bo: ProtocolDevice) -> None:
    queue, said, other = SendQueue(ann.store), make_content(), second_device(bo, 1)
    outgoing, peer = Outgoing.from_content(said, NOW), peer_device(bo.kept.bundle(5))
    queue.record_sent(outgoing.message_id, SentContent(said.pack(), None, (sent_to(bo.address, peer),)), NOW)

    ann.receive_content(other, make_content(Retry.KIND, **Retry(outgoing.message_id, "BadMessage").fields()))

    assert [each.kind for each in queue.pending()] == ["resync"]


def test_late_mail_of_a_replaced_device_is_read_and_its_session_is_never_used_again(
    ann: InboxHarness, bo: ProtocolDevice
) -> None:
    ann.receive_content(bo, make_content())
    late, other = ann.seal(bo, make_content().pack()), second_device(bo, 1)
    ann.store_device_list(bo.address.user_id, device_list_of(other))
    peers = Peers(ann.store)
    peers.match_listed(bo.address, peer_device(other.kept.bundle(6)), NOW)

    ann.receive(bo.address, late)

    assert texts(ann.pop_events()) == ["hello"]
    assert peers.sessions(bo.address).active is None


def test_the_session_of_a_replaced_device_ends_after_thirty_days(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.receive_content(bo, make_content())
    peers, other, day = Peers(ann.store), second_device(bo, 1), 86_400_000
    ann.store_device_list(bo.address.user_id, device_list_of(other))
    peers.match_listed(bo.address, peer_device(other.kept.bundle(6)), NOW)

    ann.receive_content(other, make_content(), at=NOW + 30 * day)
    assert len(peers.sessions(bo.address).archived) == 1
    ann.receive_content(other, make_content(), at=NOW + 31 * day)

    assert len(peers.sessions(bo.address).archived) == 0


@pytest.mark.parametrize(("days", "told"), [(30, ["message"]), (31, ["unreadable"])])
def test_late_mail_of_a_replaced_device_is_read_for_thirty_days_whatever_else_came(
    ann: InboxHarness, bo: ProtocolDevice, days: int, told: list[str]
) -> None:
    ann.receive_content(bo, make_content())
    bo.receive(ann_to(ann), reply_in_session(ann, bo))
    late, other = ann.seal(bo, make_content().pack()), second_device(bo, 1)
    for each in (bo, other):
        ann.store_device_list(bo.address.user_id, device_list_of(each))
    Peers(ann.store).match_listed(bo.address, peer_device(other.kept.bundle(6)), NOW)

    ann.receive(bo.address, late, at=NOW + days * 86_400_000)

    assert [each.name for each in ann.pop_events()] == told
    assert Peers(ann.store).sessions(bo.address).active is None


def test_letters_under_another_identity_wait_up_to_a_bound_and_are_opened_once_it_is_accepted(
    ann: InboxHarness, bo: ProtocolDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.receive_content(bo, make_content())
    monkeypatch.setattr(inbox, "MAX_HELD", 20)
    new = signed_up_again(bo)
    contents = [ann.seal(new, make_content(text=str(number)).pack()) for number in range(21)]

    ann.receive(bo.address, *contents)

    assert [each.name for each in ann.pop_events()] == ["identityChanged", "unreadable"]
    assert changed_key(ann.store, bo.address.user_id) == new.person.device.identity.public
    ann.inbox.accept_identity(bo.address.user_id, new.person.device.identity.public)
    assert texts(ann.pop_events()) == [str(number) for number in range(20)]


def test_nobody_speaks_for_ones_own_account_under_another_key(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ghost = ProtocolDevice()
    own = replace(ghost.person.device, address=Address(ann.local_device.user_id, 2))
    ghost.person = replace(ghost.person, device=own)
    said = make_content(text="I agree to everything.")
    sync = make_content("sync", sync={"sent": {"v": 1, "kind": "text"}, "recipients": []})

    assert ann.receive_content(ghost, said) == [OwnIdentityForged(source="message", device_id=2)]
    # The same event is added once.
    assert ann.receive_content(ghost, sync) == []
    assert SendQueue(ann.store).pending() == []


def test_a_sync_counts_only_from_a_device_of_the_own_verified_list(ann: InboxHarness) -> None:
    laptop = ProtocolDevice()
    own = replace(
        laptop.person.device, address=Address(ann.local_device.user_id, 2), identity=ann.local_device.identity
    )
    laptop.person = replace(laptop.person, device=own)
    sync = make_content("sync", sync={"read": []})

    assert [each.name for each in ann.receive_content(laptop, sync)] == ["ownIdentityForged"]
    ann.store_device_list(ann.local_device.user_id, device_list_of(laptop))

    assert [each.name for each in ann.receive_content(laptop, sync)] == ["read"]


def test_a_content_of_a_device_on_no_list_is_shown_and_told(ann: InboxHarness, bo: ProtocolDevice) -> None:
    hidden = second_device(bo)
    ann.store_device_list(bo.address.user_id, device_list_of(bo))

    told = ann.receive_content(hidden, make_content())

    assert [each.name for each in told] == ["deviceListDiffers", "message"]
    assert told[0] == DeviceListDiffers(user_id=bo.address.user_id, device_id=2, seen_by="peer")
    assert [each.name for each in ann.receive_content(hidden, make_content())] == ["message"]


def test_letters_are_opened_only_by_their_own_device(ann: InboxHarness, bo: ProtocolDevice) -> None:
    letter = IncomingEnvelope(bo.address, CONVERSATION, make_content().id, ann.seal(bo, make_content().pack()), NOW)
    other = Address(ProtocolDevice().address.user_id, 1)

    ann.receive(other, letter.content)

    assert [each.name for each in ann.pop_events()] == ["unreadable"]


def test_a_removed_device_is_heard_until_all_mail_of_before_is_here(ann: InboxHarness, bo: ProtocolDevice) -> None:
    laptop = second_device(bo)
    ann.store_device_list(bo.address.user_id, device_list_of(bo, laptop))
    ann.store_device_list(bo.address.user_id, device_list_of(bo))

    ann.inbox.on_welcome(None, NOW - 1)
    ann.inbox.on_drained()
    assert [each.name for each in ann.receive_content(laptop, make_content())] == ["message"]
    # Reconnected: later mail was posted after its end.
    ann.inbox.on_welcome(None, NOW)
    ann.inbox.on_drained()

    assert [each.name for each in ann.receive_content(laptop, make_content())] == ["deviceListDiffers", "message"]
