"""Sender keys under loss, reordering, repetition, crashes, newcomers and leavers: who may read reads once, and nobody else anything."""

from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from vyry.client.packing import pack, unpack
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.ratchet import MAX_JUMP, MAX_KEPT
from vyry.signal_protocol.refusals import (
    BadContent,
    DuplicateMessage,
    JumpTooFar,
    Malformed,
    Refusal,
    SenderKeyUnknown,
)
from vyry.signal_protocol.sender_keys import (
    GENERATION_MESSAGES,
    GENERATION_MILLISECONDS,
    MAX_GENERATIONS,
    Distribution,
    Generations,
    Reader,
    SenderKey,
    Speaker,
    Where,
)


WHERE = Where(uuid4(), Address(uuid4(), 1))
DEVICES = [Address(uuid4(), number) for number in (1, 2, 3)]
READERS = [Reader(device, 7) for device in DEVICES]


class Group(RuleBasedStateMachine):
    """One device speaks to those who are members now; they read late, twice, out of order, or are killed before they stored it."""

    @initialize()
    def begin(self) -> None:
        self.speaker: Speaker = Speaker.fresh(WHERE, 0)
        self.readers = {device: Generations(WHERE) for device in DEVICES}
        self.members = set(DEVICES[:1])
        #: Content, text, and who may read it.
        self.sent: list[tuple[bytes, bytes, frozenset[Address]]] = []
        self.read: set[tuple[Address, bytes]] = set()
        self.generations = 1

    @rule(who=st.sampled_from(DEVICES))
    def join_or_leave(self, who: Address) -> None:
        self.members ^= {who}

    @rule(is_killed=st.booleans())
    def say(self, is_killed: bool) -> None:
        members = [Reader(device, 7) for device in self.members]
        if self.speaker.is_due(members, 0):
            self.speaker, self.generations = Speaker.fresh(WHERE, 0), self.generations + 1
        for each in self.speaker.untold(members):
            self.readers[each.address] = self.readers[each.address].accept(self.speaker.key.distribution())
        self.speaker = self.speaker.telling(members)
        text = uuid4().bytes
        after, content = self.speaker.seal(text)
        if not is_killed:
            self.speaker = unpack(Speaker, pack(after))
            self.sent.append((content, text, frozenset(self.members)))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 1_000), who=st.sampled_from(DEVICES), is_killed=st.booleans())
    def hear(self, which: int, who: Address, is_killed: bool) -> None:
        content, text, told = self.sent[which % len(self.sent)]
        try:
            after, plaintext = self.readers[who].open(content)
        except DuplicateMessage:
            assert who not in told or (who, content) in self.read
        except SenderKeyUnknown:
            assert who not in told or self.generations > MAX_GENERATIONS
        else:
            assert (plaintext, who in told, (who, content) in self.read) == (text, True, False)
            if not is_killed:
                self.readers[who] = unpack(Generations, pack(after))
                self.read.add((who, content))

    def teardown(self) -> None:
        for content, text, told in getattr(self, "sent", []):
            for who in told:
                if (who, content) not in self.read and content[2:18] in self.readers[who].held:
                    self.readers[who], plaintext = self.readers[who].open(content)
                    assert plaintext == text


TestGroup = Group.TestCase
TestGroup.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_flipped_bit_of_a_group_message_is_refused_and_changes_nothing(data: st.DataObject) -> None:
    key = SenderKey.fresh(WHERE)
    reader = Generations(WHERE).accept(key.distribution())
    _, content = key.seal(b"to all")
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))

    with pytest.raises(Refusal):
        reader.open(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])

    assert reader.open(content)[1] == b"to all"


def test_a_message_belongs_to_its_conversation_and_sender() -> None:
    key = SenderKey.fresh(WHERE)
    _, content = key.seal(b"to all")

    for other in (Where(uuid4(), WHERE.sender), Where(WHERE.conversation_id, Address(WHERE.sender.user_id, 2))):
        with pytest.raises(Refusal):
            Generations(other).accept(key.distribution()).open(content)


