"""Retry rules: a content that does not open is requested once, resent to the very device that asked, and read exactly once."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.protocol_devices import ProtocolDevice
from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.contents import CHANGE_MILLISECONDS, Content, may_change, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import BadContent, Refusal
from vyry.signal_protocol.retries import (
    RETRIES_PER_HOUR,
    SENT_MILLISECONDS,
    Remedy,
    Resync,
    Retry,
    RetryHistory,
    as_resend,
    may_resend,
    remedy,
)
from vyry.signal_protocol.sessions import Sessions


HERE = UUID(int=7)
HOUR = 3_600_000
PAIRWISE, GROUP = b"\x01\x02", b"\x01\x03"


def test_what_is_asked_again_and_how_is_as_the_document_says() -> None:
    named = {each.__name__: each for each in Refusal.__subclasses__()}
    anew = {"SessionUnknown", "PrekeyUnknown", "BadMessage", "JumpTooFar"}

    assert {name for name, each in named.items() if remedy(each(), PAIRWISE) is Remedy.BEGIN_ANEW} == anew
    assert {name for name, each in named.items() if remedy(each(), PAIRWISE)} == {*anew, "SenderRewound"}
    in_group = {name for name, each in named.items() if remedy(each(), GROUP) is Remedy.SAME_SESSION}
    assert in_group == {"SenderKeyUnknown", "JumpTooFar", "SenderRewound"}
    assert {name for name, each in named.items() if remedy(each(), GROUP)} == in_group


def test_an_envelope_is_asked_for_once() -> None:
    envelope = uuid4()
    asked = RetryHistory().with_request(envelope, 0)

    assert not asked.may_ask(envelope, 0)
    assert not asked.may_ask(envelope, 29 * 24 * HOUR)
    assert asked.may_ask(uuid4(), 0)


def test_a_device_is_asked_five_times_in_an_hour() -> None:
    asked = RetryHistory()
    for number in range(RETRIES_PER_HOUR):
        assert asked.may_ask(uuid4(), number)
        asked = asked.with_request(uuid4(), number)

    assert not asked.may_ask(uuid4(), HOUR - 1)
    assert asked.may_ask(uuid4(), HOUR)


@given(st.lists(st.integers(0, 40 * 24 * HOUR), max_size=60).map(sorted))
def test_no_hour_has_more_than_five_whatever_the_clock_does(moments: list[int]) -> None:
    asked, took = RetryHistory(), []
    for now in moments:
        if asked.may_ask(envelope := UUID(int=now), now):
            asked = asked.with_request(envelope, now)
            took.append(now)

    assert all(len([each for each in took if start <= each < start + HOUR]) <= RETRIES_PER_HOUR for start in took)
    assert len(took) == len(set(took))
    assert unpack(RetryHistory, pack(asked)) == asked


def test_a_record_of_what_was_asked_does_not_grow_for_ever() -> None:
    asked = RetryHistory()
    for day in range(100):
        asked = asked.with_request(uuid4(), day * 24 * HOUR)

    assert len(asked.envelopes) == 31


def test_only_the_very_device_that_it_was_addressed_to_gets_it_again_and_for_a_week() -> None:
    bo, other = Address(uuid4(), 1), Address(uuid4(), 1)

    assert may_resend([bo], bo, 0, SENT_MILLISECONDS)
    assert not may_resend([bo], bo, 0, SENT_MILLISECONDS + 1)
    assert not may_resend([bo], other, 0, 0)
    assert not may_resend([bo], Address(bo.user_id, 2), 0, 0)


def content(kind: str, **fields: object) -> Content:
    return Content(kind, uuid4(), 5, HERE, fields)


@pytest.mark.parametrize("key_id", [None, bytes(16)])
def test_a_retry_and_its_answer_are_read_as_written(key_id: bytes | None) -> None:
    retry, resync = Retry(uuid4(), "JumpTooFar", key_id), Resync(uuid4())

    assert Retry.read(read_content(content("retry", **retry.fields()).pack(), HERE)) == retry
    assert Resync.read(read_content(content("resync", **resync.fields()).pack(), HERE)) == resync


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("text", {"messageId": str(HERE), "reason": "x"}),
        ("retry", {"messageId": str(HERE)}),
        ("retry", {"reason": "x"}),
        ("retry", {"messageId": str(HERE), "reason": 1}),
        ("retry", {"messageId": str(HERE), "reason": "x", "senderKeyId": "AA=="}),
        ("retry", {"messageId": str(HERE), "reason": "x", "senderKeyId": 5}),
        ("retry", {"messageId": str(HERE).upper().replace("0", "A"), "reason": "x"}),
    ],
)
def test_what_is_no_retry_is_refused(kind: str, fields: dict[str, object]) -> None:
    with pytest.raises(BadContent):
        Retry.read(content(kind, **fields))
    with pytest.raises(BadContent):
        Resync.read(content(kind, **fields))


def test_what_is_said_again_keeps_its_name_and_time() -> None:
    said, envelope = content("text", text="hello"), uuid4()
    repeated = as_resend(said, envelope)

    assert (repeated.id, repeated.at, repeated.fields["text"]) == (said.id, said.at, "hello")
    assert repeated.fields["resendOf"] == str(envelope)
    assert read_content(repeated.pack(), HERE) == repeated


def test_changes_count_from_their_own_sender_on_the_same_day_only() -> None:
    ann, bo = uuid4(), uuid4()
    edit = Content("edit", uuid4(), CHANGE_MILLISECONDS, HERE)

    assert may_change(edit, ann, ann, 0)
    assert not may_change(edit, bo, ann, 0)
    assert not may_change(edit, ann, ann, -1)
    assert not may_change(edit, ann, ann, CHANGE_MILLISECONDS + 1)


class Reader:
    """A client that follows the retry rules; `lost` are the states that a broken disk takes from it."""

    def __init__(self) -> None:
        self.device, self.asked = ProtocolDevice(), RetryHistory()
        self.sent: dict[UUID, Content] = {}
        self.read: list[UUID] = []

    def say(self, to: "Reader", said: Content) -> tuple[UUID, bytes]:
        envelope = uuid4()
        self.sent[envelope] = said
        return envelope, self.device.send(to.device, said.pack())

    def hear(self, sender: "Reader", envelope: UUID, octets: bytes) -> tuple[UUID, bytes] | None:
        """Open it, or answer with what has to be sent because of it."""
        try:
            opened = self.device.open(sender.device, octets)
        except Refusal as refusal:
            return self.ask(sender, envelope, octets, refusal)
        said = read_content(self.device.store(opened), HERE)
        if said.kind == Retry.KIND:
            self.device.sessions = self.device.sessions.activate(opened.session_id)
            wanted = Retry.read(said).message_id
            return self.say(sender, as_resend(self.sent[wanted], wanted))
        if said.id not in self.read:
            self.read.append(said.id)
        return None

    def ask(self, sender: "Reader", envelope: UUID, octets: bytes, refusal: Refusal) -> tuple[UUID, bytes] | None:
        if remedy(refusal, octets) is None or not self.asked.may_ask(envelope, self.device.now):
            return None
        self.asked = self.asked.with_request(envelope, self.device.now)
        self.device.sessions = self.device.sessions.archive()
        return self.say(sender, content(Retry.KIND, **Retry(envelope, refusal.name).fields()))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["say", "say", "say", "forget", "spoil"])), max_size=20))
def test_whatever_is_lost_of_the_sessions_is_mended_and_read_exactly_once(acts: list[tuple[int, str]]) -> None:
    people, said, spoils = (Reader(), Reader()), [[], []], False  # type: tuple[Reader, Reader], list[list[UUID]], bool
    for who, act in acts:
        me, you = people[who], people[1 - who]
        for each in people:
            each.device.now += HOUR
        if act == "forget":
            me.device.sessions = Sessions()
            continue
        if act == "spoil":
            spoils = True
            continue
        speaking, hearing = me, you
        text = content("text", text="hello")
        said[1 - who].append(text.id)
        answer: tuple[UUID, bytes] | None = me.say(you, text)
        if spoils and answer is not None:
            answer, spoils = (answer[0], answer[1][:-1] + bytes([answer[1][-1] ^ 1])), False
        while answer is not None:
            answer = hearing.hear(speaking, *answer)
            speaking, hearing = hearing, speaking

    assert [people[0].read, people[1].read] == said
