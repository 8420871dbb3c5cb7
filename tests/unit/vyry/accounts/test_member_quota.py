"""How many people a member may invite in 30 days, and how long the wait is."""

from datetime import timedelta

import pytest

from tests.support.fake_clock import NOON
from vyry.accounts.signup_invitations import InvitationTerms, MemberQuota, SignupInvitation, new_invitation
from vyry.errors import Forbidden, RateLimited
from vyry.limits import Quota, QuotaWindow


QUOTA = Quota("member_invites", (QuotaWindow(5, 30 * 86_400),))
RULES = MemberQuota(NOON, QUOTA)


def made(days_ago: int, uses: int, used: int = 0, *, is_revoked: bool = False) -> SignupInvitation:
    at = NOON - timedelta(days=days_ago)
    made = new_invitation(None, InvitationTerms(uses), at)
    return SignupInvitation(
        made.invitation_id, None, None, uses, used, at, made.expires_at, NOON if is_revoked else None
    )


def wait(recent: list[SignupInvitation], wanted: int) -> int:
    with pytest.raises(RateLimited) as refused:
        RULES.check(recent, wanted)
    return int(str(refused.value.members["retry_after_seconds"]))


def test_people_are_counted_and_not_invitations() -> None:
    RULES.check([made(1, 3)], 2)

    assert wait([made(1, 3)], 3) == 29 * 86_400
    assert RULES.remaining([made(1, 3)]).remaining == 2


def test_the_wait_ends_when_enough_of_the_older_ones_count_no_more() -> None:
    recent = [made(1, 1), made(20, 2), made(10, 2)]

    assert (wait(recent, 2), wait(recent, 3), wait(recent, 5)) == (10 * 86_400, 20 * 86_400, 29 * 86_400)


def test_what_a_revoked_invitation_left_unused_does_not_count() -> None:
    RULES.check([made(1, 5, used=1, is_revoked=True)], 4)

    assert wait([made(1, 5, used=1, is_revoked=True)], 5) == 29 * 86_400


def test_more_than_the_node_ever_allows_is_refused_without_a_wait() -> None:
    with pytest.raises(Forbidden):
        RULES.check([], 6)
    with pytest.raises(Forbidden):
        MemberQuota(NOON, Quota("member_invites", (QuotaWindow(0, 1),))).check([], 1)
