"""The client requests once what it could not open, and resends only what it sent to that very device."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import OwnSenderKeys, Peers
from vyry.client.crypto.unsealing import IncomingEnvelope, SourceSession
from vyry.client.store.outgoing import Outgoing, SendQueue, SentContent, SentTo, device_key, hash_device
from vyry.client.store.store import Store
from vyry.client.sync.retries import Retries
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import (
    BadMessage,
    DuplicateMessage,
    SenderKeyUnknown,
    SenderRewound,
    SessionUnknown,
    UnknownVersion,
)
from vyry.signal_protocol.retries import SENT_MILLISECONDS, Retry
from vyry.signal_protocol.sender_keys import Distribution, KeyRecipient, SenderKeyScope
from vyry.signal_protocol.sessions import PeerDevice, Sessions, peer_device


HERE, NOW = UUID(int=7), 1_800_000_000_000
BO = Address(uuid4(), 1)
PAIRWISE, GROUP = b"\x01\x02" + bytes(64), b"\x01\x03" + bytes(100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        LocalDevice.generate(uuid4(), 1).save(opened)
        yield opened


def letter(content: bytes = PAIRWISE, *, sender: Address = BO, at: int = NOW) -> IncomingEnvelope:
    return IncomingEnvelope(sender, HERE, uuid4(), content, at)


def queued(store: Store) -> list[Content]:
    waiting = SendQueue(store).pending()
    assert all(
        (each.people, each.device, each.is_pairwise) == ((BO.user_id,), device_key(BO), True) for each in waiting
    )
    return [read_content(each.plaintext, HERE) for each in waiting]


#: Bo's device, in all sessions of this file.
BUNDLE = ProtocolDevice().kept.bundle(5)
PEER = peer_device(BUNDLE)


def sent(
    store: Store, *, to: Address = BO, at: int = NOW, is_group: bool = False, peer: PeerDevice = PEER, **fields: object
) -> tuple[UUID, Content]:
    content, message_id = Content("text", uuid4(), 5, HERE, {"text": "hello", **fields}), uuid4()
    addressed = (SentTo(*device_key(to), hash_device(peer)),)
    SendQueue(store).record_sent(message_id, SentContent(content.pack(), None, addressed, is_group), at)
    return message_id, content


def ask(store: Store, message_id: UUID, reason: str = "BadMessage", at: int = NOW) -> None:
    sessions = Sessions().begin(LocalDevice.load(store).protocol_device, BUNDLE, NOW)
    assert sessions.active
    Peers(store).save_sessions(BO, sessions.archive())
    asked = Content(Retry.KIND, uuid4(), 1, HERE, Retry(message_id, reason).fields())
    before = len(SendQueue(store).pending())

    Retries(store).answer_retry(asked, letter(at=at), SourceSession(sessions.active.session_id, PEER))

    # The session of a request becomes the active one, once the rate limit has admitted the request.
    is_answered = len(SendQueue(store).pending()) > before
    assert Peers(store).sessions(BO) == (sessions if is_answered else sessions.archive())


@pytest.mark.parametrize("content", [PAIRWISE, GROUP])
def test_a_letter_is_asked_for_once_and_by_its_refusal(store: Store, content: bytes) -> None:
    unread, retries = letter(content), Retries(store)
    refusal = SenderKeyUnknown() if content is GROUP else SessionUnknown()

    assert retries.request_resend(unread, refusal)
    assert not retries.request_resend(unread, refusal)

    [asked] = queued(store)
    wanted = Retry.read(asked)
    assert (wanted.message_id, wanted.reason) == (unread.message_id, refusal.name)
    assert wanted.sender_key_id == (bytes(16) if content is GROUP else None)


def test_what_asking_does_not_mend_is_not_asked_for(store: Store) -> None:
    retries = Retries(store)

    assert not retries.request_resend(letter(), DuplicateMessage())
    assert not retries.request_resend(letter(), UnknownVersion())
    assert not retries.request_resend(letter(GROUP), BadMessage())
    assert queued(store) == []


@pytest.mark.parametrize("content", [PAIRWISE, GROUP])
def test_a_key_used_twice_is_asked_about_in_the_session_there_is_five_times_an_hour(
    store: Store, content: bytes
) -> None:
    sessions = Sessions().begin(LocalDevice.load(store).protocol_device, ProtocolDevice().kept.bundle(5), NOW)
    Peers(store).save_sessions(BO, sessions)

    assert [Retries(store).request_resend(letter(content), SenderRewound()) for _ in range(6)] == [True] * 5 + [False]

    assert Peers(store).sessions(BO) == sessions
    assert {Retry.read(each).reason for each in queued(store)} == {"SenderRewound"}


def test_five_an_hour_are_asked_for(store: Store) -> None:
    retries = Retries(store)

    assert [retries.request_resend(letter(at=NOW + number), BadMessage()) for number in range(6)] == [True] * 5 + [
        False
    ]
    assert retries.request_resend(letter(at=NOW + 3_600_000), BadMessage())
    assert retries.request_resend(letter(sender=Address(uuid4(), 1)), BadMessage())


def test_what_was_sent_to_a_device_is_sent_to_it_again_once(store: Store) -> None:
    message_id, said = sent(store)

    ask(store, message_id)
    ask(store, message_id)

    [again] = queued(store)
    assert (again.id, again.at, again.fields) == (said.id, said.at, {"text": "hello", "resendOf": str(message_id)})


def test_what_is_gone_or_was_for_others_is_said_to_be_gone(store: Store) -> None:
    for message_id, at in (
        (uuid4(), NOW),
        (sent(store, to=Address(BO.user_id, 2))[0], NOW),
        (sent(store)[0], NOW + SENT_MILLISECONDS + 1),
    ):
        ask(store, message_id, at=at)

    assert [each.kind for each in queued(store)] == ["resync"] * 3
    assert "hello" not in str(queued(store))


@pytest.mark.parametrize("reason", ["SenderKeyUnknown", "JumpTooFar", "SenderRewound"])
def test_a_group_message_goes_behind_its_sender_key(store: Store, reason: str) -> None:
    keys = OwnSenderKeys(store)
    own = keys.current(SenderKeyScope(HERE, LocalDevice.load(store).protocol_device.address), [], NOW).with_recipients(
        [KeyRecipient(BO, 7)]
    )
    keys.save(HERE, own)

    ask(store, sent(store, is_group=True)[0], reason)

    told = [Distribution.read(each) for each in queued(store) if each.kind == Distribution.KIND]
    if reason != SenderKeyUnknown.__name__:
        # The reader never rewinds a key: the next message creates another one.
        assert (told, keys.get(HERE)) == ([], None)
    else:
        assert told == [own.key.distribution()]
        assert queued(store)[0].kind == Distribution.KIND
    assert queued(store)[-1].fields["text"] == "hello"


def test_of_too_much_that_was_sent_the_oldest_is_forgotten(store: Store) -> None:
    first, _ = sent(store)
    with store.transaction():
        for _ in range(1_000):
            sent(store)

    assert SendQueue(store).find_sent(first, NOW) is None
    assert len(store.all("sent")) == 1_000
    assert Outgoing.from_content(Content("text", uuid4(), 5, HERE), NOW).lane == "mail"


def used(store: Store) -> Sessions:
    """A session with Bo that both sides have used."""
    sessions = Sessions().begin(LocalDevice.load(store).protocol_device, BUNDLE, NOW)
    assert sessions.active
    sessions = replace(sessions, active=replace(sessions.active, prefix=None, answered_at=NOW))
    Peers(store).save_sessions(BO, sessions)
    return sessions


def test_one_envelope_that_does_not_open_ends_no_session_in_use(store: Store) -> None:
    sessions, retries = used(store), Retries(store)

    assert retries.request_resend(letter(), BadMessage())
    assert Peers(store).sessions(BO) == sessions
    assert retries.request_resend(letter(at=NOW + 3_600_000), BadMessage())
    assert Peers(store).sessions(BO) == sessions

    assert retries.request_resend(letter(at=NOW + 3_600_001), BadMessage())

    assert Peers(store).sessions(BO) == sessions.archive()


def test_a_member_forces_one_generation_an_hour(store: Store) -> None:
    keys, where = OwnSenderKeys(store), SenderKeyScope(HERE, LocalDevice.load(store).protocol_device.address)
    for at, is_replaced in ((NOW, True), (NOW + 3_599_999, False), (NOW + 3_600_000, True)):
        keys.save(HERE, keys.current(where, [KeyRecipient(BO, 7)], NOW).with_recipients([KeyRecipient(BO, 7)]))
        message_id, _ = sent(store, is_group=True, at=at)

        ask(store, message_id, "JumpTooFar", at)

        assert (keys.get(HERE) is None) is is_replaced


@pytest.mark.parametrize(("fields", "later"), [({"isViewOnce": True}, 0), ({"timerSeconds": 5}, 5_000)])
def test_what_has_ended_or_is_viewed_once_is_not_sent_again(store: Store, fields: dict[str, Any], later: int) -> None:
    message_id, _ = sent(store, **fields)

    ask(store, message_id, at=NOW + later)

    assert [each.kind for each in queued(store)] == ["resync"]


def test_what_was_unsent_is_not_sent_again(store: Store) -> None:
    message_id, said = sent(store)
    SendQueue(store).delete_sent(said.id)

    ask(store, message_id)

    assert [each.kind for each in queued(store)] == ["resync"]


@pytest.mark.parametrize("kind", ["senderKey", "groupKey", "profileKey"])
def test_keys_are_not_kept_with_what_was_sent(store: Store, kind: str) -> None:
    secret = "c2VjcmV0"
    told = Content(kind, uuid4(), 5, HERE, {"chainKey": secret, "groupKey": secret, "profileKey": secret})

    SendQueue(store).record_sent(uuid4(), SentContent(told.pack(), told.pack(), (), is_group=False), NOW)

    assert all(secret.encode() not in kept for kept in store.all("sent"))