@pytest.mark.parametrize(
    ("readers", "now", "is_due"),
    [
        (READERS, 0, False),
        (READERS[:2], 0, False),
        (READERS[:1], 0, True),
        ([], 0, True),
        ([READERS[0], Reader(DEVICES[1], 8)], 0, True),
        (READERS[:2], GENERATION_MILLISECONDS - 1, False),
        (READERS[:2], GENERATION_MILLISECONDS, True),
    ],
    ids=["a newcomer", "nothing new", "one left", "all left", "a number given again", "almost a week", "a week"],
)
def test_a_new_generation_is_due_when_somebody_left_or_a_week_went_by(
    readers: list[Reader], now: int, is_due: bool
) -> None:
    assert Speaker.fresh(WHERE, 0).telling(READERS[:2]).is_due(readers, now) is is_due


def test_a_device_that_lost_its_key_is_told_again() -> None:
    speaker = Speaker.fresh(WHERE, 0).telling(READERS)

    assert speaker.untelling(DEVICES[1]).untold(READERS) == (READERS[1],)
    assert not speaker.untelling(DEVICES[1]).is_due(READERS, 0)


def test_a_generation_says_ten_thousand_messages() -> None:
    speaker = Speaker.fresh(WHERE, 0)
    chain = speaker.key.chain
    for _ in range(GENERATION_MESSAGES - 1):
        chain = chain.step()[1]
    last = Speaker(SenderKey(WHERE, speaker.key.sender_key_id, speaker.key.signing, chain), 0)

    assert not last.is_due([], 0)
    assert last.seal(b"the last")[0].is_due([], 0)


def test_keys_put_aside_are_two_thousand_at_most_the_oldest_go_first() -> None:
    key = SenderKey.fresh(WHERE)
    reader = Generations(WHERE).accept(key.distribution())
    contents = []
    for _ in range(3 * MAX_JUMP + 3):
        key, content = key.seal(b"x")
        contents.append(content)

    for number in (1_000, 2_001, 3_002):
        reader, _ = reader.open(contents[number])

    assert len(reader.held[key.sender_key_id].kept) == MAX_KEPT
    with pytest.raises(DuplicateMessage):
        reader.open(contents[0])
    assert reader.open(contents[3_001])[1] == b"x"


def test_a_reader_far_behind_is_refused_and_goes_on_where_it_was() -> None:
    key = SenderKey.fresh(WHERE)
    reader = Generations(WHERE).accept(key.distribution())
    key, near = key.seal(b"near")
    for _ in range(MAX_JUMP):
        key, _lost = key.seal(b"lost")

    with pytest.raises(JumpTooFar):
        reader.open(key.seal(b"far")[1])
    assert reader.open(near)[1] == b"near"


def told(**changes: object) -> Content:
    fields = Distribution(bytes(16), 3, bytes(32), bytes([9]) * 32).fields()
    return Content(Distribution.KIND, uuid4(), 1, WHERE.conversation_id, {**fields, **changes})


def test_a_distribution_is_read_as_written() -> None:
    distribution = SenderKey.fresh(WHERE).distribution()
    content = told(**distribution.fields())

    assert Distribution.read(read_content(content.pack(), WHERE.conversation_id)) == distribution


@pytest.mark.parametrize(
    "changes",
    [
        {"senderKeyId": "AA=="},
        {"senderKeyId": None},
        {"iteration": -1},
        {"iteration": 2**32 - 1},
        {"iteration": True},
        {"iteration": 1.0},
        {"chainKey": "A" * 43},
        {"chainKey": "A" * 42 + "B="},
        {"signingKey": " " + "A" * 43 + "="},
        {"signingKey": 5},
    ],
)
def test_what_is_no_distribution_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadContent):
        Distribution.read(told(**changes))


def test_a_distribution_of_another_kind_or_with_a_key_that_proves_nothing_is_refused() -> None:
    with pytest.raises(BadContent):
        Distribution.read(Content("text", uuid4(), 1, WHERE.conversation_id, told().fields))
    with pytest.raises(Refusal):
        Generations(WHERE).accept(Distribution(bytes(16), 0, bytes(32), bytes(32)))
    good = SenderKey.fresh(WHERE).distribution()
    with pytest.raises(Malformed):
        Generations(WHERE).accept(Distribution(bytes(15), 0, good.chain_key, good.signing_key))
