"""A newcomer of a group is told to the members before anything is sealed for them, seen by all that leaves for a real node."""

from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.hostile_node.lie import Lie
from tests.hostile_node.proxy import Proxy
from tests.hostile_node.wire import Request, Response
from tests.support.friendship import befriend
from tests.support.hostile_harness import HostileHarness, compare_safety_number, open_hostile_harness, pending_events
from tests.support.sdk_clients import open_client, register
from vyry.client.store.events import MemberAdded


pytestmark = pytest.mark.timeout(120)


class Recorder(Lie):
    """Changes nothing: notes what the client had been told of the newcomer whenever a post with an envelope for them was about to leave."""

    name = "recorder"
    detected_by = ("nothing",)

    def __init__(self, here: HostileHarness, group: UUID, newcomer: UUID) -> None:
        super().__init__()
        self._here, self._group, self._newcomer = here, group, newcomer
        self.seen: list[list[bool]] = []

    async def request(self, proxy: Proxy, request: Request) -> Request | Response:
        """A post, or anything else."""
        if request.matches("POST", "/messages") and request.body is not None:
            sealed_for = [each["userId"] for each in request.body["recipients"] if each["devices"]]
            if str(self._newcomer) in sealed_for:
                self.seen.append(self.told())
        return request

    def told(self) -> list[bool]:
        """Of each event about the newcomer, whether it says that their key was compared."""
        events = self._here.ann.conversations.history(self._group)
        return [each.is_verified for each in events if isinstance(each, MemberAdded) and each.user_id == self._newcomer]


@pytest.mark.parametrize("is_compared", [False, True], ids=["not compared", "compared"])
async def test_a_newcomer_is_told_before_anything_is_sealed_for_them(
    all_in_one: AllInOneProcess, tmp_path: Path, *, is_compared: bool
) -> None:
    async with open_hostile_harness(all_in_one, tmp_path) as here, open_client(all_in_one, tmp_path / "cy") as cy:
        await register(cy, all_in_one)
        await befriend(here.ann, here.bo, cy)
        if is_compared:
            assert await compare_safety_number(here.ann, cy.user_id, "") == ""
        group = await here.bo.groups.create([here.ann.user_id], "walks")
        await here.bo.send_text(group, "first")
        await pending_events(here.ann, upto="first")
        recorder = Recorder(here, group, cy.user_id)
        await here.begin(recorder)
        before = recorder.told()

        await here.bo.groups.add(group, [cy.user_id])
        await here.post_text("welcome", group)
        await pending_events(cy, upto="welcome")

        assert before == []
        assert recorder.seen
        assert all(seen == [is_compared] for seen in recorder.seen)
        assert [each.is_verified for each in await pending_events(here.ann) if isinstance(each, MemberAdded)] == [
            is_compared
        ]
