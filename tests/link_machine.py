"""Any history of links against a model of a few lines: two accounts with two devices each, links at every stage, time, ends and stolen tokens."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.account_room import NOON
from tests.link_room import LinkRoom, approval, open_link_room, scan
from vyry.accounts.account import Caller
from vyry.devices.links import LinkStatus, NewLink
from vyry.errors import AlreadyUsed, DeviceLimit, Forbidden, InvalidToken, NotFound, VyryError


MOST = 2
WHO = st.sampled_from(["ann", "ann's tablet", "eve"])


@dataclass
class Known:
    """A link as it must be."""

    link: NewLink
    status: LinkStatus = LinkStatus.WAITING
    by: Caller | None = None
    token: str | None = None


class LinkMachine(RuleBasedStateMachine):
    """Every step is taken or refused exactly as the model says, and devices come from completed links alone."""

    #: The database; None for memory.
    url: str | None = None
    links = Bundle("links")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = NOON
        self.known: dict[UUID, Known] = {}
        self.ended: set[UUID] = set()

    @initialize()
    def move_in(self) -> None:
        self.door = open_link_room(self.url)
        self.room: LinkRoom = self.runner.run(self.door.__aenter__())
        self.runner.run(self._move_in())
        self.change(self.room)

    def change(self, room: LinkRoom) -> None:
        """What tests of the machine itself put in the place of good stores."""

    async def _move_in(self) -> None:
        ann, eve = await self.room.owner("a"), await self.room.owner("e")
        made = await self.room.linked(ann)
        listing = await self.room.stores.devices.list(made.user_id)
        tablet = await self.room.caller(listing.devices[-1].device)
        assert tablet
        self.callers = {"ann": ann, "ann's tablet": tablet, "eve": eve}
        self.devices = {ann.user_id: 2, eve.user_id: 1}

    def teardown(self) -> None:
        if hasattr(self, "door"):
            self.runner.run(self.door.__aexit__(None, None, None))
        self.runner.close()

    @rule(target=links)
    def ask(self) -> UUID:
        link = self.runner.run(self.room.ask(self.now))
        self.known[link.link_id] = Known(link)
        return link.link_id

    @rule(seconds=st.sampled_from([1, 50, 119]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(link_id=links, who=WHO)
    def scan(self, link_id: UUID, who: str) -> None:
        known, caller = self.known[link_id], self.callers[who]
        expected = self._unseen(known, caller)
        if expected is None and known.status is not LinkStatus.WAITING:
            expected = AlreadyUsed
        self._step(self.room.links.scan(scan(link_id, caller, self.now)), expected)
        if expected is None:
            known.status, known.by = LinkStatus.SCANNED, caller

    @rule(link_id=links, who=WHO)
    def approve(self, link_id: UUID, who: str) -> None:
        known, caller = self.known[link_id], self.callers[who]
        expected = self._unseen(known, caller)
        if expected is None:
            expected = self._unapprovable(known, caller)
        self._step(self.room.links.approve(approval(link_id, caller, self.now, MOST)), expected)
        if expected is None:
            known.status = LinkStatus.APPROVED

    def _unapprovable(self, known: Known, caller: Caller) -> type[VyryError] | None:
        if known.status is not LinkStatus.SCANNED or known.by is None:
            return AlreadyUsed
        if known.by.device != caller.device:
            return Forbidden
        if not self._stands(known):
            return AlreadyUsed
        return DeviceLimit if self.devices[caller.user_id] >= MOST else None

    @rule(link_id=links, who=WHO)
    def reject(self, link_id: UUID, who: str) -> None:
        known, caller = self.known[link_id], self.callers[who]
        expected = self._unseen(known, caller)
        if expected is None and known.status in (LinkStatus.WAITING, LinkStatus.COMPLETED):
            expected = AlreadyUsed
        self._step(self.room.links.reject(link_id, caller, self.now), expected)
        if expected is None:
            known.status, known.token = LinkStatus.REJECTED, None

    @rule(link_id=links)
    def take(self, link_id: UUID) -> None:
        known, token = self.known[link_id], uuid4().hex
        given = self.runner.run(self.room.links.take(link_id, token, self.now))
        is_due = self._is_open(known) and known.token is None
        assert given == (b"sealed" if is_due else None)
        if is_due:
            known.token = token

    @rule(link_id=links)
    def complete(self, link_id: UUID) -> None:
        known = self.known[link_id]
        completion = self.room.completion(known.token or uuid4().hex, at=self.now, most=MOST)
        expected: type[VyryError] | None = None
        if known.token is not None and known.status is LinkStatus.COMPLETED:
            expected = AlreadyUsed
        elif known.token is None or not self._is_open(known):
            expected = InvalidToken
        elif known.by is not None and self.devices[known.by.user_id] >= MOST:
            expected = DeviceLimit
        self._step(self.room.links.complete(completion), expected)
        if expected is None and known.by is not None:
            known.status = LinkStatus.COMPLETED
            self.devices[known.by.user_id] += 1

    @precondition(lambda self: self.callers["ann's tablet"].device not in self.ended)
    @rule()
    def end_the_tablet(self) -> None:
        tablet = self.callers["ann's tablet"]
        self.runner.run(self.room.end(tablet))
        self.ended.add(tablet.device)
        self.devices[tablet.user_id] -= 1

    @invariant()
    def links_stand_as_they_must(self) -> None:
        found = self.runner.run(self.room.links.look(list(self.known), self.now)) if self.known else {}
        assert {link_id: state.status for link_id, state in found.items()} == {
            link_id: self._shown(known) for link_id, known in self.known.items()
        }

    @invariant()
    def there_are_no_other_devices(self) -> None:
        for user_id, count in getattr(self, "devices", {}).items():
            assert len(self.runner.run(self.room.numbered(user_id))) == count <= MOST

    def _step(self, step: Awaitable[object], expected: type[VyryError] | None) -> None:
        assert self.runner.run(_refusal(step)) is expected

    def _unseen(self, known: Known, caller: Caller) -> type[VyryError] | None:
        is_foreign = known.by is not None and known.by.user_id != caller.user_id
        return NotFound if is_foreign or known.link.expires_at <= self.now else None

    def _stands(self, known: Known) -> bool:
        return known.by is not None and known.by.device not in self.ended

    def _is_open(self, known: Known) -> bool:
        is_in_time = known.link.expires_at > self.now
        return known.status is LinkStatus.APPROVED and is_in_time and self._stands(known)

    def _shown(self, known: Known) -> LinkStatus:
        if known.status in (LinkStatus.REJECTED, LinkStatus.COMPLETED):
            return known.status
        if known.link.expires_at <= self.now:
            return LinkStatus.EXPIRED
        return known.status if known.by is None or self._stands(known) else LinkStatus.REJECTED


async def _refusal(step: Awaitable[object]) -> type[Exception] | None:
    try:
        await step
    except VyryError as refusal:
        return type(refusal)
    return None
