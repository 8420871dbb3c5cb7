"""A sender whose state was copied or restored uses a key twice: the second message is distinguished from a repetition, and costs the reader nothing."""

from dataclasses import replace
from uuid import uuid4

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.protocol_devices import ProtocolDevice
from tests.support.protocol_sessions import make_session_pair
from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.handshake import PREFIX_BYTES
from vyry.signal_protocol.primitives import Address, SigningPair
from vyry.signal_protocol.ratchet import HEADER_BYTES, Ratchet
from vyry.signal_protocol.refusals import BadMessage, BadSignature, DuplicateMessage, Refusal, SenderRewound
from vyry.signal_protocol.replay_record import MAX_REMEMBERED, check_not_opened, group_position
from vyry.signal_protocol.sender_keys import Generations, SenderKey, SenderKeyScope


def turned(alice: Ratchet, bob: Ratchet, times: int) -> tuple[Ratchet, Ratchet]:
    """Both ratchets after so many turns."""
    for _ in range(times):
        bob, content = bob.seal(b"x")
        alice, _ = alice.open(content)
        alice, content = alice.seal(b"y")
        bob, _ = bob.open(content)
    return alice, bob


@pytest.mark.parametrize("turns", [0, 1, 5, 9])
def test_other_bytes_under_a_used_key_are_no_repetition_also_many_turns_later(turns: int) -> None:
    alice, bob = make_session_pair()
    _, second = alice.seal(b"by the copy")
    alice, first = alice.seal(b"by the original")
    bob, _ = bob.open(first)
    alice, bob = turned(alice, bob, turns)

    with pytest.raises(SenderRewound):
        bob.open(second)
    with pytest.raises(DuplicateMessage):
        bob.open(first)


def test_a_message_that_was_late_is_remembered_too() -> None:
    alice, bob = make_session_pair()
    copied = alice
    alice, late = alice.seal(b"late")
    _, early = alice.seal(b"early")
    bob, _ = bob.open(early)
    bob, _ = bob.open(late)

    with pytest.raises(SenderRewound):
        bob.open(copied.seal(b"other")[1])
    with pytest.raises(DuplicateMessage):
        bob.open(late)


@settings(max_examples=80, deadline=None)
@given(st.integers(HEADER_BYTES, 577), st.integers(0, 7))
def test_what_the_node_spoils_behind_a_used_key_costs_nothing(at: int, bit: int) -> None:
    alice, bob = make_session_pair()
    alice, content = alice.seal(b"hello")
    bob, _ = bob.open(content)
    before = pack(bob)

    with pytest.raises(SenderRewound):
        bob.open(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])

    assert pack(bob) == before
    assert bob.open(alice.seal(b"next")[1])[1] == b"next"


def test_a_spoiled_message_whose_key_is_unused_does_not_open_and_is_not_remembered() -> None:
    alice, bob = make_session_pair()
    _, content = alice.seal(b"hello")

    with pytest.raises(BadMessage):
        bob.open(content[:-1] + bytes([content[-1] ^ 1]))

    assert bob.open(content)[1] == b"hello"


def test_two_hundred_messages_are_remembered_and_what_is_older_is_a_repetition() -> None:
    alice, bob = make_session_pair()
    copied, contents = alice, []
    for _ in range(MAX_REMEMBERED + 1):
        alice, content = alice.seal(b"x")
        bob, _ = bob.open(content)
        contents.append(content)
    copied, forgotten = copied.seal(b"other")
    _, remembered = copied.seal(b"other")

    for content in (contents[0], forgotten, contents[1]):
        with pytest.raises(DuplicateMessage):
            bob.open(content)
    with pytest.raises(SenderRewound):
        bob.open(remembered)
    assert len(bob.opened) == MAX_REMEMBERED * 16


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.integers(0, 30)), max_size=40))
def test_of_two_copies_of_a_sender_no_message_is_dropped_in_silence(acts: list[tuple[int, bool, int]]) -> None:
    alice, bob = make_session_pair()
    copies, wire = [alice, alice], list[tuple[bytes, bytes]]()
    opened: dict[bytes, bytes] = {}
    for which, is_sealing, number in acts:
        if is_sealing or not wire:
            text = uuid4().bytes
            copies[which], content = copies[which].seal(text)
            wire.append((text, content))
            continue
        text, content = wire[number % len(wire)]
        place = content[:HEADER_BYTES]
        try:
            bob, plaintext = bob.open(content)
        except DuplicateMessage:
            assert opened[place] == content
        except SenderRewound:
            assert opened[place] != content
        else:
            assert plaintext == text
            assert place not in opened
            opened[place] = content
        bob = unpack(Ratchet, pack(bob))


