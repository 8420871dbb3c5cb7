"""Keys that a client deletes: one-time keys with the first message, signed prekeys and their replay records when no mail for them can come, sender keys in their time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.signal_devices import Device
from vyry.client.device import KeptPrekeys, Me
from vyry.client.own_keys import OwnKeys
from vyry.client.peers import Peers
from vyry.client.publishing import ISSUED_DAYS, OLD_DAYS, Publishing
from vyry.client.store import DAY, Store
from vyry.client.unsealing import Letter, Unsealing
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import PrekeyReplayed, PrekeyUnknown, Refusal
from vyry.signal_protocol.sender_keys import GENERATION_MILLISECONDS, Reader, Where


NOW = 1_800_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        me, _ = Publishing(opened).whole_set(Me.fresh(uuid4(), 1), NOW)
        me.keep(opened)
        yield opened


def bundle(store: Store, *, one_time: int = 0) -> Bundle:
    """As the node hands it out: with the one-time keys of that number, or with none."""
    me, prekeys = Me.of(store), KeptPrekeys(store)
    newest, _ = Publishing(store).newest()
    signed, last = prekeys.signed(newest), prekeys.pq(newest, is_last_resort=True)
    assert signed
    assert last
    once: PublicPrekey | None = None
    if one_time:
        held, last = prekeys.one_time(one_time), prekeys.pq(one_time, is_last_resort=False)
        assert held
        assert last
        once = held.unsigned()
    own = me.own
    published = (own.identity.public, own.dh.public, own.dh_signature(), signed.publish(own), once, last.publish(own))
    return Bundle(own.address, own.registration_id, *published, pq_is_last_resort=not one_time)


def first_letter(store: Store, *, one_time: int = 0) -> Letter:
    ann = Device()
    ann.sessions = ann.sessions.begin(ann.person.device, bundle(store, one_time=one_time), 0)
    ann.sessions, content = ann.sessions.seal(b"hello")
    return Letter(ann.address, uuid4(), uuid4(), content, NOW)


def opened(store: Store, letter: Letter) -> bytes:
    return Unsealing(store).open(Me.of(store), letter).plaintext


def test_one_time_keys_are_deleted_with_the_first_message_that_they_opened(store: Store) -> None:
    letter, prekeys = first_letter(store, one_time=2), KeptPrekeys(store)

    assert opened(store, letter) == b"hello"

    assert prekeys.one_time(2) is None
    assert prekeys.pq(2, is_last_resort=False) is None
    assert prekeys.one_time(3) is not None
    Peers(store).forget_sessions()
    with pytest.raises(PrekeyUnknown):
        opened(store, letter)


def test_a_message_that_is_refused_uses_no_key_up(store: Store) -> None:
    letter, prekeys = first_letter(store, one_time=2), KeptPrekeys(store)

    with pytest.raises(Refusal):
        opened(store, replace(letter, content=letter.content[:-1] + bytes([letter.content[-1] ^ 1])))

    assert prekeys.one_time(2) is not None
    assert opened(store, letter) == b"hello"


def test_the_last_resort_stays_and_its_handshakes_are_remembered(store: Store) -> None:
    letter = first_letter(store)
    assert opened(store, letter) == b"hello"
    Peers(store).forget_sessions()

    with pytest.raises(PrekeyReplayed):
        opened(store, letter)
    assert opened(store, first_letter(store)) == b"hello"


def test_a_replaced_signed_prekey_opens_late_mail_for_thirty_days_and_is_deleted_with_its_record(store: Store) -> None:
    late, replayed, publishing = first_letter(store), first_letter(store), Publishing(store)
    old, _ = publishing.newest()
    opened(store, replayed)
    me, _ = publishing.rotated(Me.of(store), NOW)
    me.keep(store)
    publishing.retire(NOW)

    store.sweep(NOW + OLD_DAYS * DAY)
    assert opened(store, late) == b"hello"
    assert len(store.all("replay")) == 2

    store.sweep(NOW + (OLD_DAYS + 2) * DAY)
    assert KeptPrekeys(store).signed(old) is None
    assert KeptPrekeys(store).pq(old, is_last_resort=True) is None
    assert len(store.all("replay")) == 1


def test_a_one_time_key_that_was_given_away_and_never_used_is_deleted_after_sixty_days(store: Store) -> None:
    publishing, prekeys = Publishing(store), KeptPrekeys(store)
    publishing.end_issued({"oneTime": 3, "pq": 2}, NOW)
    publishing.end_issued({"oneTime": 3, "pq": 2}, NOW + ISSUED_DAYS * DAY)

    store.sweep(NOW + ISSUED_DAYS * DAY)
    assert prekeys.one_time(2) is not None
    store.sweep(NOW + (ISSUED_DAYS + 2) * DAY)

    assert [prekeys.one_time(number) is None for number in (2, 3, 4)] == [True, True, False]
    assert [prekeys.pq(number, is_last_resort=False) is None for number in (2, 3)] == [True, False]


def test_an_own_sender_key_lives_a_week_and_ends_when_somebody_leaves(store: Store) -> None:
    keys, where = OwnKeys(store), Where(uuid4(), Address(uuid4(), 1))
    ann, bo = Reader(Address(uuid4(), 1), 7), Reader(Address(uuid4(), 1), 8)
    first = keys.current(where, [ann, bo], NOW).telling([ann, bo])
    keys.keep(where.conversation_id, first)

    assert keys.current(where, [ann, bo], NOW + GENERATION_MILLISECONDS - 1) == first
    week_old = keys.current(where, [ann, bo], NOW + GENERATION_MILLISECONDS)
    assert week_old.key.sender_key_id != first.key.sender_key_id
    keys.keep(where.conversation_id, first)
    assert keys.current(where, [ann], NOW).key.sender_key_id != first.key.sender_key_id
