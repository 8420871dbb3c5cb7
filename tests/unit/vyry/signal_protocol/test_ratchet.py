"""The Double Ratchet and sender keys: with any loss, delay or repetition each message opens exactly once; a changed one never opens."""

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.protocol_sessions import make_session_pair
from vyry.signal_protocol.frame import MAX_PADDED, pad, unpad
from vyry.signal_protocol.primitives import Address, SigningPair
from vyry.signal_protocol.ratchet import CHAIN_END, KEPT_MILLISECONDS, MAX_JUMP, MAX_KEPT, Chain, Ratchet
from vyry.signal_protocol.refusals import (
    BadMessage,
    BadPadding,
    BadSignature,
    DuplicateMessage,
    JumpTooFar,
    Malformed,
    Refusal,
    SenderKeyConflict,
    SenderKeyUnknown,
    TooLarge,
)
from vyry.signal_protocol.sender_keys import MAX_GENERATIONS, Generations, SenderKey, SenderKeyScope


Acts = st.lists(st.tuples(st.sampled_from(["seal", "open"]), st.booleans(), st.integers(0, 30)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(Acts)
def test_whatever_is_lost_late_or_doubled_each_message_opens_exactly_once(acts: list[tuple[str, bool, int]]) -> None:
    sides: list[Ratchet] = list(make_session_pair())
    sides[0], first = sides[0].seal(b"first")
    sides[1], _ = sides[1].open(first)
    under_way: list[tuple[int, bytes, bytes]] = []
    opened: set[bytes] = set()
    for act, is_bob, number in acts:
        me = int(is_bob)
        if act == "seal":
            text = b"%d" % len(under_way)
            sides[me], content = sides[me].seal(text)
            under_way.append((1 - me, text, content))
        elif under_way:
            to, text, content = under_way[number % len(under_way)]
            if content in opened:
                with pytest.raises(DuplicateMessage):
                    sides[to].open(content)
                continue
            sides[to], plaintext = sides[to].open(content)
            opened.add(content)
            assert plaintext == text
    assert all(len(side.kept) <= len(under_way) for side in sides)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 577), st.integers(0, 7))
def test_a_flipped_bit_is_refused_and_changes_nothing(at: int, bit: int) -> None:
    alice, bob = make_session_pair()
    alice, content = alice.seal(b"hello")
    flipped = content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

    with pytest.raises(Refusal):
        bob.open(flipped)

    assert bob.open(content)[1] == b"hello"


def test_a_thousand_lost_messages_are_taken_and_one_more_is_not() -> None:
    alice, bob = make_session_pair()
    for _ in range(MAX_JUMP):
        alice, _lost = alice.seal(b"lost")
    alice, taken = alice.seal(b"taken")
    _, refused = alice.seal(b"refused")

    with pytest.raises(JumpTooFar):
        bob.open(refused)
    assert bob.open(taken)[1] == b"taken"
    assert len(bob.open(taken)[0].kept) == MAX_JUMP


def test_two_thousand_keys_are_put_aside_at_most_the_oldest_go_first() -> None:
    alice, bob = make_session_pair()
    contents = []
    for _ in range(2 * MAX_JUMP + 12):
        alice, content = alice.seal(b"x")
        contents.append(content)
    for number in (1_000, 2_001, 2_011):
        bob, _ = bob.open(contents[number])

    assert len(bob.kept) == MAX_KEPT
    with pytest.raises(DuplicateMessage):
        bob.open(contents[8])
    assert bob.open(contents[9])[1] == b"x"


def test_a_chain_ends_before_its_last_number() -> None:
    alice, bob = make_session_pair()
    assert alice.sending is not None
    last = replace(alice, sending=replace(alice.sending, number=CHAIN_END - 1))
    ended, content = last.seal(b"the last")

    assert int.from_bytes(content[46:50]) == CHAIN_END - 1
    with pytest.raises(BadMessage):
        ended.seal(b"one more")
    with pytest.raises(BadMessage):
        bob.open(content[:46] + b"\xff\xff\xff\xff" + content[50:])


def test_each_turn_makes_keys_that_the_state_before_does_not_know() -> None:
    alice, bob = make_session_pair()
    alice, content = alice.seal(b"one")
    bob, _ = bob.open(content)
    stolen = bob
    bob, answer = bob.seal(b"two")
    alice, _ = alice.open(answer)
    alice, content = alice.seal(b"three")
    bob, _ = bob.open(content)
    bob, healed = bob.seal(b"four")

    assert alice.open(healed)[1] == b"four"
    assert {stolen.root_key, stolen.own.private}.isdisjoint({bob.root_key, bob.own.private})


def test_a_key_of_many_turns_ago_is_a_duplicate() -> None:
    alice, bob = make_session_pair()
    alice, old = alice.seal(b"old")
    bob, _ = bob.open(old)
    for _ in range(5):
        bob, content = bob.seal(b"x")
        alice, _ = alice.open(content)
        alice, content = alice.seal(b"y")
        bob, _ = bob.open(content)

    with pytest.raises(DuplicateMessage):
        bob.open(old)


