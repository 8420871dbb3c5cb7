"""Groups of the SDK against a real node: who is in one reads its title and its mail, who is not reads neither."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess
from tests.support.friendship import befriend
from tests.support.sdk_clients import link_clients, next_texts, open_client, register
from vyry.client.api.client import Client, Profile
from vyry.client.crypto.group_keys import GroupKeys
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.unsealing import EnvelopeOpener, IncomingEnvelope
from vyry.client.errors import Refused, Unreachable
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.outgoing import Outgoing, SendQueue
from vyry.client.transport.rest import RestClient
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.ids import new_id
from vyry.signal_protocol.blobs import BlobKind, open_blob, seal_blob
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.refusals import BadContent, DuplicateMessage, Refusal, SenderKeyUnknown, TooLarge


pytestmark = pytest.mark.timeout(120)


async def wait_for_text(client: Client, word: str) -> None:
    """Somebody said that."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.body.get("text") == word:
                break


@dataclass
class People:
    """Three of them, signed up."""

    ann: Client
    bo: Client
    cy: Client

    async def hear(self, group: UUID, *who: Client) -> None:
        """Everything that Ann told before has come to them."""
        word = secrets.token_hex(4)
        await self.ann.send_text(group, word)
        for client in who:
            await wait_for_text(client, word)


@pytest.fixture
async def people(all_in_one: AllInOneProcess, tmp_path: Path) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(open_client(all_in_one, tmp_path / name)) for name in ("ann", "bo", "cy")
        ]
        for client in found:
            await register(client, all_in_one)
        await befriend(*found)
        yield People(*found)


async def title(client: Client, group: UUID) -> str | None:
    said: str | None = (await client.conversations.get(group))["title"]
    return said


async def changed(client: Client, version: int) -> None:
    """The node has told of that version of the group."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.body.get("name") == "conversationChanged" and event.body["version"] >= version:
                break


async def wait_for_removal(client: Client, group: UUID, user_id: UUID) -> None:
    """The node has told that somebody is in it no more."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.body.get("name") == "conversationChanged":
                said = await client.conversations.get(group)
                is_newest = event.body["version"] >= said["version"]
                if is_newest and str(user_id) not in [each["userId"] for each in said["members"]]:
                    break


def stored_keys(client: Client) -> GroupKeys:
    """All keys that somebody was ever told."""
    return client._group_info.keys


def key_for(group: UUID, *people: UUID) -> Outgoing:
    """A key of a group that nobody has asked for, on its way to them."""
    content = Content("groupKey", new_id(1), 1, group, {"groupKey": encode_base64(bytes(32)), "generation": 2**53 - 1})
    return Outgoing.to_people(content, 1, people)


async def sealed_info(client: Client, group: UUID) -> bytes:
    return decode_bytes((await client.conversations.get(group))["sealedInfo"])


