"""Several sessions with one device: simultaneous starts resolve, late mail opens, replays and forgeries are refused, and a refusal changes nothing."""

from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.protocol_devices import ProtocolDevice
from vyry.signal_protocol.handshake import PREFIX_BYTES
from vyry.signal_protocol.primitives import SigningPair
from vyry.signal_protocol.refusals import (
    BadMessage,
    BadSignature,
    DuplicateMessage,
    IdentityChanged,
    PrekeyReplayed,
    PrekeyUnknown,
    SessionUnknown,
    UnknownType,
)
from vyry.signal_protocol.sessions import MAX_ARCHIVED, STALE_MS, UNANSWERED_MS, Sessions


def active(device: ProtocolDevice) -> bytes:
    assert device.sessions.active is not None
    return device.sessions.active.session_id


def test_a_first_message_and_its_answer() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()

    first, second = alice.send(bob, b"one"), alice.send(bob, b"two")
    assert first[:PREFIX_BYTES] == second[:PREFIX_BYTES]
    assert [bob.receive(alice, second), bob.receive(alice, first)] == [b"two", b"one"]

    assert alice.receive(bob, bob.send(alice, b"three")) == b"three"
    assert alice.send(bob, b"four")[1] == 2


@pytest.mark.parametrize("bob_hears_first", [True, False])
def test_two_who_begin_at_once_settle_on_the_same_session(bob_hears_first: bool) -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    to_bob, to_alice = alice.send(bob, b"from alice"), bob.send(alice, b"from bob")

    if bob_hears_first:
        bob.receive(alice, to_bob)
    assert alice.receive(bob, to_alice) == b"from bob"
    if not bob_hears_first:
        bob.receive(alice, to_bob)

    assert active(alice) == active(bob) == min(active(alice), active(bob))
    assert bob.receive(alice, alice.send(bob, b"again")) == b"again"
    assert active(alice) == active(bob)


def test_a_handshake_without_one_time_keys_is_answered_once() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one", one_time=False)
    bob.receive(alice, content)
    bob.sessions = Sessions()

    with pytest.raises(PrekeyReplayed):
        bob.receive(alice, content)


def test_a_handshake_with_one_time_keys_cannot_be_repeated() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one")
    bob.receive(alice, content)
    bob.sessions = Sessions()

    with pytest.raises(PrekeyUnknown):
        bob.receive(alice, content)


def test_the_same_content_twice_is_a_duplicate() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one")
    bob.receive(alice, content)

    with pytest.raises(DuplicateMessage):
        bob.receive(alice, content)


def test_another_identity_is_held_until_the_person_accepts_it() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    bob.identity = SigningPair.generate().public

    with pytest.raises(IdentityChanged):
        bob.open(alice, content := alice.send(bob, b"one"))

    bob.identity = alice.person.device.identity.public
    assert bob.receive(alice, content) == b"one"


def test_nothing_is_sent_to_another_identity_than_the_one_held() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    bundle, now = bob.kept.bundle(100), 0

    with pytest.raises(IdentityChanged):
        alice.sessions.begin(alice.person.device, bundle, now, identity_key=SigningPair.generate().public)
    alice.sessions.begin(alice.person.device, bundle, now, identity_key=bundle.identity_key)


def test_a_session_of_another_identity_than_the_one_held_opens_nothing() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    bob.receive(alice, alice.send(bob, b"one"))
    alice.receive(bob, bob.send(alice, b"two"))
    content = alice.send(bob, b"three")
    held, bob.identity = bob.identity, bytes(32)

    with pytest.raises(SessionUnknown):
        bob.open(alice, content)

    bob.identity = held
    assert bob.receive(alice, content) == b"three"


def test_of_two_that_began_at_once_the_smaller_id_wins() -> None:
    for _ in range(6):
        alice, bob = ProtocolDevice(), ProtocolDevice()
        to_bob, to_alice = alice.send(bob, b"from alice"), bob.send(alice, b"from bob")
        smaller = min(active(alice), active(bob))
        alice.receive(bob, to_alice)
        bob.receive(alice, to_bob)

        assert active(alice) == active(bob) == smaller


def test_a_further_first_message_never_changes_which_session_is_active() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    first, late = alice.send(bob, b"one"), alice.send(bob, b"late")
    bob.receive(alice, first)
    alice.sessions, alice.now = alice.sessions.archive(), 1
    bob.receive(alice, alice.send(bob, b"in a new session"))
    newer = active(bob)

    assert bob.receive(alice, late) == b"late"
    assert active(bob) == newer


def test_a_message_of_another_session_behind_a_genuine_prefix_is_refused() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one")

    with pytest.raises(BadMessage):
        bob.open(alice, content[: PREFIX_BYTES + 2] + bytes(8) + content[PREFIX_BYTES + 10 :])
    assert bob.receive(alice, content) == b"one"


