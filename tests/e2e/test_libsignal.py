"""Suite `libsignal` with the official library on both ends: its real bundles go through the directory, its sessions through the mailboxes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess
from tests.support.libsignal_device import LibsignalDevice, NodeRefused, libsignal_device
from tests.support.rest_device import NodeClient


PREKEY, WHISPER = 3, 2


@pytest.fixture
async def people(all_in_one: AllInOneProcess, http: aiohttp.ClientSession) -> AsyncIterator[list[LibsignalDevice]]:
    """Ann and Bo, signed up; nobody has published keys."""
    node = NodeClient(http, all_in_one.url, all_in_one.otp_file)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(libsignal_device(await node.sign_up(with_keys=False))) for _ in range(2)]


async def met(people: list[LibsignalDevice], one_time: int = 5, pq: int = 5) -> str:
    """Both publish keys; answers their conversation."""
    for each in people:
        await each.run_command("publish", oneTime=one_time, pq=pq)
    return await people[0].account.open_direct(people[1].account)


async def test_a_session_of_the_official_library_turns_its_ratchet_both_ways(people: list[LibsignalDevice]) -> None:
    ann, bo = people
    chat = await met(people)

    assert await ann.begin_session(bo) == [{"hasOneTime": True, "isLastResort": False}]
    assert await ann.send(chat, bo, "first") == [PREKEY]
    assert await ann.send(chat, bo, "second, still unanswered") == [PREKEY]
    assert await bo.receive(2) == ["first", "second, still unanswered"]

    for turn in range(3):
        assert await bo.send(chat, ann, f"from bo {turn}") == [WHISPER]
        assert await bo.send(chat, ann, f"again {turn}") == [WHISPER]
        assert await ann.receive(2) == [f"from bo {turn}", f"again {turn}"]
        assert await ann.send(chat, bo, f"from ann {turn}") == [WHISPER]
        assert await bo.receive() == [f"from ann {turn}"]


async def test_two_who_begin_at_the_same_moment_read_one_another(people: list[LibsignalDevice]) -> None:
    ann, bo = people
    chat = await met(people)
    await ann.begin_session(bo)
    await bo.begin_session(ann)

    assert await ann.send(chat, bo, "from ann") == await bo.send(chat, ann, "from bo") == [PREKEY]

    assert (await ann.receive(), await bo.receive()) == (["from bo"], ["from ann"])
    await ann.send(chat, bo, "and on")
    assert await bo.receive() == ["and on"]
    await bo.send(chat, ann, "and back")
    assert await ann.receive() == ["and back"]


async def test_when_one_time_keys_are_used_up_the_last_resort_still_opens_sessions(
    people: list[LibsignalDevice], all_in_one: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    ann, bo = people
    chat = await met(people, one_time=1, pq=1)
    assert await ann.begin_session(bo) == [{"hasOneTime": True, "isLastResort": False}]
    assert await ann.begin_session(bo) == [{"hasOneTime": False, "isLastResort": True}]

    await ann.send(chat, bo, "by the last resort")
    assert await bo.receive() == ["by the last resort"]
    async with libsignal_device(
        await NodeClient(http, all_in_one.url, all_in_one.otp_file).sign_up(with_keys=False)
    ) as cleo:
        await cleo.run_command("publish", oneTime=0, pq=0)
        assert await cleo.begin_session(bo) == [{"hasOneTime": False, "isLastResort": True}]
        await cleo.send(await cleo.account.open_direct(bo.account), bo, "once more by it")
        assert await bo.receive() == ["once more by it"]

    await bo.run_command("refill", oneTime=1, pq=1)
    assert await ann.begin_session(bo) == [{"hasOneTime": True, "isLastResort": False}]


async def test_the_nodes_digest_is_the_one_of_the_keys_the_library_still_holds(people: list[LibsignalDevice]) -> None:
    ann, bo = people
    chat = await met(people)
    fresh = await bo.account.call("GET", "/keys/status")
    assert fresh["digest"] == await bo.run_command("digest")

    await ann.begin_session(bo)
    await ann.send(chat, bo, "uses up one of each")
    await bo.receive()

    after = await bo.account.call("GET", "/keys/status")
    assert (after["oneTimeRemaining"], after["pqRemaining"]) == (4, 4)
    assert after["digest"] == await bo.run_command("digest")


@pytest.mark.parametrize("field", ["signedPrekey", "pqLastResort", "pqPrekeys"])
async def test_one_false_bit_in_a_signature_of_the_library_is_refused(
    people: list[LibsignalDevice], field: str
) -> None:
    with pytest.raises(NodeRefused) as refused:
        await people[0].run_command("publishSpoiled", field=field)

    assert refused.value.code == "INVALID_KEYS"
    assert field in str(refused.value)


async def test_both_sides_show_one_safety_number(people: list[LibsignalDevice]) -> None:
    ann, bo = people
    chat = await met(people)
    await ann.begin_session(bo)
    await ann.send(chat, bo, "hello")
    await bo.receive()

    shown = await ann.run_command("safetyNumber", of=bo.account.user_id)

    assert len(shown) == 60
    assert shown == await bo.run_command("safetyNumber", of=ann.account.user_id)
