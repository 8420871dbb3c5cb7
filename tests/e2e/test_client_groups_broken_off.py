"""Groups of the SDK when something ends in the middle: a process, an answer, or an identity."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scripts.nodes import AllInOneProcess
from tests.e2e.test_client_groups import sealed_info, stored_keys, title, wait_for_text
from tests.support.friendship import befriend
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import accept, open_client, register
from vyry.client.api.client import Client
from vyry.client.errors import Unreachable


pytestmark = pytest.mark.timeout(120)


def break_off(client: Client, method: str, *, is_heard: bool = False) -> None:
    """From now on calls of that method get no answer; `is_heard`: but the node does what they ask."""
    whole = client._rest.call

    async def broken(asked: str, path: str, body: object = None) -> dict[str, Any]:
        if asked != method:
            return await whole(asked, path, body)
        if is_heard:
            await whole(asked, path, body)
        raise Unreachable("The line is cut.")

    client._rest.call = broken  # type: ignore[assignment,method-assign]


async def test_a_group_that_was_made_when_the_process_ended_is_made_once_and_told(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "bo") as bo:
        bo_id = await register(bo, all_in_one)
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await register(ann, all_in_one)
            await befriend(ann, bo)
            break_off(ann, "POST", is_heard=True)
            with pytest.raises(Unreachable):
                await ann.groups.create([bo_id], "Walks")

        async with open_client(all_in_one, tmp_path / "ann") as ann:
            group = await ann.groups.create([bo_id], "Walks")
            await ann.send_text(group, "told")
            await wait_for_text(bo, "told")
            assert [each["title"] for each in await bo.conversations.list()] == ["Walks"]
            assert await ann.groups.create([bo_id], "Walks") != group


async def test_a_group_that_was_made_when_the_process_ended_is_told_without_asking_again(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "bo") as bo:
        bo_id = await register(bo, all_in_one)
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await register(ann, all_in_one)
            await befriend(ann, bo)
            break_off(ann, "POST", is_heard=True)
            with pytest.raises(Unreachable):
                await ann.groups.create([bo_id], "Walks")

        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await ann.send_text(await ann.direct(bo_id), "here again")
            await ann.sent()
            await ann.send_text(await ann.direct(bo_id), "told")
            await wait_for_text(bo, "told")
            assert "Walks" in [each["title"] for each in await bo.conversations.list()]


async def test_a_removal_that_was_broken_off_is_brought_to_its_end(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "bo") as bo, open_client(all_in_one, tmp_path / "cy") as cy:
        people = [await register(bo, all_in_one), await register(cy, all_in_one)]
        async with open_client(all_in_one, tmp_path / "dan") as dan:
            await register(dan, all_in_one)
            await befriend(dan, bo, cy)
            group = await dan.groups.create([*people], "Walks")
            await dan.groups.set_role(group, people[0], "admin")
            await dan.send_text(group, "told")
            await wait_for_text(bo, "told")
            await wait_for_text(cy, "told")
        before = await sealed_info(bo, group)

        # Bo made no key of this group, so nothing but what he has noted tells him to seal anew.
        break_off(bo, "PATCH")
        with pytest.raises(Unreachable):
            await bo.groups.remove(group, people[1])
    async with open_client(all_in_one, tmp_path / "bo") as bo, open_client(all_in_one, tmp_path / "cy") as cy:
        await bo.sent()
        after = await sealed_info(bo, group)

        assert after != before
        assert await title(bo, group) == "Walks"
        assert stored_keys(cy).open_info(group, before)[1] == {"title": "Walks"}
        assert stored_keys(cy).open_info(group, after) == (None, {})


async def wait_for_new_identity(client: Client) -> None:
    """Read events until one reports that another account has a new identity key."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.body.get("name") == "devicesChanged" and event.body["identityChanged"]:
                return


async def test_who_comes_back_with_other_keys_is_told_the_title_again(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        async with open_client(all_in_one, tmp_path / "bo") as bo:
            bo_id = await register(bo, all_in_one, number := unused_number())
            await befriend(ann, bo)
            group = await ann.groups.create([bo_id], "Walks")
            await ann.send_text(group, "told")
            await wait_for_text(bo, "told")
        async with open_client(all_in_one, tmp_path / "bo again") as again:
            assert await register(again, all_in_one, number) == bo_id
            await wait_for_new_identity(ann)
            await ann.send_text(group, "not for the new key yet")
            await ann.sent()
            assert await title(again, group) is None

            await accept(ann, bo_id)
            _ = [await ann.send_text(group, text) for text in ("told again", "and again")]
            await wait_for_text(again, "and again")
            assert await title(again, group) == "Walks"


async def test_an_admin_who_adds_somebody_tells_the_title_also_when_who_wrote_it_is_away(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "bo") as bo, open_client(all_in_one, tmp_path / "cy") as cy:
        bo_id, cy_id = await register(bo, all_in_one), await register(cy, all_in_one)
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await register(ann, all_in_one)
            await befriend(ann, bo, cy)
            group = await ann.groups.create([bo_id], "Walks")
            await ann.groups.set_role(group, bo_id, "admin")
            await ann.send_text(group, "told")
            await wait_for_text(bo, "told")

        before = await sealed_info(bo, group)
        await bo.groups.add(group, [cy_id])
        await bo.send_text(group, "welcome")
        await wait_for_text(cy, "welcome")

        assert await title(cy, group) == "Walks"
        # Ann would not know that Cy holds her key, and go on with it when Cy is gone: so nobody but her tells it.
        assert stored_keys(cy).open_info(group, before) == (None, {})
