"""Keys that a client deletes: one-time keys with the first message, signed prekeys and their replay records when no mail for them can come, sender keys when they expire."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.local_device import LocalDevice, PrekeyStore
from vyry.client.crypto.peers import OwnSenderKeys, Peers
from vyry.client.crypto.prekey_publisher import ISSUED_DAYS, RETIRED_DAYS, PrekeyPublisher
from vyry.client.crypto.unsealing import EnvelopeOpener, IncomingEnvelope
from vyry.client.store.store import DAY_MS, Store
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import PrekeyReplayed, PrekeyUnknown, Refusal
from vyry.signal_protocol.sender_keys import GENERATION_MILLISECONDS, KeyRecipient, SenderKeyScope


NOW = 1_800_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        with opened.transaction():
            me, _ = PrekeyPublisher(opened).make_key_set(LocalDevice.generate(uuid4(), 1), NOW)
            me.save(opened)
        yield opened


def bundle(store: Store, *, one_time: int = 0) -> Bundle:
    """The bundle that the node returns: with the one-time keys of that id, or with none."""
    me, prekeys = LocalDevice.load(store), PrekeyStore(store)
    newest, _ = PrekeyPublisher(store).newest_signed()
    signed, last = prekeys.signed_prekey(newest), prekeys.pq_prekey(newest, is_last_resort=True)
    assert signed
    assert last
    once: PublicPrekey | None = None
    if one_time:
        held, last = prekeys.one_time_prekey(one_time), prekeys.pq_prekey(one_time, is_last_resort=False)
        assert held
        assert last
        once = held.unsigned()
    own = me.protocol_device
    published = (own.identity.public, own.dh.public, own.dh_signature(), signed.publish(own), once, last.publish(own))
    return Bundle(own.address, own.registration_id, *published, pq_is_last_resort=not one_time)


def first_letter(store: Store, *, one_time: int = 0) -> IncomingEnvelope:
    ann = ProtocolDevice()
    ann.sessions = ann.sessions.begin(ann.person.device, bundle(store, one_time=one_time), 0)
    ann.sessions, content = ann.sessions.seal(b"hello")
    return IncomingEnvelope(ann.address, uuid4(), uuid4(), content, NOW)


def opened(store: Store, letter: IncomingEnvelope) -> bytes:
    return EnvelopeOpener(store).open(LocalDevice.load(store), letter).plaintext


def test_one_time_keys_are_deleted_with_the_first_message_that_they_opened(store: Store) -> None:
    letter, prekeys = first_letter(store, one_time=2), PrekeyStore(store)

    assert opened(store, letter) == b"hello"

    assert prekeys.one_time_prekey(2) is None
    assert prekeys.pq_prekey(2, is_last_resort=False) is None
    assert prekeys.one_time_prekey(3) is not None
    Peers(store).delete_sessions()
    with pytest.raises(PrekeyUnknown):
        opened(store, letter)


def test_a_message_that_is_refused_uses_no_key_up(store: Store) -> None:
    letter, prekeys = first_letter(store, one_time=2), PrekeyStore(store)

    with pytest.raises(Refusal):
        opened(store, replace(letter, content=letter.content[:-1] + bytes([letter.content[-1] ^ 1])))

    assert prekeys.one_time_prekey(2) is not None
    assert opened(store, letter) == b"hello"


def test_the_last_resort_stays_and_its_handshakes_are_remembered(store: Store) -> None:
    letter = first_letter(store)
    assert opened(store, letter) == b"hello"
    Peers(store).delete_sessions()

    with pytest.raises(PrekeyReplayed):
        opened(store, letter)
    assert opened(store, first_letter(store)) == b"hello"


def test_a_replaced_signed_prekey_opens_late_mail_for_thirty_days_and_is_deleted_with_its_record(store: Store) -> None:
    late, replayed, publishing = first_letter(store), first_letter(store), PrekeyPublisher(store)
    old, _ = publishing.newest_signed()
    opened(store, replayed)
    me, _ = publishing.rotate_signed(LocalDevice.load(store), NOW)
    me.save(store)
    publishing.expire_old(NOW)

    store.delete_expired(NOW + RETIRED_DAYS * DAY_MS)
    assert opened(store, late) == b"hello"
    assert len(store.all("replay")) == 2

    store.delete_expired(NOW + (RETIRED_DAYS + 2) * DAY_MS)
    assert PrekeyStore(store).signed_prekey(old) is None
    assert PrekeyStore(store).pq_prekey(old, is_last_resort=True) is None
    assert len(store.all("replay")) == 1


def test_a_one_time_key_that_was_given_away_and_never_used_is_deleted_after_sixty_days(store: Store) -> None:
    publishing, prekeys = PrekeyPublisher(store), PrekeyStore(store)
    publishing.expire_issued({"oneTime": 3, "pq": 2}, NOW)
    publishing.expire_issued({"oneTime": 3, "pq": 2}, NOW + ISSUED_DAYS * DAY_MS)

    store.delete_expired(NOW + ISSUED_DAYS * DAY_MS)
    assert prekeys.one_time_prekey(2) is not None
    store.delete_expired(NOW + (ISSUED_DAYS + 2) * DAY_MS)

    assert [prekeys.one_time_prekey(number) is None for number in (2, 3, 4)] == [True, True, False]
    assert [prekeys.pq_prekey(number, is_last_resort=False) is None for number in (2, 3)] == [True, False]


def test_an_own_sender_key_lives_a_week_and_ends_when_somebody_leaves(store: Store) -> None:
    keys, where = OwnSenderKeys(store), SenderKeyScope(uuid4(), Address(uuid4(), 1))
    ann, bo = KeyRecipient(Address(uuid4(), 1), 7), KeyRecipient(Address(uuid4(), 1), 8)
    first = keys.current(where, [ann, bo], NOW).with_recipients([ann, bo])
    keys.save(where.conversation_id, first)

    assert keys.current(where, [ann, bo], NOW + GENERATION_MILLISECONDS - 1) == first
    week_old = keys.current(where, [ann, bo], NOW + GENERATION_MILLISECONDS)
    assert week_old.key.sender_key_id != first.key.sender_key_id
    keys.save(where.conversation_id, first)
    assert keys.current(where, [ann], NOW).key.sender_key_id != first.key.sender_key_id
