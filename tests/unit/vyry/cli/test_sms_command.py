"""`vyry sms status` counts from the tables of the limits, and says what the cap leaves."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from vyry.cli.main import main
from vyry.clock import SystemClock
from vyry.storage.database import open_database
from vyry.storage.models import OtpBreakerRow, OtpSentRow


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", sqlite_url)


@pytest.fixture
def status(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, code: int = 0) -> str:
        assert main(["sms", "status", *words]) == code
        return capsys.readouterr().out

    return run


def sent(url: str, *codes: tuple[timedelta, bool, str, int]) -> None:
    """Codes so long ago: verified or not, of this area (none: not sent), and their cost."""

    async def store() -> None:
        async with open_database(url):
            now = SystemClock().now()
            for age, is_verified, area, cost in codes:
                facts = {"phone_hash": area or "n", "network": "", "prefix": area, "area": area}
                await OtpSentRow(at=now - age, **facts, cost=cost, is_verified=is_verified).save()

    asyncio.run(store())


def pause(url: str, until: datetime) -> None:
    async def store() -> None:
        async with open_database(url):
            await OtpBreakerRow(area="a", until=until).save(force_create=True)

    asyncio.run(store())


def test_codes_of_the_last_hour_and_day_are_counted_and_the_cap_says_what_is_left(
    sqlite_url: str, status: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PRICE": "0.05", "PRICES": "CH=0.08", "DAILY_CAP": "1", "COUNTRIES": "CH,DE"}.items():
        monkeypatch.setenv(f"VYRY_SMS_{name}", value)
    minutes, hours = timedelta(minutes=5), timedelta(hours=3)
    sent(sqlite_url, (minutes, True, "a", 50_000), (minutes, False, "", 0), (hours, False, "b", 80_000))
    sent(sqlite_url, (timedelta(days=2), True, "a", 50_000))

    found = json.loads(status("--json"))

    assert found["lastHour"] == {"sent": 1, "verified": 1, "failed": 1, "numbers": 2, "cost": "0.05"}
    assert found["lastDay"] == {"sent": 2, "verified": 1, "failed": 1, "numbers": 3, "cost": "0.13"}
    assert (found["dailyCap"], found["left"], found["codesLeft"]) == ("1", "0.87", 17)
    assert (found["countries"], found["prices"], found["price"]) == (["CH", "DE"], {"CH": "0.08"}, "0.05")
    assert "1, 0.87 left, enough for 17 codes at the general price" in status()


def test_a_spent_cap_is_exit_code_1(
    sqlite_url: str, status: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VYRY_SMS_PRICE", "0.05")
    monkeypatch.setenv("VYRY_SMS_DAILY_CAP", "0.1")
    sent(sqlite_url, (timedelta(minutes=1), False, "a", 100_000))

    assert "0 left, enough for 0 codes" in status(code=1)


def test_without_a_cap_and_codes_it_says_so(sqlite_url: str, status: Callable[..., str]) -> None:
    shown = status()
    assert "daily cap          none: set VYRY_SMS_DAILY_CAP" in shown
    assert "paused areas       none" in shown
    assert "sender             console" in shown

    pause(sqlite_url, SystemClock().now() + timedelta(minutes=9))

    assert "paused areas       1, the first until " in status()


def test_the_account_of_the_carrier_is_not_shown(
    status: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("a carrier secret\n")
    (tmp_path / "secret").chmod(0o600)
    monkeypatch.setenv("VYRY_SMS", "twilio:AC123@+15005550006")
    monkeypatch.setenv("VYRY_SMS_SECRET_FILE", str(tmp_path / "secret"))

    assert "AC123" not in status()
    assert json.loads(status("--json"))["sender"] == "twilio"
