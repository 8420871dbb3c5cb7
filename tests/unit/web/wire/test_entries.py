"""Entries on the wire: envelopes, notices, and adjacent losses merged."""

from typing import Any
from uuid import UUID

import msgpack
import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.support.api_conformance import assert_frame_documented
from tests.support.chain_checker import ChainChecker
from vyry.kernel.chain import first_head, next_head
from vyry.kernel.ids import MailboxId, MailboxKey, MessageId, envelope_id, new_id
from vyry.kernel.time import from_milliseconds
from vyry.mail.envelope import CAP_DIGEST, NIL_ID, Envelope, Lane, LossReason
from vyry.mail.store import Entry
from web.live.codec import JSON, MSGPACK
from web.wire.mailbox import wire_entries
from web.wire.shapes import to_base64, to_rfc3339


BOX = MailboxId(new_id())
SENDER, CONVERSATION = new_id(), new_id()
POSTED = 1_767_268_800_123


def envelope(content: bytes = b"hello", *, notice: bool = False) -> Envelope:
    """An envelope of a user, or a notice of the node."""
    sender = (NIL_ID, 0, MessageId(new_id()), NIL_ID) if notice else (SENDER, 3, MessageId(new_id()), CONVERSATION)
    lane, kind = (Lane.CONTROL, 0) if notice else (Lane.MAIL, 200)
    return Envelope(*sender, POSTED, POSTED + 60_000, lane, kind, content)


def chained(*contents: Envelope | LossReason) -> list[Entry]:
    """Entries of these envelopes in one mailbox, numbered from 1."""
    head, entries = first_head(BOX), []
    for seq, each in enumerate(contents, 1):
        head = next_head(head, seq, CAP_DIGEST if isinstance(each, LossReason) else each.digest())
        loss, packed = (each, None) if isinstance(each, LossReason) else (None, each.pack())
        entries.append(Entry(MailboxKey(1), seq, head, 1000 + seq, loss, packed))
    return entries


def shown(entries: list[Entry], now: int) -> list[dict[str, Any]]:
    """What a JSON client reads."""
    rows: list[dict[str, Any]] = orjson.loads(JSON.encode(wire_entries(entries, now)))
    return rows


def slow_row(entry: Entry) -> dict[str, object]:
    """An entry that is not lost, field by field from its parts."""
    assert entry.packed is not None
    sent = Envelope.unpack(entry.packed)
    row: dict[str, object] = {
        "seq": entry.seq,
        "head": entry.head,
        "envelopeId": str(UUID(int=envelope_id(sent.posted_at_ms, entry.number))),
        "messageId": str(sent.message_id),
        "conversationId": None if sent.sender_id == NIL_ID else str(sent.conversation_id),
        "lane": "control" if sent.lane else "mail",
        "postedAt": to_rfc3339(from_milliseconds(sent.posted_at_ms)),
        "expiresAt": to_rfc3339(from_milliseconds(sent.expires_at_ms)),
    }
    if sent.sender_id == NIL_ID:
        return row | {"notice": orjson.loads(sent.content)}
    device = {"senderId": str(sent.sender_id), "senderDeviceId": sent.sender_device_id}
    return row | device | {"kind": sent.kind, "content": sent.content}


def test_an_envelope_shows_every_field() -> None:
    sent = envelope()
    (entry,) = chained(sent)

    (row,) = shown([entry], POSTED)

    number = UUID(str(row.pop("envelopeId")))
    assert (number.version, number.int >> 80) == (7, POSTED)
    assert row == {
        "seq": 1,
        "head": to_base64(entry.head),
        "messageId": str(sent.message_id),
        "conversationId": str(CONVERSATION),
        "senderId": str(SENDER),
        "senderDeviceId": 3,
        "lane": "mail",
        "kind": 200,
        "content": to_base64(b"hello"),
        "postedAt": "2026-01-01T12:00:00.123Z",
        "expiresAt": "2026-01-01T12:01:00.123Z",
    }


def test_an_envelope_has_one_id_however_often_it_is_asked_for() -> None:
    first, second = chained(envelope(), envelope())

    ids = [[row["envelopeId"] for row in shown(entries, POSTED)] for entries in ([first], [first, second])]

    assert ids[0][0] == ids[1][0] != ids[1][1]


def test_a_notice_has_its_object_instead_of_sender_kind_and_content() -> None:
    notice_body = {"name": "prekeysLow", "oneTimeRemaining": 4, "pqRemaining": 19}
    entries = chained(envelope(orjson.dumps(notice_body, option=orjson.OPT_SORT_KEYS), notice=True))

    (row,) = shown(entries, POSTED)

    assert row["notice"] == notice_body
    assert (row["conversationId"], row["lane"]) == (None, "control")
    assert not {"senderId", "senderDeviceId", "kind", "content"} & row.keys()
    ChainChecker(str(BOX)).advance(row)


def test_what_is_over_when_it_is_shown_is_an_expired_one_and_the_chain_goes_on() -> None:
    sent = envelope()
    entries = chained(sent, envelope())

    rows = shown(entries, sent.expires_at_ms)

    assert [row["tombstone"] for row in rows] == [{"reason": "expired", "count": 2}]
    assert "content" not in rows[0]
    assert shown(entries[:1], sent.expires_at_ms - 1)[0]["content"] == to_base64(b"hello")
    ChainChecker(str(BOX)).advance(rows[0])


def test_neighbouring_losses_of_one_reason_are_one_tombstone() -> None:
    contents: list[Envelope | LossReason] = [
        LossReason.EXPIRED,
        LossReason.EXPIRED,
        LossReason.CAP,
        envelope(),
        LossReason.CAP,
        LossReason.PARKED,
        LossReason.OPERATOR,
    ]
    entries = chained(*contents)

    rows = shown(entries, POSTED)

    assert [(row["seq"], row.get("throughSeq"), row.get("tombstone")) for row in rows] == [
        (1, 2, {"reason": "expired", "count": 2}),
        (3, 3, {"reason": "cap", "count": 1}),
        (4, None, None),
        (5, 5, {"reason": "cap", "count": 1}),
        (6, 6, {"reason": "parked", "count": 1}),
        (7, 7, {"reason": "operator", "count": 1}),
    ]
    assert rows[0]["head"] == to_base64(entries[1].head)


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans(), st.text(max_size=5)), max_size=5))
def test_entries_are_written_with_the_bytes_of_two_other_encoders(sent: list[tuple[bytes, bool, str]]) -> None:
    notices = [orjson.dumps({"name": "announcement", "text": text}) for _, _, text in sent]
    contents = [
        envelope(notice if is_notice else content, notice=is_notice)
        for (content, is_notice, _), notice in zip(sent, notices, strict=True)
    ]
    entries = chained(*contents)

    expected = [slow_row(entry) for entry in entries]

    assert MSGPACK.encode(wire_entries(entries, POSTED)) == msgpack.packb(expected)
    assert JSON.encode(wire_entries(entries, POSTED)) == orjson.dumps(expected, default=to_base64)


KINDS = st.sampled_from([None, *LossReason])


@given(st.lists(KINDS, max_size=30))
def test_a_device_walks_the_chain_over_whatever_is_shown(kinds: list[LossReason | None]) -> None:
    entries = chained(*(envelope() if kind is None else kind for kind in kinds))
    rows = shown(entries, POSTED)
    chain = ChainChecker(str(BOX))

    for row in rows:
        chain.advance(row)

    assert chain.seq == len(kinds)
    assert_frame_documented({"type": "entries", "payload": {"entries": rows}})
