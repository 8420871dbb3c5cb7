"""A newcomer of a group is told to the members before anything is sealed for them, seen by all that leaves for a real node."""

from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import Alone
from tests.befriending import befriend
from tests.e2e.hostile import Room, compared, heard, room
from tests.e2e.test_sdk import open_at, register
from tests.hostile_node.lie import Lie
from tests.hostile_node.proxy import Proxy
from tests.hostile_node.wire import Answer, Request
from vyry.client.events import MemberAdded


pytestmark = pytest.mark.timeout(120)


class Recorder(Lie):
    """Changes nothing: notes what the client had been told of the newcomer whenever a post with an envelope for them was about to leave."""

    name = "recorder"
    tells = ("nothing",)

    def __init__(self, here: Room, group: UUID, newcomer: UUID) -> None:
        super().__init__()
        self._here, self._group, self._newcomer = here, group, newcomer
        self.seen: list[list[bool]] = []

    async def request(self, proxy: Proxy, request: Request) -> Request | Answer:
        """A post, or anything else."""
        if request.is_("POST", "/messages") and request.body is not None:
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
    alone: Alone, tmp_path: Path, *, is_compared: bool
) -> None:
    async with room(alone, tmp_path) as here, open_at(alone, tmp_path / "cy") as cy:
        await register(cy, alone)
        await befriend(here.ann, here.bo, cy)
        if is_compared:
            assert await compared(here.ann, cy.user_id, "") == ""
        group = await here.bo.groups.create([here.ann.user_id], "walks")
        await here.bo.send_text(group, "first")
        await heard(here.ann, upto="first")
        recorder = Recorder(here, group, cy.user_id)
        await here.begin(recorder)
        before = recorder.told()

        await here.bo.groups.add(group, [cy.user_id])
        await here.say("welcome", group)
        await heard(cy, upto="welcome")

        assert before == []
        assert recorder.seen
        assert all(seen == [is_compared] for seen in recorder.seen)
        assert [each.is_verified for each in await heard(here.ann) if isinstance(each, MemberAdded)] == [is_compared]
