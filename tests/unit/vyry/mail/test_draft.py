"""The check of a post: its shape, who may write to whom, and that the devices named are exactly the recipients' devices."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_clock import NOON
from tests.support.posting_harness import PostingHarness, make_draft
from vyry.errors import InvalidRequest, NotAMember, NotFound, StaleDevices
from vyry.kernel.ids import ConversationId, DeviceId, UserId
from vyry.kernel.sizes import MAX_LIFE_SECONDS
from vyry.mail.draft import (
    ConversationMembers,
    Draft,
    build_message,
    check_recipients,
    copy_addresses,
    validate_draft,
)
from vyry.mail.envelope import Envelope, Lane
from vyry.mail.store import Message


@pytest.fixture
def directory() -> PostingHarness:
    return PostingHarness()


def accepted_message(
    directory: PostingHarness, user: UserId, posted: Draft, number: int = 1, life: int = MAX_LIFE_SECONDS
) -> Message:
    """The message that this device's post becomes, if it may be posted."""
    circle = ConversationMembers(directory.people, directory.circles.get(ConversationId(posted.conversation_id)))
    checked = validate_draft(directory.sender_of(user, number), posted)
    check_recipients(checked, circle)
    return build_message(checked, circle, NOON, life)


def stale_devices(directory: PostingHarness, user: UserId, posted: Draft, number: int = 1) -> dict[str, Any]:
    """What STALE_DEVICES says about this post."""
    with pytest.raises(StaleDevices) as refused:
        accepted_message(directory, user, posted, number)
    return dict(refused.value.members)


def stale_device_rows(user: UserId, *numbers: int, registered: bool = True) -> list[dict[str, object]]:
    """These devices as STALE_DEVICES names them."""
    return [{"userId": str(user), "deviceId": n} | ({"registrationId": n * 10} if registered else {}) for n in numbers]