def test_keys_of_messages_missing_for_thirty_days_go() -> None:
    alice, bob = make_session_pair()
    alice, _lost = alice.seal(b"lost")
    _, content = alice.seal(b"here")
    bob, _ = bob.open(content, now=1_000)

    assert len(bob.without_old_keys(1_000 + KEPT_MILLISECONDS).kept) == 1
    assert len(bob.without_old_keys(1_001 + KEPT_MILLISECONDS).kept) == 0


@pytest.mark.parametrize("size", [0, 65, 66, 65_537])
def test_what_has_no_room_for_a_message_is_none(size: int) -> None:
    _, bob = make_session_pair()

    with pytest.raises((Malformed, TooLarge, BadMessage)):
        bob.open(b"\x01\x02" + bytes(max(0, size - 2)) if size else b"")


@given(st.binary(max_size=2_000))
def test_padding_comes_off_as_it_went_on(plaintext: bytes) -> None:
    padded = pad(plaintext)

    assert len(padded) % 512 == 0
    assert unpad(padded) == plaintext


@pytest.mark.parametrize(
    "padded",
    [b"", bytes(512), b"x" * 512, b"\x80" + bytes(1023), b"x" * 511 + b"\x81", bytes(511) + b"\x80" + b"\0"],
    ids=["nothing", "zeros", "no mark", "a step too many", "another mark", "no whole step"],
)
def test_what_padding_does_not_make_is_refused(padded: bytes) -> None:
    with pytest.raises(BadPadding):
        unpad(padded)


def test_the_longest_text_is_known() -> None:
    assert len(pad(bytes(MAX_PADDED - 1))) == MAX_PADDED
    with pytest.raises(TooLarge):
        pad(bytes(MAX_PADDED))


def group() -> tuple[SenderKey, Generations]:
    where = SenderKeyScope(uuid4(), Address(uuid4(), 1))
    key = SenderKey.generate(where)
    return key, Generations(where).accept(key.distribution())


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_group_messages_open_once_in_any_order(order: list[int], lost: set[int]) -> None:
    key, reader = group()
    contents = []
    for number in range(8):
        key, content = key.seal(b"%d" % number)
        contents.append(content)

    for number in order:
        if number in lost:
            continue
        reader, plaintext = reader.open(contents[number])
        assert plaintext == b"%d" % number
        with pytest.raises(DuplicateMessage):
            reader.open(contents[number])


@pytest.mark.parametrize("at", range(0, 614, 13))
def test_a_changed_group_message_is_refused(at: int) -> None:
    key, reader = group()
    _, content = key.seal(b"to all")

    with pytest.raises(Refusal):
        reader.open(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_a_member_who_holds_the_chain_key_cannot_write_in_the_name_of_the_sender() -> None:
    key, reader = group()
    forger = replace(key, signing=SigningPair.generate())

    with pytest.raises(BadSignature):
        reader.open(forger.seal(b"forged")[1])


def test_a_newcomer_reads_nothing_older() -> None:
    key, _ = group()
    key, old = key.seal(b"before")
    newcomer = Generations(key.where).accept(key.distribution())
    _, new = key.seal(b"after")

    with pytest.raises(DuplicateMessage):
        newcomer.open(old)
    assert newcomer.open(new)[1] == b"after"


def test_a_known_sender_key_is_never_rewound_nor_taken_over() -> None:
    key, reader = group()
    first = key.distribution()
    key, content = key.seal(b"one")
    reader, _ = reader.open(content)

    assert reader.accept(first) is reader
    with pytest.raises(SenderKeyConflict):
        reader.accept(replace(first, signing_key=SigningPair.generate().public))


def test_the_oldest_of_six_generations_is_forgotten() -> None:
    key, reader = group()
    _, old = key.seal(b"old")
    for _ in range(MAX_GENERATIONS):
        reader = reader.accept(SenderKey.generate(key.where).distribution())

    with pytest.raises(SenderKeyUnknown):
        reader.open(old)


def test_a_group_chain_ends_before_its_last_number() -> None:
    key, _ = group()
    ended = replace(key, chain=replace(key.chain, number=CHAIN_END))

    with pytest.raises(BadMessage):
        ended.seal(b"one more")


@pytest.mark.parametrize("jump", [MAX_JUMP, MAX_JUMP + 1])
def test_the_jump_limit_of_groups(jump: int) -> None:
    key, reader = group()
    for _ in range(jump):
        key, _lost = key.seal(b"lost")
    _, content = key.seal(b"here")

    opened: Callable[[], bytes] = lambda: reader.open(content)[1]  # noqa: E731
    if jump > MAX_JUMP:
        with pytest.raises(JumpTooFar):
            opened()
    else:
        assert opened() == b"here"


def test_a_chain_key_is_forgotten_with_each_step() -> None:
    chain = Chain(bytes(32))
    message_key, after = chain.step()

    assert len({chain.key, message_key, after.key}) == 3
    assert after.number == 1