def test_a_prefix_swapped_under_a_known_session_is_refused() -> None:
    alice, bob, eve = ProtocolDevice(), ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one")
    bob.receive(alice, content)
    bob.identity = None

    with pytest.raises(BadMessage):
        bob.open(alice, eve.send(bob, b"x")[:PREFIX_BYTES] + alice.send(bob, b"two")[PREFIX_BYTES:])


def test_an_own_prefix_that_comes_back_is_refused() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()

    with pytest.raises(BadMessage):
        alice.open(bob, alice.send(bob, b"one"))


def test_a_refused_handshake_uses_nothing_up() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one")
    before = (dict(bob.kept.once), bob.sessions)

    with pytest.raises(BadMessage):
        bob.open(alice, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadSignature):
        bob.open(alice, content[:80] + bytes([content[80] ^ 1]) + content[81:])

    assert (bob.kept.once, bob.sessions) == before
    assert bob.receive(alice, content) == b"one"


def test_a_content_from_another_device_does_not_open() -> None:
    alice, bob, eve = ProtocolDevice(), ProtocolDevice(), ProtocolDevice()

    with pytest.raises(BadMessage):
        bob.open(eve, alice.send(bob, b"one"))


def test_late_mail_opens_in_an_archived_session_and_makes_it_active() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    bob.receive(alice, alice.send(bob, b"one"))
    alice.receive(bob, bob.send(alice, b"two"))
    late = alice.send(bob, b"late")
    old = active(bob)
    alice.sessions = alice.sessions.archive()
    bob.receive(alice, alice.send(bob, b"new"))
    assert active(bob) != old

    assert bob.receive(alice, late) == b"late"
    assert active(bob) == old


def test_the_sixth_archived_session_is_forgotten() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    for number in range(MAX_ARCHIVED + 2):
        alice.now += 1
        alice.sessions = alice.sessions.archive()
        bob.receive(alice, alice.send(bob, b"%d" % number))

    assert len(bob.sessions.archived) == len(alice.sessions.archived) == MAX_ARCHIVED


def test_a_message_of_no_session_is_unknown() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    bob.receive(alice, alice.send(bob, b"one"))
    alice.receive(bob, bob.send(alice, b"two"))
    content = alice.send(bob, b"three")
    bob.sessions = Sessions()

    with pytest.raises(SessionUnknown):
        bob.open(alice, content)
    with pytest.raises(SessionUnknown):
        Sessions().seal(b"to nobody")
    with pytest.raises(SessionUnknown):
        Sessions().activate(bytes(8))
    with pytest.raises(UnknownType):
        bob.open(alice, b"\x01\x03" + content[2:])


def test_old_sessions_make_room_for_fresh_secrets() -> None:
    alice, bob = ProtocolDevice(), ProtocolDevice()
    content = alice.send(bob, b"one")
    assert not alice.sessions.needs_bundle(UNANSWERED_MS)
    assert alice.sessions.needs_bundle(UNANSWERED_MS + 1)

    bob.receive(alice, content)
    alice.receive(bob, bob.send(alice, b"two"))
    assert not alice.sessions.needs_bundle(STALE_MS)
    assert alice.sessions.needs_bundle(STALE_MS + 1)


class Conversation(RuleBasedStateMachine):
    """Two devices that begin, answer, lose, repeat and reorder: every content opens once, and both can always write."""

    @initialize()
    def meet(self) -> None:
        self.devices = (ProtocolDevice(), ProtocolDevice())
        self.under_way: list[tuple[int, bytes, bytes]] = []
        self.opened: set[bytes] = set()

    @rule(who=st.integers(0, 1), one_time=st.booleans())
    def send(self, who: int, one_time: bool) -> None:
        for device in self.devices:
            device.now += 1
        text = uuid4().bytes
        self.under_way.append((who, text, self.devices[who].send(self.devices[1 - who], text, one_time=one_time)))

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1_000))
    def deliver(self, which: int) -> None:
        who, text, content = self.under_way[which % len(self.under_way)]
        receiver, sender = self.devices[1 - who], self.devices[who]
        try:
            assert receiver.receive(sender, content) == text
            assert content not in self.opened
            self.opened.add(content)
        except (DuplicateMessage, PrekeyReplayed):
            assert content in self.opened
        except (SessionUnknown, PrekeyUnknown):
            # Its session was pushed out of the archive by newer ones.
            assert len(receiver.sessions.archived) == MAX_ARCHIVED

    @rule(who=st.integers(0, 1))
    def begin_anew(self, who: int) -> None:
        self.devices[who].sessions = self.devices[who].sessions.archive()

    def teardown(self) -> None:
        for who in (0, 1, 0, 1):
            sender, receiver = self.devices[who], self.devices[1 - who]
            try:
                assert receiver.receive(sender, sender.send(receiver, b"still")) == b"still"
            except (SessionUnknown, PrekeyUnknown):
                # Contents that a client answers with a retry: both begin new sessions.
                receiver.sessions = receiver.sessions.archive()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