def test_every_device_of_every_recipient_gets_one_copy(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(2), directory.add_account(3)
    posted = make_draft(directory.add_conversation(ann, bo), (bo, [3, 1, 2]), (ann, [2]))

    message = accepted_message(directory, ann, posted)

    boxes = [
        directory.mailbox_of(bo, 3),
        directory.mailbox_of(bo, 1),
        directory.mailbox_of(bo, 2),
        directory.mailbox_of(ann, 2),
    ]
    assert [copy.mailbox for copy in message.copies] == boxes
    assert [str(address) for address in copy_addresses(posted)] == [f"{bo}.3", f"{bo}.1", f"{bo}.2", f"{ann}.2"]


def test_nothing_lives_longer_than_the_node_lets_it(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account()
    posted = make_draft(directory.add_conversation(ann, bo), (bo, [1]))

    lives = [
        accepted_message(directory, ann, posted, life=life) for life in (60, MAX_LIFE_SECONDS, 2 * MAX_LIFE_SECONDS)
    ]

    assert [(each.expires_at - NOON).total_seconds() for each in lives] == [60, MAX_LIFE_SECONDS, MAX_LIFE_SECONDS]
    told = [Envelope.unpack(each.contents[0].packed) for each in lives]
    assert [each.expires_at_ms - each.posted_at_ms for each in told] == [60_000, *[MAX_LIFE_SECONDS * 1000] * 2]


def test_a_missing_an_extra_and_a_stale_device_are_named_exactly(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account(3)
    body = make_draft(directory.add_conversation(ann, bo), (bo, [1, 2, 7]))
    body.recipients[0].devices[1].__dict__["registration_id"] = 99

    told = stale_devices(directory, ann, body)

    assert told == {
        "missing": stale_device_rows(bo, 3),
        "extra": stale_device_rows(bo, 7, registered=False),
        "stale": stale_device_rows(bo, 2),
        "epochs": {str(ann): directory.people[ann].epoch, str(bo): directory.people[bo].epoch},
        "conversationVersion": 1,
    }


def test_ones_own_other_devices_are_missing_when_they_are_not_named(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(3), directory.add_account()

    told = stale_devices(directory, ann, make_draft(directory.add_conversation(ann, bo), (bo, [1])), number=2)

    assert (told["missing"], told["extra"], told["stale"]) == (stale_device_rows(ann, 1, 3), [], [])


def test_the_posting_device_itself_is_extra(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(2), directory.add_account()

    told = stale_devices(directory, ann, make_draft(directory.add_conversation(ann, bo), (bo, [1]), (ann, [1, 2])))

    assert (told["missing"], told["extra"]) == ([], stale_device_rows(ann, 1, registered=False))


def test_somebody_with_one_device_needs_not_name_himself(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account()

    message = accepted_message(directory, ann, make_draft(directory.add_conversation(ann, bo), (bo, [1])))

    assert [copy.mailbox for copy in message.copies] == [directory.mailbox_of(bo)]


def test_whatever_epoch_is_named_a_current_list_is_accepted(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account()
    body = make_draft(directory.add_conversation(ann, bo), (bo, [1]))
    body.recipients[0].__dict__["epoch"] = 10**6

    assert len(accepted_message(directory, ann, body).copies) == 1


def test_a_group_post_may_go_to_some_of_the_members(directory: PostingHarness) -> None:
    ann, bo, cy = directory.add_account(), directory.add_account(), directory.add_account()
    group = directory.add_conversation(ann, bo, cy)

    message = accepted_message(directory, ann, make_draft(group, (cy, [1]), conversationVersion=1))

    assert [copy.mailbox for copy in message.copies] == [directory.mailbox_of(cy)]


def test_an_older_version_is_told_the_devices_of_all_members_and_of_who_left(directory: PostingHarness) -> None:
    ann, bo, cy, dee = (directory.add_account() for _ in range(4))
    group = directory.add_conversation(ann, bo, cy)
    directory.change_members(group, ann, bo, dee)

    told = stale_devices(directory, ann, make_draft(group, (bo, [1]), (cy, [1]), conversationVersion=1))

    assert (told["missing"], told["extra"]) == (stale_device_rows(dee, 1), stale_device_rows(cy, 1, registered=False))
    assert told["conversationVersion"] == 2
    assert told["epochs"] == {str(user): 2 for user in (ann, bo, dee)}


def test_a_version_that_is_no_more_is_refused_even_when_the_devices_are_right(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account()
    group = directory.add_conversation(ann, bo)
    directory.change_members(group, ann, bo)

    told = stale_devices(directory, ann, make_draft(group, (bo, [1]), conversationVersion=1))

    assert (told["missing"], told["extra"], told["stale"], told["conversationVersion"]) == ([], [], [], 2)


def test_strangers_and_unknown_people_are_not_found(directory: PostingHarness) -> None:
    ann, bo, cy = directory.add_account(), directory.add_account(), directory.add_account()
    group = directory.add_conversation(ann, bo)

    for stranger in (cy, UserId(uuid4())):
        with pytest.raises(NotFound):
            accepted_message(directory, ann, make_draft(group, (bo, [1]), (stranger, [1])))


def test_a_foreign_conversation_is_like_none(directory: PostingHarness) -> None:
    ann, bo, cy = directory.add_account(), directory.add_account(), directory.add_account()

    for conversation in (directory.add_conversation(bo, cy), ConversationId(uuid4())):
        with pytest.raises(NotAMember):
            accepted_message(directory, ann, make_draft(conversation, (bo, [1])))


def test_an_account_posts_to_its_other_devices_in_the_conversation_with_itself(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(2), directory.add_account()
    own = ConversationId(ann)

    assert len(accepted_message(directory, ann, make_draft(own, (ann, [2]))).copies) == 1
    assert stale_devices(directory, ann, make_draft(own, (ann, [])))["missing"] == stale_device_rows(ann, 2)
    with pytest.raises(NotFound):
        accepted_message(directory, ann, make_draft(own, (ann, [2]), (bo, [1])))
    with pytest.raises(NotAMember):
        accepted_message(directory, bo, make_draft(own, (ann, [1, 2])))


@pytest.mark.parametrize("twice", ["an account", "a device"])
def test_nobody_is_named_twice(directory: PostingHarness, twice: str) -> None:
    ann, bo = directory.add_account(), directory.add_account(2)
    group = directory.add_conversation(ann, bo)
    named = [(bo, [1]), (bo, [2])] if twice == "an account" else [(bo, [1, 2, 1])]

    with pytest.raises(InvalidRequest) as refused:
        validate_draft(directory.sender_of(ann), make_draft(group, *named))

    assert f"{twice} is named twice" in str(refused.value.members)


def test_a_device_needs_some_content(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account()

    with pytest.raises(InvalidRequest, match="not valid for this route") as refused:
        validate_draft(
            directory.sender_of(ann), make_draft(directory.add_conversation(ann, bo), (bo, [1]), content=None)
        )

    assert "no content for a device" in str(refused.value.members)


@pytest.mark.parametrize("count", [1_000, 1_001])
def test_a_post_has_at_most_a_thousand_copies(directory: PostingHarness, count: int) -> None:
    ann = directory.add_account()
    crowd = [(UserId(uuid4()), list(range(1, 101))) for _ in range(10)]
    more = [(UserId(uuid4()), [1])] * (count - 1_000)
    posted = make_draft(ConversationId(uuid4()), *crowd, *more)

    if count == 1_000:
        assert len(validate_draft(directory.sender_of(ann), posted).hashes) == count
    else:
        with pytest.raises(InvalidRequest):
            validate_draft(directory.sender_of(ann), posted)


def test_shared_content_is_kept_once_for_each_kind(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account(4)
    posted = make_draft(directory.add_conversation(ann, bo), (bo, [1, 2, 3, 4]))
    changes: list[dict[str, object]] = [{}, {"kind": 5}, {}, {"content": b"own"}]
    for copy, more in zip(posted.recipients[0].devices, changes, strict=True):
        copy.__dict__.update(more)

    message = accepted_message(directory, ann, posted)

    unpacked = [Envelope.unpack(content.packed) for content in message.contents]
    assert [(each.kind, each.content) for each in unpacked] == [(0, b"hello"), (5, b"hello"), (0, b"own")]
    assert [content.copies for content in message.contents] == [2, 1, 1]
    assert [copy.content for copy in message.copies] == [0, 1, 0, 2]


def test_an_envelope_holds_what_was_posted_and_its_digest_is_that_of_the_chain(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account()
    posted = make_draft(directory.add_conversation(ann, bo), (bo, [1]), lane="control", expiresInSeconds=60)

    message = accepted_message(directory, ann, posted)

    envelope = Envelope.unpack(message.contents[0].packed)
    assert envelope.digest() == message.contents[0].digest
    assert (envelope.sender_id, envelope.sender_device_id, envelope.message_id) == (ann, 1, posted.message_id)
    assert (envelope.conversation_id, envelope.lane) == (posted.conversation_id, Lane.CONTROL)
    assert envelope.expires_at_ms - envelope.posted_at_ms == 60_000
    assert (message.lane, (message.expires_at - NOON).total_seconds()) == (Lane.CONTROL, 60)


def fingerprint(directory: PostingHarness, user: UserId, posted: Draft) -> bytes:
    return validate_draft(directory.sender_of(user), posted).fingerprint


def test_the_order_of_recipients_makes_no_other_body(directory: PostingHarness) -> None:
    ann, bo, cy = directory.add_account(), directory.add_account(2), directory.add_account()
    group = directory.add_conversation(ann, bo, cy)

    one = make_draft(group, (bo, [1, 2]), (cy, [1]))
    other = make_draft(group, (cy, [1]), (bo, [2, 1]))

    assert fingerprint(directory, ann, one) == fingerprint(directory, ann, other)


@pytest.mark.parametrize(
    "more", [{"content": b"other"}, {"lane": "control"}, {"expiresInSeconds": 9}, {"urgent": False}]
)
def test_another_body_has_another_fingerprint(directory: PostingHarness, more: dict[str, Any]) -> None:
    ann, bo = directory.add_account(), directory.add_account(2)
    group = directory.add_conversation(ann, bo)
    before = fingerprint(directory, ann, make_draft(group, (bo, [1, 2])))

    assert fingerprint(directory, ann, make_draft(group, (bo, [1, 2]), **more)) != before
    assert fingerprint(directory, ann, make_draft(group, (bo, [1]))) != before
    assert fingerprint(directory, ann, make_draft(directory.add_conversation(ann, bo), (bo, [1, 2]))) != before


NUMBERS = st.sets(st.integers(1, 6))


@given(there=NUMBERS, own=NUMBERS, named=NUMBERS, own_named=NUMBERS, poster=st.integers(1, 6))
def test_the_difference_is_that_of_sets(
    there: set[int], own: set[int], named: set[int], own_named: set[int], poster: int
) -> None:
    directory = PostingHarness()
    ann, bo = directory.add_account(0), directory.add_account(0)
    for user, numbers in ((ann, own | {poster}), (bo, there)):
        for number in numbers:
            directory.add_device(user, number)
    posted = make_draft(directory.add_conversation(ann, bo), (bo, sorted(named)), (ann, sorted(own_named)))
    missing = {(bo, n) for n in there - named} | {(ann, n) for n in own - own_named - {poster}}
    extra = {(bo, n) for n in named - there} | {(ann, n) for n in own_named - (own - {poster})}

    if missing or extra:
        told = stale_devices(directory, ann, posted, poster)
        assert {(UserId(bo if d["userId"] == str(bo) else ann), d["deviceId"]) for d in told["missing"]} == missing
        assert {(UserId(bo if d["userId"] == str(bo) else ann), d["deviceId"]) for d in told["extra"]} == extra
    else:
        assert len(accepted_message(directory, ann, posted, poster).copies) == len(named) + len(own_named)


def test_a_number_given_again_is_stale_by_its_registration(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(), directory.add_account(2)
    group = directory.add_conversation(ann, bo)
    directory.end_device(bo, 2)
    again = directory.add_device(bo, 2)
    listed = directory.people[bo].devices[DeviceId(2)]
    object.__setattr__(listed, "registration_id", 21)

    told = stale_devices(directory, ann, make_draft(group, (bo, [1, 2])))

    assert told["stale"] == [{"userId": str(bo), "deviceId": 2, "registrationId": 21}]
    assert listed.mailbox == again


@pytest.mark.parametrize("version", [None, 1, 2])
def test_where_one_blocks_the_other_nobody_is_found(directory: PostingHarness, version: int | None) -> None:
    ann, bo = directory.add_account(), directory.add_account()
    posted = make_draft(directory.add_conversation(ann, bo), (bo, [1]), conversationVersion=version)
    key = ConversationId(posted.conversation_id)
    directory.circles[key] = replace(directory.circles[key], is_blocked=True, version=2)

    for sender, recipient in ((ann, bo), (bo, ann)):
        with pytest.raises(NotFound):
            accepted_message(directory, sender, make_draft(key, (recipient, [1]), conversationVersion=version))


def test_ones_own_devices_hear_of_a_conversation_in_which_one_blocks(directory: PostingHarness) -> None:
    ann, bo = directory.add_account(2), directory.add_account()
    key = directory.add_conversation(ann, bo)
    directory.circles[key] = replace(directory.circles[key], is_blocked=True)

    assert len(accepted_message(directory, ann, make_draft(key, (ann, [2]))).copies) == 1
