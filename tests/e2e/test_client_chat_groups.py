"""`vyry client chat` and groups: a title shows as soon as its key has come."""

from pathlib import Path

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.chat_screen import screen, shown, until
from tests.support.sdk_clients import open_client, register


@pytest.mark.timeout(120)
async def test_a_title_whose_key_comes_after_the_group_is_shown(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        ann_id = await register(ann, all_in_one)
        group = await ann.groups.create([], "Sunday walks")
        invite = await ann.groups.invite(group)
        await ann.sent()
    async with open_client(all_in_one, tmp_path / "bo") as bo:
        await register(bo, all_in_one)
        async with screen(bo, None) as pilot:
            await bo.groups.join(invite["token"])
            await until(pilot, lambda: str(ann_id)[:8] in shown(pilot, "#chats"))

            async with open_client(all_in_one, tmp_path / "ann") as ann:
                await ann.conversations.wait_until_drained()
                await ann.sent()
                await ann.send_text(group, "Welcome")
                await until(pilot, lambda: "Sunday walks" in shown(pilot, "#chats"))
