"""Sender keys under loss, reordering, repetition, crashes, joins and leaves: members read each message once, others read nothing."""

from uuid import uuid4

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.ratchet import KEPT_MILLISECONDS, MAX_JUMP, MAX_KEPT
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
    KeyRecipient,
    OwnSenderKey,
    SenderKey,
    SenderKeyScope,
)


WHERE = SenderKeyScope(uuid4(), Address(uuid4(), 1))
DEVICES = [Address(uuid4(), number) for number in (1, 2, 3)]
READERS = [KeyRecipient(device, 7) for device in DEVICES]


class Group(RuleBasedStateMachine):
    """One device writes to the current members; they read late, twice, out of order, or crash before they stored it."""

    @initialize()
    def begin(self) -> None:
        self.speaker: OwnSenderKey = OwnSenderKey.generate(WHERE, 0)
        self.readers = {device: Generations(WHERE) for device in DEVICES}
        self.members = set(DEVICES[:1])
        #: Content, text, and its readers.
        self.sent: list[tuple[bytes, bytes, frozenset[Address]]] = []
        self.read: set[tuple[Address, bytes]] = set()
        self.generations = 1

    @rule(who=st.sampled_from(DEVICES))
    def join_or_leave(self, who: Address) -> None:
        self.members ^= {who}

    @rule(is_killed=st.booleans())
    def say(self, is_killed: bool) -> None:
        members = [KeyRecipient(device, 7) for device in self.members]
        if self.speaker.needs_rotation(members, 0):
            self.speaker, self.generations = OwnSenderKey.generate(WHERE, 0), self.generations + 1
        for each in self.speaker.missing_recipients(members):
            self.readers[each.address] = self.readers[each.address].accept(self.speaker.key.distribution())
        self.speaker = self.speaker.with_recipients(members)
        text = uuid4().bytes
        after, content = self.speaker.seal(text)
        if not is_killed:
            self.speaker = unpack(OwnSenderKey, pack(after))
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
    key = SenderKey.generate(WHERE)
    reader = Generations(WHERE).accept(key.distribution())
    _, content = key.seal(b"to all")
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))

    with pytest.raises(Refusal):
        reader.open(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])

    assert reader.open(content)[1] == b"to all"


def test_a_message_belongs_to_its_conversation_and_sender() -> None:
    key = SenderKey.generate(WHERE)
    _, content = key.seal(b"to all")

    for other in (
        SenderKeyScope(uuid4(), WHERE.sender),
        SenderKeyScope(WHERE.conversation_id, Address(WHERE.sender.user_id, 2)),
    ):
        with pytest.raises(Refusal):
            Generations(other).accept(key.distribution()).open(content)


@pytest.mark.parametrize(
    ("readers", "now", "is_due"),
    [
        (READERS, 0, False),
        (READERS[:2], 0, False),
        (READERS[:1], 0, True),
        ([], 0, True),
        ([READERS[0], KeyRecipient(DEVICES[1], 8)], 0, True),
        (READERS[:2], GENERATION_MILLISECONDS - 1, False),
        (READERS[:2], GENERATION_MILLISECONDS, True),
    ],
    ids=["a newcomer", "nothing new", "one left", "all left", "a number given again", "almost a week", "a week"],
)
def test_a_new_generation_is_due_when_somebody_left_or_a_week_went_by(
    readers: list[KeyRecipient], now: int, is_due: bool
) -> None:
    assert OwnSenderKey.generate(WHERE, 0).with_recipients(READERS[:2]).needs_rotation(readers, now) is is_due


def test_a_device_that_lost_its_key_is_told_again() -> None:
    speaker = OwnSenderKey.generate(WHERE, 0).with_recipients(READERS)

    assert speaker.without_recipient(DEVICES[1]).missing_recipients(READERS) == (READERS[1],)
    assert not speaker.without_recipient(DEVICES[1]).needs_rotation(READERS, 0)


def test_a_generation_says_ten_thousand_messages() -> None:
    speaker = OwnSenderKey.generate(WHERE, 0)
    chain = speaker.key.chain
    for _ in range(GENERATION_MESSAGES - 1):
        chain = chain.step()[1]
    last = OwnSenderKey(SenderKey(WHERE, speaker.key.sender_key_id, speaker.key.signing, chain), 0)

    assert not last.needs_rotation([], 0)
    assert last.seal(b"the last")[0].needs_rotation([], 0)


