"""What a person pinned and decided on one device counts on the account's other devices, over a real node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import events_until, link_clients, next_texts, open_client, register
from vyry.client.api.client import Client
from vyry.client.api.linking import LinkAttempt
from vyry.client.crypto.peers import Peers, known_identities
from vyry.client.crypto.pin_registry import PinRegistry
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import Decided, IdentityChanged, Message, NotSent
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.pins import IdentityPin


pytestmark = pytest.mark.timeout(120)


@dataclass
class Pair:
    """Ann, who has written to Bo, and her laptop, which is not linked yet."""

    node: AllInOneProcess
    folder: Path
    ann: Client
    bo: UUID
    laptop: Client
    chat: UUID
    number: str

    @asynccontextmanager
    async def bo_anew(self) -> AsyncIterator[Client]:
        """Bo under another identity key: what a node that swaps his key would tell, too."""
        async with open_client(self.node, self.folder / "bo anew") as anew:
            await register(anew, self.node, self.number)
            yield anew


@pytest.fixture
async def pair(all_in_one: AllInOneProcess, tmp_path: Path) -> AsyncIterator[Pair]:
    number = unused_number()
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "laptop") as laptop:
        await register(ann, all_in_one)
        async with open_client(all_in_one, tmp_path / "bo") as bo:
            bo_id = await register(bo, all_in_one, number)
            chat = await ann.direct(bo_id)
            await ann.send_text(chat, "hello")
            assert await next_texts(bo, 1) == ["hello"]
        yield Pair(all_in_one, tmp_path, ann, bo_id, laptop, chat, number)


async def test_a_linked_device_has_pins_before_it_meets_anybody(pair: Pair) -> None:
    ann, bo_id, laptop = pair.ann, pair.bo, pair.laptop
    ann.people.remember("@bo", bo_id)
    await ann.safety.verify(bo_id, await ann.safety.number(bo_id))

    await link_clients(ann, laptop)

    assert Peers(laptop._store).identity_key(bo_id) == Peers(ann._store).identity_key(bo_id)
    assert laptop.safety.is_verified(bo_id)
    assert ConversationPins(laptop._store).get(pair.chat) == ConversationPin(is_group=False, peer=bo_id)
    assert await laptop.people.resolve("@Bo") == bo_id


async def test_a_key_that_is_swapped_for_a_new_device_is_noticed_at_its_first_contact(pair: Pair) -> None:
    await link_clients(pair.ann, pair.laptop)
    async with pair.bo_anew() as other:
        await pair.laptop.send_text(pair.chat, "for Bo alone")
        await other.send_text(await other.direct(pair.ann.user_id), "it is me")
        events = await events_until(pair.laptop, NotSent)

    assert [event.user_id for event in events if isinstance(event, IdentityChanged)] == [pair.bo]
    assert events[-1].body["reason"] == "IdentityChanged"
    assert not any(isinstance(event, Message) for event in events)


async def test_a_number_compared_on_one_device_is_compared_on_the_other(pair: Pair) -> None:
    bo_id = pair.bo
    await link_clients(pair.ann, pair.laptop)
    assert not pair.laptop.safety.is_verified(bo_id)

    await pair.ann.safety.verify(bo_id, await pair.ann.safety.number(bo_id))
    decided = (await events_until(pair.laptop, Decided))[-1]

    assert decided.body == {"userId": str(bo_id), "isVerified": True}
    assert pair.laptop.safety.is_verified(bo_id)


async def test_a_key_accepted_on_one_device_is_accepted_on_the_other(pair: Pair) -> None:
    ann, laptop, bo_id = pair.ann, pair.laptop, pair.bo
    await link_clients(ann, laptop)
    async with pair.bo_anew() as anew:
        await anew.send_text(await anew.direct(ann.user_id), "it is me")
        await events_until(laptop, IdentityChanged)
        numbers = await ann.safety.numbers(bo_id)
        await ann.safety.accept(bo_id, numbers.new)

        events = await events_until(laptop, Message)
        assert [event.body["isVerified"] for event in events if isinstance(event, Decided)] == [False]
        assert events[-1].body["text"] == "it is me"
        await laptop.send_text(pair.chat, "good to hear")
        assert await next_texts(anew, 1) == ["good to hear"]


async def test_an_account_without_conversations_decides_for_all_its_devices(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with (
        open_client(all_in_one, tmp_path / "ann") as ann,
        open_client(all_in_one, tmp_path / "bo") as bo,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
    ):
        await register(ann, all_in_one)
        bo_id = await register(bo, all_in_one)
        await link_clients(ann, laptop)

        await laptop.safety.verify(bo_id, await laptop.safety.number(bo_id))
        await events_until(ann, Decided)

        assert ann.safety.is_verified(bo_id)
        assert Peers(ann._store).identity_key(bo_id) == Peers(laptop._store).identity_key(bo_id)
        assert [await each.conversations.list() for each in (ann, laptop, bo)] == [[], [], []]


def with_many_contacts(ann: Client) -> IdentityPin:
    """More than a provisioning has room for; answers one that is not in it."""
    with ann._store.transaction():
        for _ in range(600):
            Peers(ann._store).save_identity(uuid4(), bytes(32))
    last = PinRegistry(ann._store).all_pins()[-1]
    assert isinstance(last, IdentityPin)
    return last


async def approved(ann: Client, laptop: Client) -> LinkAttempt:
    """A link that only has to be completed; a pin that did not fit becomes an event there, which shows when it arrives."""
    last = with_many_contacts(ann)
    attempt = await laptop.links.begin("a laptop")
    scanned = await ann.links.scan(attempt.uri)
    assert scanned.matches(await attempt.code())
    await scanned.approve()
    Peers(laptop._store).save_identity(last.user_id, bytes([1]) * 32)
    return attempt


async def all_pins_before_a_message(laptop: Client, ann: Client) -> None:
    told = [event for event in await events_until(laptop, Message) if isinstance(event, IdentityChanged | Message)]
    assert [event.name for event in told] == ["identityChanged", "message"]
    here, there = ({user_id for user_id, _ in known_identities(each._store)} for each in (ann, laptop))
    assert len(here) > 600
    assert here <= there


async def test_pins_that_did_not_fit_arrive_before_anything_else_also_after_a_restart(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "laptop") as laptop, open_client(all_in_one, tmp_path / "bo") as bo:
        bo_id = await register(bo, all_in_one)
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await register(ann, all_in_one)
            await ann.send_text(await ann.direct(bo_id), "hello")
            await ann.sent()
            attempt = await approved(ann, laptop)
        await attempt.complete()
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await ann.send_text(await ann.direct(bo_id), "the first content")

            await all_pins_before_a_message(laptop, ann)


async def test_pins_arrive_first_where_the_device_is_found_while_something_is_sent(pair: Pair) -> None:
    ann = pair.ann
    attempt = await approved(ann, pair.laptop)
    content = Content("text", uuid4(), 1_800_000_000_000, pair.chat, {"text": "the first content"})
    # Until the turn is over no notice of the new device is heard: the node refuses the post for it.
    async with ann._lock:
        await attempt.complete()
        ann._outbox.queue_content(content, ann._inbox.processor)
        await ann._outbox.post_all()

    await all_pins_before_a_message(pair.laptop, ann)
