"""What every mail store promises about deposit: contiguous numbers, a chain, the order of the post, expiry; harmless when repeated."""

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from tests.support.mail_store_harness import NODE, MailStoreHarness, contents_of, expected_heads, make_message
from vyry.kernel.ids import MailboxId, MailboxKey, MessageId
from vyry.kernel.time import from_milliseconds
from vyry.mail.envelope import CAP_DIGEST, Envelope, Lane, LossReason
from vyry.mail.store import Content, Copy, MailStore, Message


VECTOR = json.loads((Path(__file__).parent / "chain_vector.json").read_text())


def vector_message(facts: dict[str, str | int], box: MailboxKey) -> Message:
    text = bytes.fromhex(str(facts["content"]))
    sender, conversation = UUID(str(facts["senderId"])), UUID(str(facts["conversationId"]))
    message_id = MessageId(UUID(str(facts["messageId"])))
    posted, lane = int(facts["postedAtMs"]), Lane(int(facts["lane"]))
    times = posted, posted + 86_400_000
    accepted_at, expires_at = map(from_milliseconds, times)
    envelope = Envelope(
        sender, int(facts["senderDeviceId"]), message_id, conversation, *times, lane, int(facts["kind"]), text
    )
    content = Content(envelope.pack(), envelope.digest(), len(text), 1)
    fingerprint = sha256(text).digest()
    return Message(NODE, message_id, fingerprint, accepted_at, expires_at, lane, [content], [Copy(box, 0)])


async def test_the_chain_is_the_one_of_the_vector_file(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox(mailbox_id=MailboxId(UUID(VECTOR["mailboxId"])))
    messages = [vector_message(facts, box) for facts in VECTOR["envelopes"]]
    states = await mail_harness.store.load_states([box])
    await mail_harness.post(*messages)

    await mail_harness.store.deposit([box])

    entries = await mail_harness.numbered_entries(box)
    assert [message.contents[0].digest.hex() for message in messages] == VECTOR["digests"]
    assert [entry.head.hex() for entry in entries] == VECTOR["heads"]
    assert states[0].last.head.hex() == VECTOR["firstHead"]
    assert CAP_DIGEST.hex() == VECTOR["capDigest"]


async def test_numbers_are_contiguous_and_heads_are_chained(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    messages = [make_message(box, text=b"%d" % n) for n in range(6)]
    await mail_harness.post(*messages[:4])
    first = await mail_harness.store.deposit([box])
    await mail_harness.post(*messages[4:])

    second = await mail_harness.store.deposit([box])

    chain = expected_heads(mail_harness.mailbox_ids[box], [message.contents[0].digest for message in messages])
    assert [(each.seq, each.head) for each in first + second] == list(enumerate(chain, 1))
    entries = await mail_harness.numbered_entries(box)
    assert [(each.seq, each.head) for each in entries] == list(enumerate(chain, 1))
    (state,) = await mail_harness.store.load_states([box])
    assert (state.last.seq, state.last.head) == (6, chain[-1])


async def test_mail_is_numbered_in_the_order_of_the_post(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    for n in range(5):
        await mail_harness.post(make_message(box, text=b"%d" % n, lane=Lane(n % 2)))

    await mail_harness.store.deposit([box])

    assert contents_of(await mail_harness.numbered_entries(box)) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_deposit_tells_the_numbers_that_post_gave(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    stored = await mail_harness.post(make_message(box), make_message(box))

    deposited = await mail_harness.store.deposit([box])

    assert [(each.mailbox, each.number, each.loss_reason) for each in deposited] == [
        (box, each.numbers[0], None) for each in stored
    ]


async def test_each_mailbox_has_its_own_numbers(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann), make_message(ann, bo), make_message(bo), make_message(bo))

    deposited = await mail_harness.store.deposit([ann, bo])

    assert [each.seq for each in deposited if each.mailbox == ann] == [1, 2]
    assert [each.seq for each in deposited if each.mailbox == bo] == [1, 2, 3]


async def test_only_the_mailboxes_named_are_numbered(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, bo))

    deposited = await mail_harness.store.deposit([ann])

    assert [each.mailbox for each in deposited] == [ann]
    assert await mail_harness.numbered_entries(bo) == []


async def test_a_repeated_deposit_changes_nothing(mail_harness: MailStoreHarness, second_node_store: MailStore) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"one", b"two")
    before = await mail_harness.numbered_entries(box)

    again = [await store.deposit([box, box]) for store in (mail_harness.store, second_node_store)]

    assert again == [[], []]
    assert await mail_harness.numbered_entries(box) == before


async def test_a_deposit_of_nothing_or_of_unknown_mailboxes_is_empty(mail_harness: MailStoreHarness) -> None:
    assert await mail_harness.store.deposit([]) == []
    assert await mail_harness.store.deposit([MailboxKey(987_654)]) == []


async def test_what_expired_before_its_deposit_becomes_a_loss_with_its_own_digest(
    mail_harness: MailStoreHarness,
) -> None:
    box = await mail_harness.add_mailbox()
    late, fresh = make_message(box, text=b"late", lifetime=timedelta(seconds=5)), make_message(box, text=b"fresh")
    await mail_harness.post(late, fresh)
    mail_harness.clock.advance(seconds=5)

    deposited = await mail_harness.store.deposit([box])

    assert [each.loss_reason for each in deposited] == [LossReason.EXPIRED, None]
    entries = await mail_harness.numbered_entries(box)
    assert [(entry.loss_reason, entry.packed is None) for entry in entries] == [
        (LossReason.EXPIRED, True),
        (None, False),
    ]
    assert [entry.head for entry in entries] == expected_heads(
        mail_harness.mailbox_ids[box], [late.contents[0].digest, fresh.contents[0].digest]
    )
    assert await mail_harness.registry.count_contents() == 1


async def test_an_expired_copy_leaves_the_shared_content_to_the_others(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, bo, lifetime=timedelta(seconds=5), text=b"shared"))
    await mail_harness.store.deposit([bo])
    mail_harness.clock.advance(seconds=4)
    before = contents_of(await mail_harness.numbered_entries(bo))
    mail_harness.clock.advance(seconds=1)

    await mail_harness.store.deposit([ann])

    assert before == [b"shared"]
    assert await mail_harness.registry.count_contents() == 1


async def test_unnumbered_mail_of_an_ended_mailbox_is_deleted(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, bo), make_message(bo))
    await mail_harness.registry.end_mailbox(bo)

    deposited = await mail_harness.store.deposit([ann, bo])

    assert [each.mailbox for each in deposited] == [ann]
    assert await mail_harness.registry.count_contents() == 1
    assert await mail_harness.upkeep_is_idle()


async def test_mailboxes_with_entries_after_a_number_are_found(mail_harness: MailStoreHarness) -> None:
    read, unread, empty = [await mail_harness.add_mailbox() for _ in range(3)]
    await mail_harness.post(make_message(read), make_message(unread), make_message(unread))
    await mail_harness.store.deposit([read, unread])

    sent = {read: 1, unread: 1, empty: 0, MailboxKey(1 << 40): 0}
    found = await mail_harness.store.load_states(list(sent), sent=sent)

    assert [state.mailbox for state in found] == [unread]
    assert await mail_harness.store.load_states([], sent={}) == []
