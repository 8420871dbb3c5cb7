"""The decisions of the linking service: how many links an address may open, and that only a caller who may see the link is asked for the PIN."""

from datetime import timedelta

import pytest

from tests.support.account_harness import SECRET, WEEK
from tests.support.directory_harness import make_upload, new_caller
from tests.support.fake_clock import NOON, FakeClock
from tests.support.link_harness import LinkHarness, make_approval, open_link_harness
from vyry.accounts.account import Caller, Platform
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.tokens import Tokens, hash_token
from vyry.devices.linking import Linking
from vyry.errors import InvalidKeys, InvalidToken, NotFound, RateLimited, Unavailable
from vyry.kernel.ids import UserId, new_id
from vyry.limits import KEYS, LINK_SESSIONS, QUOTAS, Grant, Quota
from vyry.local_limits import LocalLimiter


class FailingLimiter:
    """A limiter of one process, which can be down."""

    def __init__(self) -> None:
        self.local = LocalLimiter(QUOTAS)
        self.is_away = False

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        if self.is_away and quota.is_fail_closed:
            raise Unavailable
        return self.local.consume(quota, subject, cost)


class RecordingPinChecks:
    """A PinGuard that records its callers."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    async def require(self, caller: Caller, pin: str | None) -> None:
        self.callers.append(caller)


def linking(harness: LinkHarness, limiter: FailingLimiter, pins: RecordingPinChecks) -> Linking:
    clock = FakeClock()
    tokens = Tokens(KeyRing([SigningKey.first(SECRET)], clock), timedelta(hours=1), WEEK, clock)
    return Linking(harness.links, pins, limiter, tokens, 6)


async def test_an_address_opens_six_links_at_once_and_its_network_is_all_that_is_kept() -> None:
    async with open_link_harness(None) as harness:
        service = linking(harness, FailingLimiter(), RecordingPinChecks())

        opened = [await service.open(b"n" * 32, "x", Platform.WEB, "2001:db8:1:2::7") for _ in range(6)]
        with pytest.raises(RateLimited) as refusal:
            await service.open(b"n" * 32, "x", Platform.WEB, "2001:db8:1:2:ffff::1")
        other = await service.open(b"n" * 32, "x", Platform.WEB, "2001:db8:1:3::7")
        ann = await harness.add_owner()
        shown = await service.scan(ann, other.link_id, b"e" * 32)

    assert [each.grant.remaining for each in opened] == [5, 4, 3, 2, 1, 0]
    assert 100 <= int(str(refusal.value.members["retry_after_seconds"])) <= 120
    assert shown.requested_from == "2001:db8:1:3::/64"


async def test_no_link_is_opened_while_they_cannot_be_counted() -> None:
    async with open_link_harness(None) as harness:
        limiter = FailingLimiter()
        limiter.is_away = True

        with pytest.raises(Unavailable):
            await linking(harness, limiter, RecordingPinChecks()).open(b"n" * 32, "x", Platform.WEB, "192.0.2.7")

    assert LINK_SESSIONS.is_fail_closed


async def test_a_pin_is_asked_only_of_who_may_see_the_link() -> None:
    async with open_link_harness(None) as harness:
        pins = RecordingPinChecks()
        service = linking(harness, FailingLimiter(), pins)
        ann, eve = await harness.add_owner(), new_caller(UserId(new_id()), 1, 99)
        link_id = await harness.scanned_link(ann)

        for caller, which in ((eve, link_id), (ann, new_id())):
            with pytest.raises(NotFound):
                await service.approve(caller, which, b"sealed", "739518")
        await service.approve(ann, link_id, b"sealed", "739518")

    assert pins.callers == [ann]


async def test_completing_a_link_counts_as_an_upload_of_keys() -> None:
    async with open_link_harness(None) as harness:
        limiter = FailingLimiter()
        service, ann = linking(harness, limiter, RecordingPinChecks()), await harness.add_owner()
        link_id = await harness.scanned_link(ann)
        await harness.links.approve(make_approval(link_id, ann))
        await harness.links.claim_provisioning(link_id, hash_token("token"), NOON)

        for _ in range(20):
            with pytest.raises(InvalidKeys):
                await service.complete("token", make_upload())
        with pytest.raises(RateLimited):
            await service.complete("token", make_upload())
        with pytest.raises(InvalidToken):
            await service.complete("another", make_upload())

        assert limiter.local.peek(KEYS, str(ann.user_id))[0].remaining == 0
