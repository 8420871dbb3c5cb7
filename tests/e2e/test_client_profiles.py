"""Sealed profiles of the SDK against a real node: whom one writes to reads them, the node and strangers do not, and no sealed bytes break anything."""

import secrets
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.e2e.test_client_groups import People, people, wait_for_text
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import accept, link_clients, open_client, register
from vyry.client.api.client import Client
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.blobs import BlobKind, seal_blob
from vyry.signal_protocol.refusals import TooLarge


__all__ = ["people"]

pytestmark = pytest.mark.timeout(120)
NOTHING = {"name": None, "about": None}


async def tell(ann: Client, chat: UUID, bo: Client) -> None:
    """Everything that Ann has to tell there has come to Bo."""
    for _ in range(2):
        word = secrets.token_hex(4)
        await ann.send_text(chat, word)
        await ann.sent()
        await wait_for_text(bo, word)


async def shown(client: Client, user_id: UUID) -> dict[str, Any]:
    said: dict[str, Any] = (await client.people.profile(user_id))["profile"]
    return said


async def test_whom_one_writes_to_reads_the_profile_and_others_do_not(people: People) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    for friend in (bo, cy):
        await ann.friends.request(friend.user_id)
        await friend.friends.accept(ann.user_id)
    mine = await ann.account.show(name="Ann of the canary", about="Walks")
    await tell(ann, await ann.direct(bo.user_id), bo)

    theirs, strange = await bo.people.profile(ann.user_id), await cy.people.profile(ann.user_id)

    assert mine["profile"] == theirs["profile"] == {"name": "Ann of the canary", "about": "Walks"}
    assert strange["sealedProfile"] == theirs["sealedProfile"] == mine["sealedProfile"]
    assert strange["profile"] == NOTHING
    assert b"canary" not in decode_bytes(strange["sealedProfile"])


async def test_members_of_a_group_are_told_and_the_key_goes_out_once(people: People) -> None:
    ann = people.ann
    await ann.account.show(name="Ann")
    group = await ann.groups.create([people.bo.user_id, people.cy.user_id], "Walks")
    await people.hear(group, people.bo, people.cy)
    await people.hear(group, people.bo, people.cy)
    await ann.sent()
    number = ann._store.get("outgoing number")

    await tell(ann, await ann.direct(people.bo.user_id), people.bo)

    assert [(await shown(each, ann.user_id))["name"] for each in (people.bo, people.cy)] == ["Ann", "Ann"]
    assert int(ann._store.get("outgoing number") or b"") == int(number or b"") + 2


async def test_a_key_is_told_again_to_who_has_another_device_and_by_each_own_device(
    all_in_one: AllInOneProcess, tmp_path: Path, people: People
) -> None:
    ann, bo, cy = people.ann, people.bo, people.cy
    await ann.account.show(name="Ann")
    chat = await ann.direct(bo.user_id)
    await tell(ann, chat, bo)
    async with (
        open_client(all_in_one, tmp_path / "laptop") as laptop,
        open_client(all_in_one, tmp_path / "phone") as phone,
    ):
        await link_clients(bo, laptop)
        await link_clients(ann, phone)

        await tell(ann, chat, laptop)
        await tell(phone, await phone.direct(cy.user_id), cy)

        assert [(await shown(each, ann.user_id))["name"] for each in (laptop, phone, cy)] == ["Ann"] * 3


async def test_somebody_with_new_keys_is_told_again_once_they_are_accepted(
    all_in_one: AllInOneProcess, tmp_path: Path, people: People
) -> None:
    ann, number = people.ann, unused_number()
    await ann.account.show(name="Ann")
    async with open_client(all_in_one, tmp_path / "dan") as dan:
        chat = await ann.direct(await register(dan, all_in_one, number))
        await tell(ann, chat, dan)
    async with open_client(all_in_one, tmp_path / "dan anew") as anew:
        await register(anew, all_in_one, number)
        await ann.send_text(chat, "is it you?")
        await ann.sent()
        await accept(ann, anew.user_id)

        await tell(ann, chat, anew)

        assert (await shown(anew, ann.user_id))["name"] == "Ann"


async def test_no_sealed_bytes_break_a_profile(people: People) -> None:
    ann, bo = people.ann, people.bo
    await ann.account.show(name="Ann")
    await tell(ann, await ann.direct(bo.user_id), bo)
    key, seen = LocalDevice.load(ann._store).profile_key, []
    for sealed in (
        b"x",
        b"\x02" + bytes(100),
        secrets.token_bytes(8_000),
        seal_blob(bytes(32), BlobKind.PROFILE, {"name": "of another key"}),
        seal_blob(key, BlobKind.GROUP_INFO, {"name": "of another kind"}),
        seal_blob(key, BlobKind.PROFILE, {"name": ["no words"], "about": 7}),
        seal_blob(key, BlobKind.PROFILE, {"name": " \u202e\n\x1b[2J ", "about": "a\u2028b" + "c" * 600}),
    ):
        await ann.account.update(sealedProfile=encode_base64(sealed))
        seen.append(await shown(bo, ann.user_id))
        assert await shown(ann, ann.user_id) == seen[-1]

    assert seen[:-1] == [NOTHING] * 6
    assert seen[-1] == {"name": "[2J", "about": "a b" + "c" * 496 + "…"}


async def test_what_is_changed_leaves_the_rest_and_has_an_end(people: People) -> None:
    ann = people.ann
    key = LocalDevice.load(ann._store).profile_key
    newer = seal_blob(key, BlobKind.PROFILE, {"name": "Ann", "about": "Walks", "colour": "green"})
    await ann.account.update(sealedProfile=encode_base64(newer))

    with pytest.raises(TooLarge):
        await ann.account.show(name="x" * 101)
    told = await ann.account.show(about="")

    assert told["profile"] == {"name": "Ann", "about": None}
    assert ann.account._profiles._open(told)["colour"] == "green"
