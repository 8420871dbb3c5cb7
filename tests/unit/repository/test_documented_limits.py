"""The table of limits in docs/protocol.md says what vyry/limits.py does."""

import re

from tests.support.paths import ROOT
from vyry.limits import MEMBER_INVITES, OTP_GUESSES, PIN_TRIES, QUOTAS, RECOVERY_TRIES, USERNAMES, Quota


PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
#: | `name` | counted for | windows | without Redis | remarks |
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| (database|closed|node) \| ([^|]+) \|$", re.MULTILINE)
DAY, MIB = 86_400, 1 << 20
#: As agreed with clients: to change one of these is to change the protocol.
CONTRACT = {
    "otp_number": [(1, 30), (3, 600), (10, DAY)],
    "otp_total": [(12, 600), (30, DAY)],
    "otp_network": [(10, 600), (50, DAY)],
    "otp_guesses": [(5, 180)],
    "pin_tries": [(10, DAY)],
    "pin_checks": [(60, 1200)],
    "recovery_tries": [(5, 3600)],
    "recovery_network": [(100, 3600)],
    "join": [(300, 3600)],
    "member_invites": [(0, 30 * DAY)],
    "keys": [(20, 3600)],
    "requests": [(6000, 600)],
    "device_requests": [(1200, 60)],
    "claim_target": [(6, 3600)],
    "claim_all": [(60, 3600)],
    "claim_others": [(50, 3600)],
    "claim_strangers": [(40, 3600)],
    "link_sessions": [(6, 720)],
    "post": [(60, 60)],
    "post_bytes": [(128 * MIB, DAY)],
    "new_contacts": [(20, DAY)],
    "groups": [(50, DAY)],
    "group_members": [(2_000, DAY)],
    "conversation_changes": [(120, 1200)],
    "lookup": [(1000, 4000), (5000, DAY)],
    "search": [(60, 60)],
    "usernames": [(3, 0)],
    "upload": [(50, 60)],
    "upload_bytes": [(1024 * MIB, DAY)],
    "export": [(5, 3600)],
    "call": [(60, 600)],
    "signal": [(20, 1)],
    "frames": [(500, 5)],
    "sockets_account": [(6, 0)],
    "sockets_address": [(50, 0)],
}


def section() -> str:
    return PROTOCOL.partition("\n## Limits\n")[2].partition("\n## ")[0]


def windows(quota: Quota) -> str:
    return ", ".join(f"{each.limit}/{each.seconds}{' bucket' if each.is_bucket else ''}" for each in quota.windows)


def test_every_limit_stands_in_the_table_with_its_windows() -> None:
    documented = [(name, said) for name, said, _, _ in ROW.findall(section())]

    assert documented == [(quota.name, windows(quota)) for quota in QUOTAS.values()]


def test_the_table_says_what_is_closed_without_redis_and_what_is_always_on() -> None:
    rows = ROW.findall(section())

    closed = {name for name, _, away, _ in rows if away == "closed"}
    always = {name for name, _, _, remark in rows if "lways on" in remark}

    assert closed == {quota.name for quota in QUOTAS.values() if quota.is_fail_closed}
    assert always == {each.name for each in (OTP_GUESSES, PIN_TRIES, RECOVERY_TRIES, MEMBER_INVITES, USERNAMES)}


def test_the_limits_are_those_of_the_contract() -> None:
    rates = {name: [(each.limit, each.seconds) for each in quota.windows] for name, quota in QUOTAS.items()}

    assert rates == CONTRACT
