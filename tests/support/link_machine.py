"""Any history of links against a model of a few lines: two accounts with two devices each, links at every stage, time, ends and stolen tokens."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.fake_clock import NOON
from tests.support.link_harness import LinkHarness, make_approval, make_scan, open_link_harness
from tests.support.step_runner import StepRunner
from vyry.accounts.account import Caller
from vyry.devices.links import LinkStatus, NewLink
from vyry.errors import AlreadyUsed, DeviceLimit, Forbidden, InvalidToken, NotFound, VyryError


MAX_DEVICES = 2
CALLER_NAMES = st.sampled_from(["ann", "ann's tablet", "eve"])


@dataclass
class ExpectedLink:
    """A link as it must be."""

    link: NewLink
    status: LinkStatus = LinkStatus.WAITING
    scanned_by: Caller | None = None
    token: str | None = None


class LinkMachine(RuleBasedStateMachine):
    """Every step is taken or refused exactly as the model says, and devices come from completed links alone."""

    #: The database; None for memory.
    url: str | None = None
    links = Bundle("links")

    def __init__(self) -> None:
        super().__init__()
        self.runner = StepRunner()
        self.now = NOON
        self.expected_links: dict[UUID, ExpectedLink] = {}
        self.ended: set[UUID] = set()

    @initialize()
    def set_up(self) -> None:
        self.open_harness = open_link_harness(self.url)
        self.harness: LinkHarness = self.runner.run(self.open_harness.__aenter__())
        self.runner.run(self._open_harness())
        self.plant_bug(self.harness)

    def plant_bug(self, harness: LinkHarness) -> None:
        """What tests of the machine itself put in the place of good stores."""

    async def _open_harness(self) -> None:
        ann, eve = await self.harness.add_owner("a"), await self.harness.add_owner("e")
        made = await self.harness.link_device(ann)
        listing = await self.harness.stores.devices.list(made.user_id)
        tablet = await self.harness.find_caller(listing.devices[-1].device)
        assert tablet
        self.callers = {"ann": ann, "ann's tablet": tablet, "eve": eve}
        self.devices = {ann.user_id: 2, eve.user_id: 1}

    def teardown(self) -> None:
        if hasattr(self, "open_harness"):
            self.runner.run(self.open_harness.__aexit__(None, None, None))
        self.runner.close()

    @rule(target=links)
    def request_link(self) -> UUID:
        link = self.runner.run(self.harness.request_link(self.now))
        self.expected_links[link.link_id] = ExpectedLink(link)
        return link.link_id

    @rule(seconds=st.sampled_from([1, 50, 119]))
    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(link_id=links, who=CALLER_NAMES)
    def scan(self, link_id: UUID, who: str) -> None:
        known, caller = self.expected_links[link_id], self.callers[who]
        expected = self._expected_refusal(known, caller)
        if expected is None and known.status is not LinkStatus.WAITING:
            expected = AlreadyUsed
        self._step(self.harness.links.scan(make_scan(link_id, caller, self.now)), expected)
        if expected is None:
            known.status, known.scanned_by = LinkStatus.SCANNED, caller

    @rule(link_id=links, who=CALLER_NAMES)
    def approve(self, link_id: UUID, who: str) -> None:
        known, caller = self.expected_links[link_id], self.callers[who]
        expected = self._expected_refusal(known, caller)
        if expected is None:
            expected = self._expected_approval_refusal(known, caller)
        self._step(self.harness.links.approve(make_approval(link_id, caller, self.now, MAX_DEVICES)), expected)
        if expected is None:
            known.status = LinkStatus.APPROVED

    def _expected_approval_refusal(self, known: ExpectedLink, caller: Caller) -> type[VyryError] | None:
        if known.status is not LinkStatus.SCANNED or known.scanned_by is None:
            return AlreadyUsed
        if known.scanned_by.device != caller.device:
            return Forbidden
        if not self._is_unexpired(known):
            return AlreadyUsed
        return DeviceLimit if self.devices[caller.user_id] >= MAX_DEVICES else None

    @rule(link_id=links, who=CALLER_NAMES)
    def reject(self, link_id: UUID, who: str) -> None:
        known, caller = self.expected_links[link_id], self.callers[who]
        expected = self._expected_refusal(known, caller)
        if expected is None and known.status in (LinkStatus.WAITING, LinkStatus.COMPLETED):
            expected = AlreadyUsed
        self._step(self.harness.links.reject(link_id, caller, self.now), expected)
        if expected is None:
            known.status, known.token = LinkStatus.REJECTED, None

    @rule(link_id=links)
    def fetch_token(self, link_id: UUID) -> None:
        known, token = self.expected_links[link_id], uuid4().hex
        given = self.runner.run(self.harness.links.claim_provisioning(link_id, token, self.now))
        is_due = self._is_open(known) and known.token is None
        assert given == (b"sealed" if is_due else None)
        if is_due:
            known.token = token

    @rule(link_id=links)
    def complete(self, link_id: UUID) -> None:
        known = self.expected_links[link_id]
        completion = self.harness.make_completion(known.token or uuid4().hex, at=self.now, most=MAX_DEVICES)
        expected: type[VyryError] | None = None
        if known.token is not None and known.status is LinkStatus.COMPLETED:
            expected = AlreadyUsed
        elif known.token is None or not self._is_open(known):
            expected = InvalidToken
        elif known.scanned_by is not None and self.devices[known.scanned_by.user_id] >= MAX_DEVICES:
            expected = DeviceLimit
        self._step(self.harness.links.complete(completion), expected)
        if expected is None and known.scanned_by is not None:
            known.status = LinkStatus.COMPLETED
            self.devices[known.scanned_by.user_id] += 1

    @precondition(lambda self: self.callers["ann's tablet"].device not in self.ended)
    @rule()
    def end_tablet(self) -> None:
        tablet = self.callers["ann's tablet"]
        self.runner.run(self.harness.end_device(tablet))
        self.ended.add(tablet.device)
        self.devices[tablet.user_id] -= 1

    @invariant()
    def links_stand_as_they_must(self) -> None:
        found = (
            self.runner.run(self.harness.links.load_states(list(self.expected_links), self.now))
            if self.expected_links
            else {}
        )
        assert {link_id: state.status for link_id, state in found.items()} == {
            link_id: self._visible_status(known) for link_id, known in self.expected_links.items()
        }

    @invariant()
    def there_are_no_other_devices(self) -> None:
        for user_id, count in getattr(self, "devices", {}).items():
            assert len(self.runner.run(self.harness.device_ids(user_id))) == count <= MAX_DEVICES

    def _step(self, step: Awaitable[object], expected: type[VyryError] | None) -> None:
        assert self.runner.run(_refusal(step)) is expected

    def _expected_refusal(self, known: ExpectedLink, caller: Caller) -> type[VyryError] | None:
        is_foreign = known.scanned_by is not None and known.scanned_by.user_id != caller.user_id
        return NotFound if is_foreign or known.link.expires_at <= self.now else None

    def _is_unexpired(self, known: ExpectedLink) -> bool:
        return known.scanned_by is not None and known.scanned_by.device not in self.ended

    def _is_open(self, known: ExpectedLink) -> bool:
        is_in_time = known.link.expires_at > self.now
        return known.status is LinkStatus.APPROVED and is_in_time and self._is_unexpired(known)

    def _visible_status(self, known: ExpectedLink) -> LinkStatus:
        if known.status in (LinkStatus.REJECTED, LinkStatus.COMPLETED):
            return known.status
        if known.link.expires_at <= self.now:
            return LinkStatus.EXPIRED
        return known.status if known.scanned_by is None or self._is_unexpired(known) else LinkStatus.REJECTED


async def _refusal(step: Awaitable[object]) -> type[Exception] | None:
    try:
        await step
    except VyryError as refusal:
        return type(refusal)
    return None