def test_keys_put_aside_are_two_thousand_at_most_the_oldest_go_first() -> None:
    key = SenderKey.generate(WHERE)
    reader = Generations(WHERE).accept(key.distribution())
    contents = []
    for _ in range(3 * MAX_JUMP + 3):
        key, content = key.seal(b"x")
        contents.append(content)

    for number in (1_000, 2_001, 3_002):
        reader, _ = reader.open(contents[number])

    assert len(reader.held[key.sender_key_id].skipped) == MAX_KEPT
    with pytest.raises(DuplicateMessage):
        reader.open(contents[0])
    assert reader.open(contents[3_001])[1] == b"x"


def silent() -> tuple[SenderKey, list[bytes], Generations]:
    """A generation received at 0 of which message 1 was opened at 1,000, and message 0 was not; the others are missing."""
    key = SenderKey.generate(WHERE)
    reader = Generations(WHERE).accept(key.distribution(), now=0)
    contents = []
    for _ in range(4):
        key, content = key.seal(b"x")
        contents.append(content)
    return key, contents, reader.open(contents[1], now=1_000)[0]


def test_keys_of_group_messages_missing_for_thirty_days_go() -> None:
    key, contents, reader = silent()
    limit = 1_000 + KEPT_MILLISECONDS

    assert reader.open(contents[0], now=limit)[1] == b"x"
    on_time, _ = reader.open(contents[2], now=limit)
    assert list(on_time.held[key.sender_key_id].skipped) == [0]
    late, _ = on_time.open(contents[3], now=limit + 1)
    assert list(late.held[key.sender_key_id].skipped) == []
    with pytest.raises(DuplicateMessage):
        late.open(contents[0], now=limit + 1)


def test_a_generation_ends_thirty_days_after_its_last_message() -> None:
    key, contents, reader = silent()
    limit = 1_000 + KEPT_MILLISECONDS

    assert list(reader.without_old_keys(limit).held) == [key.sender_key_id]
    assert list(reader.without_old_keys(limit + 1).held) == []
    with pytest.raises(SenderKeyUnknown):
        reader.without_old_keys(limit + 1).open(contents[2])
    # A mailbox may keep a message this long: its generation is looked up before it expires.
    assert list(reader.open(contents[2], now=limit + 1)[0].held) == [key.sender_key_id]


def test_a_generation_ends_thirty_days_after_the_next_one_came_however_often_it_is_used() -> None:
    key, contents, reader = silent()
    others = [SenderKey.generate(WHERE) for _ in range(2)]
    reader = reader.accept(others[0].distribution(), now=2_000).accept(others[1].distribution(), now=3_000)
    limit = 2_000 + KEPT_MILLISECONDS

    used, _ = reader.open(contents[2], now=limit)
    assert key.sender_key_id in used.held
    used, plaintext = used.open(contents[3], now=limit + 1)

    assert plaintext == b"x"
    assert list(used.held) == [others[1].sender_key_id]


def test_a_key_told_later_ends_what_is_old_and_a_known_one_changes_nothing() -> None:
    key, _, reader = silent()
    late, other = 1_001 + KEPT_MILLISECONDS, SenderKey.generate(WHERE)

    assert list(reader.accept(other.distribution(), now=late).held) == [other.sender_key_id]
    assert reader.accept(key.distribution(), now=late) is reader


def test_a_state_kept_before_keys_were_dated_is_read_without_its_skipped_keys() -> None:
    key, contents, reader = silent()
    fields = msgpack.unpackb(pack(reader), use_list=False, strict_map_key=False)
    held = fields["held"][key.sender_key_id]
    fields["held"][key.sender_key_id] = {
        **{name: held[name] for name in ("signing_key", "chain")},
        "kept": {0: bytes(32)},
    }

    old = unpack(Generations, msgpack.packb(fields))

    assert old.open(contents[2], now=KEPT_MILLISECONDS * 9)[1] == b"x"
    with pytest.raises(DuplicateMessage):
        old.open(contents[0])


def test_without_a_clock_nothing_ends() -> None:
    key = SenderKey.generate(WHERE)
    reader = Generations(WHERE).accept(key.distribution()).accept(SenderKey.generate(WHERE).distribution())
    reader, _ = reader.open(key.seal(b"x")[1])

    assert len(reader.held) == 2


def test_a_reader_far_behind_is_refused_and_goes_on_where_it_was() -> None:
    key = SenderKey.generate(WHERE)
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
    distribution = SenderKey.generate(WHERE).distribution()
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
    good = SenderKey.generate(WHERE).distribution()
    with pytest.raises(Malformed):
        Generations(WHERE).accept(Distribution(bytes(15), 0, good.chain_key, good.signing_key))
