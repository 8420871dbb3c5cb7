"""`vyry sms`: what one-time codes cost, and what may still be spent."""

import json
from decimal import Decimal
from typing import Any, Final

from cyclopts import App

from vyry.cli.command_line import JsonFlag
from vyry.cli.operator import run_in_database
from vyry.clock import SystemClock
from vyry.kernel.time import format_moment
from vyry.operator.sms_status import CodeCounts, CodeStatus, load_code_status
from vyry.settings.settings import Role, Settings, load_settings


_MILLION: Final = 1_000_000

app = App(name="sms")


@app.command
def status(*, as_json: JsonFlag = False) -> int:
    """Show the limits on one-time codes, the codes of the last hour and day, and what may still be spent.

    The limits are the settings of this machine; the counts are those of all nodes. Exit code 1 when the daily cap lets no further code be sent.

    Args:
        as_json: Print one JSON object.
    """
    settings = load_settings(Role.TOOL)
    found = run_in_database(settings, lambda: load_code_status(SystemClock().now()))
    if as_json:
        print(json.dumps(_to_json(settings, found), indent=2))
    else:
        print(_format(settings, found))
    return int(_codes_left(settings, found) == 0)


def _to_json(settings: Settings, found: CodeStatus) -> dict[str, Any]:
    left = _left(settings, found)
    return {
        "sender": _sender(settings),
        "countries": sorted(settings.sms_countries),
        "price": _text(settings.sms_price),
        "prices": {country: _text(price) for country, price in sorted(settings.sms_prices.items())},
        "dailyCap": _text(settings.sms_daily_cap),
        "left": _text(left),
        "codesLeft": _codes_left(settings, found),
        "perPrefix": settings.sms_per_prefix,
        "lastHour": _counts_json(found.last_hour),
        "lastDay": _counts_json(found.last_day),
        "openCodes": found.open_codes,
        "pausedAreas": found.paused_areas,
        "pausedUntil": found.paused_until and found.paused_until.isoformat(),
    }


def _format(settings: Settings, found: CodeStatus) -> str:
    prices = ", ".join(f"{country} {price}" for country, price in sorted(settings.sms_prices.items()))
    lines = [
        ("sender", _sender(settings)),
        ("countries", ", ".join(sorted(settings.sms_countries)) or "all"),
        ("price of a code", _text(settings.sms_price) or "not set"),
        *([("other prices", prices)] if prices else []),
        ("last hour", _counts_text(found.last_hour)),
        ("last 24 hours", _counts_text(found.last_day)),
        ("daily cap", _cap_text(settings, found)),
        ("codes to enter", str(found.open_codes)),
        ("paused areas", _paused_text(found)),
    ]
    return "\n".join(f"{name:<18} {text}" for name, text in lines)


def _sender(settings: Settings) -> str:
    """The kind of the sender: the rest of the setting may name an account or an address."""
    return settings.sms.get_secret_value().partition(":")[0]


def _left(settings: Settings, found: CodeStatus) -> Decimal | None:
    """What may still be spent now; None without a cap."""
    if settings.sms_daily_cap is None:
        return None
    return max(Decimal(0), settings.sms_daily_cap - Decimal(found.last_day.cost) / _MILLION)


def _codes_left(settings: Settings, found: CodeStatus) -> int | None:
    """For how many codes at the general price that is enough; None for any number."""
    left = _left(settings, found)
    return None if left is None or not settings.sms_price else int(left // settings.sms_price)


def _cap_text(settings: Settings, found: CodeStatus) -> str:
    if settings.sms_daily_cap is None:
        return "none: set VYRY_SMS_DAILY_CAP and VYRY_SMS_PRICE"
    return f"{_text(settings.sms_daily_cap)}, {_text(_left(settings, found))} left, enough for {_codes_left(settings, found)} codes at the general price"


def _counts_text(counts: CodeCounts) -> str:
    return f"{counts.sent} sent to {counts.numbers} numbers, {counts.verified} verified, {counts.failed} not sent, cost {_text(Decimal(counts.cost) / _MILLION)}"


def _counts_json(counts: CodeCounts) -> dict[str, Any]:
    return {
        "sent": counts.sent,
        "verified": counts.verified,
        "failed": counts.failed,
        "numbers": counts.numbers,
        "cost": _text(Decimal(counts.cost) / _MILLION),
    }


def _paused_text(found: CodeStatus) -> str:
    if found.paused_until is None:
        return "none"
    return f"{found.paused_areas}, the first until {format_moment(found.paused_until)}: too few of their codes were verified"


def _text(amount: Decimal | None) -> str | None:
    """An amount without trailing zeros."""
    return None if amount is None else f"{amount.normalize():f}"
