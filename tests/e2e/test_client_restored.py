"""A folder that was copied and is opened again: the node's greeting shows that this store is older than it should be, before it seals anything."""

import asyncio
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.sdk_clients import open_client, register
from vyry.client.api.client import Client
from vyry.client.crypto.peers import Peers
from vyry.client.store import profile as opening
from vyry.signal_protocol.primitives import Address


pytestmark = pytest.mark.timeout(120)


async def until(client: Client, name: str, words: str) -> list[tuple[str, str]]:
    """Everything up to that event; what was seen last before comes again, and notices and receipts are passed over."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(30):
        async for event in client.events():
            found.append((event.name, event.body.get("text") or event.body.get("reason") or ""))
            if found[-1] == (name, words):
                break
    return [each for each in found if each[0] not in ("notice", "receipt")]


def used(client: Client, user_id: UUID) -> bytes | None:
    """The session that would seal for the account's first device."""
    active = Peers(client._store).sessions(Address(user_id, 1)).active
    return None if active is None else active.session_id


async def two_who_talk(all_in_one: AllInOneProcess, folder: Path) -> tuple[UUID, UUID, bytes | None]:
    """Ann and Bo in a session that both have used, and Ann's folder copied; answers the conversation, Bo's id and the session."""
    async with open_client(all_in_one, folder / "ann") as ann, open_client(all_in_one, folder / "bo") as bo:
        await register(ann, all_in_one)
        bo_id = await register(bo, all_in_one)
        chat = await ann.direct(bo_id)
        await ann.send_text(chat, "hello")
        await until(bo, "message", "hello")
        await bo.send_text(chat, "hello Ann")
        await until(ann, "message", "hello Ann")
        await ann.sent()
        await bo.sent()
        session = used(ann, bo_id)
    await asyncio.to_thread(shutil.copytree, folder / "ann", folder / "copy")
    return chat, bo_id, session


@pytest.mark.parametrize("has_had_mail", [False, True])
async def test_a_copy_says_so_and_seals_under_no_key_that_was_used(
    all_in_one: AllInOneProcess, tmp_path: Path, *, has_had_mail: bool
) -> None:
    chat, bo_id, copied = await two_who_talk(all_in_one, tmp_path)
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        await ann.send_text(chat, "one")
        await until(bo, "message", "one")
        if has_had_mail:
            await bo.send_text(chat, "two")
            await until(ann, "message", "two")
        await ann.sent()

    async with open_client(all_in_one, tmp_path / "copy") as copy, open_client(all_in_one, tmp_path / "bo") as bo:
        await copy.send_text(chat, "three")
        assert await copy.sent() == {}
        assert ("lost", "rolledBack") in await until(copy, "lost", "rolledBack")
        assert {name for name, _ in await until(bo, "message", "three")} == {"message"}
        assert used(copy, bo_id) != copied
        await bo.send_text(chat, "four")
        assert ("message", "four") in await until(copy, "message", "four")


async def test_an_honest_restart_says_nothing(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    chat, *_ = await two_who_talk(all_in_one, tmp_path)

    for number in range(3):
        async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
            await ann.send_text(chat, str(number))
            assert {name for name, _ in await until(bo, "message", str(number))} == {"message"}
            await bo.send_text(chat, f"answer {number}")
            assert {name for name, _ in await until(ann, "message", f"answer {number}")} == {"message"}


async def test_a_copy_on_another_machine_begins_with_sessions_of_its_own(
    all_in_one: AllInOneProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, bo_id, _ = await two_who_talk(all_in_one, tmp_path)
    async with open_client(all_in_one, tmp_path / "bo") as bo:
        for act in (opening.is_other_machine, opening.record_machine):
            monkeypatch.setattr(act, "__defaults__", (lambda: "another machine",))
        async with open_client(all_in_one, tmp_path / "copy") as copy:
            assert used(copy, bo_id) is None
            await copy.send_text(chat, "from here")
            assert {name for name, _ in await until(bo, "message", "from here")} == {"message"}


async def test_nothing_is_posted_before_the_node_has_greeted(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    chat, *_ = await two_who_talk(all_in_one, tmp_path)

    async with open_client(all_in_one, tmp_path / "ann") as ann:
        ann._connection.is_welcomed.clear()
        await ann.send_text(chat, "too early")
        assert ann._outbox.has_pending()
        await ann._connection.is_welcomed.wait()
        assert await ann.sent() == {}