def test_a_first_message_sealed_twice_is_told_too() -> None:
    ann, bo = ProtocolDevice(), ProtocolDevice()
    first = ann.send(bo, b"first")
    before = ann.sessions
    one = ann.send(bo, b"one")
    ann.sessions = before
    two = ann.send(bo, b"two")
    bo.receive(ann, first)
    bo.receive(ann, one)
    kept = bo.sessions

    for content in (two, two[PREFIX_BYTES:]):
        with pytest.raises(SenderRewound):
            bo.open(ann, content)
    for content in (one, one[PREFIX_BYTES:]):
        with pytest.raises(DuplicateMessage):
            bo.open(ann, content)
    assert bo.sessions == kept


def group() -> tuple[SenderKey, Generations]:
    key = SenderKey.generate(SenderKeyScope(uuid4(), Address(uuid4(), 1)))
    return key, Generations(key.where).accept(key.distribution())


def test_a_sender_key_used_twice_is_told_from_a_repetition() -> None:
    key, reader = group()
    copied = key
    key, first = key.seal(b"by the original")
    key, next_one = key.seal(b"next")
    reader, _ = reader.open(next_one)
    reader, _ = reader.open(first)
    before = pack(reader)

    for again, refusal in (
        (first, DuplicateMessage),
        (next_one, DuplicateMessage),
        (copied.seal(b"x")[1], SenderRewound),
    ):
        with pytest.raises(refusal):
            reader.open(again)
    assert pack(reader) == before
    assert reader.open(key.seal(b"on")[1])[1] == b"on"


def test_no_other_member_and_no_node_makes_a_sender_key_look_used_twice() -> None:
    key, reader = group()
    _, content = key.seal(b"to all")
    reader, _ = reader.open(content)
    _, forged = replace(key, signing=SigningPair.generate()).seal(b"forged")

    for bad in (
        forged,
        content[:-1] + bytes([content[-1] ^ 1]),
        content[:30] + bytes([content[30] ^ 1]) + content[31:],
    ):
        with pytest.raises(BadSignature):
            reader.open(bad)


@given(st.lists(st.integers(0, 3), unique=True), st.integers(0, 300))
def test_a_position_is_found_where_it_stands_and_nowhere_else(opened: list[int], other: int) -> None:
    # Positions and hashes of few values: one is often found across the edge of two others.
    known = b"".join(group_position(each << 8 * each) + bytes(8) for each in opened)

    def is_found(iteration: int) -> bool:
        try:
            check_not_opened(known, group_position(iteration), b"content")
        except SenderRewound:
            return True
        return False

    places = {each << 8 * each for each in opened}
    assert {each: is_found(each) for each in (*places, other)} == {each: each in places for each in (*places, other)}


def test_of_a_generation_two_hundred_messages_are_remembered() -> None:
    key, reader = group()
    copied = key
    for _ in range(MAX_REMEMBERED + 1):
        key, content = key.seal(b"x")
        reader, _ = reader.open(content)
    copied, forgotten = copied.seal(b"other")
    _, remembered = copied.seal(b"other")

    for content, refusal in ((forgotten, DuplicateMessage), (remembered, SenderRewound)):
        with pytest.raises(refusal):
            reader.open(content)
    assert len(reader.held[key.sender_key_id].opened) == MAX_REMEMBERED * 16


def test_a_state_kept_before_messages_were_remembered_is_read_and_remembers_none() -> None:
    alice, bob = make_session_pair()
    alice, content = alice.seal(b"hello")
    bob, _ = bob.open(content)
    fields = msgpack.unpackb(pack(bob), use_list=False, strict_map_key=False)
    del fields["opened"]

    old = unpack(Ratchet, msgpack.packb(fields))

    assert replace(bob, opened=b"") == old
    with pytest.raises(DuplicateMessage):
        old.open(content)


def test_what_it_says_names_the_cause() -> None:
    said: Refusal = SenderRewound()

    assert (said.name, str(said)) == (
        "SenderRewound",
        "The sender used a message key twice: the sender's state was copied or restored, or the node changed the message.",
    )