async def test_members_read_the_title_and_the_node_does_not(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy

    group = await ann.groups.create([bo.user_id, cy.user_id], "Canary walks")
    await people.hear(group, bo, cy)

    assert [await title(each, group) for each in (ann, bo, cy)] == ["Canary walks"] * 3
    assert [each["title"] for each in await bo.conversations.list()] == ["Canary walks"]
    assert b"Canary" not in await sealed_info(ann, group)

    await ann.groups.rename(group, "Canary runs")
    assert await title(bo, group) == "Canary runs"


async def test_somebody_who_is_added_or_invited_reads_the_title(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    group = await ann.groups.create([], "Walks")

    await ann.groups.add(group, [bo.user_id])
    invite = await ann.groups.invite(group, maxUses=1, expiresInSeconds=60)
    assert await cy.groups.join(invite["token"]) == group
    with pytest.raises(Refused, match="NOT_FOUND"):
        await bo.groups.join(invite["token"] + "x")
    # Ann hears of Cy from the node, and tells the key by herself.
    await changed(ann, version=3)
    await ann.sent()
    await people.hear(group, bo, cy)

    assert [await title(each, group) for each in (bo, cy)] == ["Walks", "Walks"]
    stored_keys(cy).delete(group)
    await ann.groups.add(group, [cy.user_id])
    await people.hear(group, cy)
    assert await title(cy, group) == "Walks"


async def test_the_first_words_after_an_invitation_was_accepted_are_heard(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "eve") as eve, open_client(all_in_one, tmp_path / "ann") as ann:
        for client in (eve, ann):
            await register(client, all_in_one)
        group = await eve.groups.create([ann.user_id], "walks")
        await ann.invitations.accept(group)

        await eve.send_text(group, "welcome")

        await wait_for_text(ann, "welcome")


async def test_who_was_removed_reads_no_new_title(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    group = await ann.groups.create([bo.user_id, cy.user_id], "With Cy")
    await people.hear(group, bo, cy)

    await ann.groups.remove(group, cy.user_id)
    same_again = await sealed_info(ann, group)
    await ann.groups.rename(group, "Without Cy")
    await people.hear(group, bo)

    assert await title(bo, group) == "Without Cy"
    with pytest.raises(Refused, match="NOT_FOUND"):
        await cy.conversations.get(group)
    for sealed in (same_again, await sealed_info(ann, group)):
        assert stored_keys(cy).open_info(group, sealed) == (None, {})
        assert stored_keys(bo).open_info(group, sealed)[1]["title"]


async def test_another_admin_removes_and_who_left_reads_no_new_title(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    group = await ann.groups.create([bo.user_id, cy.user_id], "Three")
    await ann.groups.set_role(group, bo.user_id, "admin")
    await people.hear(group, bo, cy)

    await bo.groups.remove(group, cy.user_id)
    assert stored_keys(cy).open_info(group, await sealed_info(bo, group)) == (None, {})
    await bo.groups.add(group, [cy.user_id])
    await bo.groups.rename(group, "Three again")
    await bo.send_text(group, "told")
    await wait_for_text(cy, "told")
    assert await title(cy, group) == "Three again"
    kept = cy._store.get("group keys", str(group))
    await cy.groups.leave(group)
    await wait_for_removal(bo, group, cy.user_id)
    await bo.sent()
    await bo.send_text(group, "two are left")
    await wait_for_text(ann, "two are left")

    cy._store.put("group keys", str(group), kept)
    assert stored_keys(cy).open_info(group, await sealed_info(bo, group)) == (None, {})
    assert await title(ann, group) == "Three again"


async def letters(all_in_one: AllInOneProcess, folder: Path) -> list[IncomingEnvelope]:
    """What waits for a device that is closed and was written under sender keys."""
    with Profile(folder, all_in_one.url).open_store() as store:
        async with aiohttp.ClientSession() as http:
            page = await RestClient(http, all_in_one.url, store).call("GET", "/mailbox?limit=100")
    found = [IncomingEnvelope.from_entry(entry, 0) for entry in page["entries"] if "content" in entry]
    return [letter for letter in found if letter.sender_key_id]


async def test_what_is_said_after_a_removal_is_closed_to_who_was_removed(
    all_in_one: AllInOneProcess, people: People, tmp_path: Path
) -> None:
    ann, cy = people.ann, people.cy
    async with open_client(all_in_one, tmp_path / "dan") as dan:
        dan_id = await register(dan, all_in_one)
        await befriend(ann, dan)
    group = await ann.groups.create([dan_id, cy.user_id], "Walks")
    await ann.send_text(group, "with Cy")
    assert await next_texts(cy, 1) == ["with Cy"]

    await ann.groups.remove(group, cy.user_id)
    await ann.send_text(group, "without Cy")
    assert await ann.sent() == {}
    before, after = await letters(all_in_one, tmp_path / "dan")

    for letter, refusal in ((before, DuplicateMessage), (after, SenderKeyUnknown)):
        with pytest.raises(refusal):
            EnvelopeOpener(cy._store).open(LocalDevice.load(cy._store), letter)
    async with open_client(all_in_one, tmp_path / "dan") as dan:
        assert await next_texts(dan, 2) == ["with Cy", "without Cy"]


async def test_nobody_misses_a_message_because_somebody_has_just_left(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    group = await ann.groups.create([bo.user_id, cy.user_id], "Walks")
    await ann.sent()
    as_it_was = ann._store.get("conversation", str(group))

    await cy.groups.leave(group)
    await changed(ann, version=2)
    await ann.sent()
    # As if the node's notice had not come yet.
    ann._store.put("conversation", str(group), as_it_was)
    SendQueue(ann._store).add(key_for(group, bo.user_id, cy.user_id))
    await ann.send_text(group, "to Bo")

    assert await ann.sent() == {}
    await wait_for_text(bo, "to Bo")
    assert stored_keys(bo).open_info(group, seal_blob(bytes(32), BlobKind.GROUP_INFO, {}))[0]


async def test_no_title_that_somebody_wrote_breaks_a_listing(people: People) -> None:
    ann, bo = people.ann, people.bo
    group = await ann.groups.create([bo.user_id], "Walks")
    await people.hear(group, bo)
    own = stored_keys(ann).newest_own(group)
    assert own

    async def shown(sealed: bytes) -> str | None:
        """The title that Bo sees for what Ann has put there by hand."""
        version = (await ann.conversations.get(group))["version"]
        body = {"version": version, "sealedInfo": encode_base64(sealed)}
        await ann._rest.call("PATCH", f"/conversations/{group}", body)
        listed = await bo.conversations.list()
        assert len(listed) == 1
        return str(listed[0]["title"]) if listed[0]["title"] is not None else None

    def blob(said: dict[str, Any]) -> bytes:
        return seal_blob(own.key, BlobKind.GROUP_INFO, said)

    assert [await shown(each) for each in (b"", b"\1", secrets.token_bytes(8_192))] == [None] * 3
    assert [await shown(blob({"title": each})) for each in (7, None, ["Walks"], " ")] == [None] * 4
    assert await shown(blob({"title": "\x1b[2J\u202eWalks\n"})) == "[2JWalks"
    assert await shown(blob({"title": "x" * 5_000})) == "x" * 999 + "…"
    assert await shown(blob({"title": "Walks 👩‍👩‍👧", "color": "red"})) == "Walks 👩‍👩‍👧"


async def test_what_a_newer_version_says_of_a_group_stays_when_it_is_renamed(people: People) -> None:
    group = await people.ann.groups.create([], "Walks")
    await people.ann._group_info.update_info(group, lambda info: {**info, "color": "red"})

    await people.ann.groups.rename(group, "Runs")

    sealed = await sealed_info(people.ann, group)
    assert stored_keys(people.ann).open_info(group, sealed)[1] == {"title": "Runs", "color": "red"}


async def test_admins_who_rename_at_the_same_time_both_succeed(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    group = await ann.groups.create([bo.user_id, cy.user_id], "Walks")
    await ann.groups.set_role(group, bo.user_id, "admin")
    await people.hear(group, bo, cy)

    names = [f"{who} {number}" for number in range(3) for who in ("Ann", "Bo")]
    await asyncio.gather(*((ann, bo)[at % 2].groups.rename(group, name) for at, name in enumerate(names)))
    await bo.sent()
    await people.hear(group, bo, cy)
    await bo.send_text(group, "told")
    await wait_for_text(cy, "told")

    seen = {await title(each, group) for each in (ann, bo, cy)}
    assert len(seen) == 1
    assert seen <= set(names)


async def test_each_change_of_the_key_has_a_higher_generation(people: People) -> None:
    ann, bo = people.ann, people.bo
    group = await ann.groups.create([bo.user_id], "One")
    await ann.groups.set_role(group, bo.user_id, "admin")
    await people.hear(group, bo)
    await bo.groups.rename(group, "Two")
    await bo.send_text(group, "told")
    await wait_for_text(ann, "told")
    await ann.groups.rename(group, "Three")

    key, info = stored_keys(ann).open_info(group, await sealed_info(ann, group))

    assert key
    assert (key.generation, info) == (3, {"title": "Three"})


async def test_no_member_chooses_the_key_of_the_others(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    group = await ann.groups.create([bo.user_id, cy.user_id], "Walks")
    await people.hear(group, bo, cy)

    SendQueue(bo._store).add(key_for(group, ann.user_id, cy.user_id))
    await bo.send_text(group, "told")
    for each in (ann, cy):
        await wait_for_text(each, "told")
    await ann.groups.rename(group, "Runs")
    await people.hear(group, cy)

    assert await title(cy, group) == "Runs"
    with pytest.raises(Refusal):
        open_blob(bytes(32), BlobKind.GROUP_INFO, await sealed_info(ann, group))


async def test_a_group_whose_answer_was_lost_is_made_once(people: People) -> None:
    ann, bo = people.ann, people.bo
    made = ann._rest.call

    async def lost(method: str, path: str, body: object = None) -> dict[str, Any]:
        said = await made(method, path, body)
        if (method, path) == ("POST", "/conversations"):
            raise Unreachable("The answer is lost.")
        return said

    ann._rest.call = lost  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await ann.groups.create([bo.user_id], "Walks")
    ann._rest.call = made  # type: ignore[method-assign]

    group = await ann.groups.create([bo.user_id], "Walks")
    await people.hear(group, bo)

    assert [each["title"] for each in await bo.conversations.list()] == ["Walks"]
    assert await ann.groups.create([bo.user_id], "Walks") != group


async def test_a_title_has_words_and_an_end(people: People) -> None:
    for words, refusal in (("x" * 1_001, TooLarge), (" ", BadContent)):
        with pytest.raises(refusal):
            await people.ann.groups.create([people.bo.user_id], words)
    assert await people.bo.conversations.list() == []


async def test_a_linked_device_knows_the_titles_of_before_and_after(
    all_in_one: AllInOneProcess, people: People, tmp_path: Path
) -> None:
    ann, bo = people.ann, people.bo
    async with open_client(all_in_one, tmp_path / "laptop") as laptop:
        before = await ann.groups.create([bo.user_id], "Before")
        await people.hear(before, bo)
        await link_clients(bo, laptop)
        after = await ann.groups.create([bo.user_id], "After")
        await people.hear(after, laptop)

        assert sorted([each["title"] for each in await laptop.conversations.list()]) == ["After", "Before"]
        own = await laptop.groups.create([ann.user_id], "Own")
        await laptop.sent()
        assert await title(laptop, own) == "Own"
        await laptop.send_text(own, "told")
        await wait_for_text(bo, "told")
        assert await title(bo, own) == "Own"
