"""`vyry announce`: what it refuses, what it counts, and what it says while no worker runs."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.account_harness import open_stores
from vyry.cli import announce as module
from vyry.cli.main import main
from vyry.storage.conversation_models import AnnouncementRow, DeferredNoticeRow
from vyry.storage.database import open_database


SURE = ["--yes", "--reason", "maintenance", "--operator", "olga"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setattr(module, "_STALLED_SECONDS", 0.3)


@pytest.fixture(autouse=True)
def devices(sqlite_url: str, folder: None) -> None:
    """Three accounts with a device each."""

    async def sign_up() -> None:
        async with open_stores(sqlite_url) as stores:
            for number in range(3):
                await stores.sign_up(str(number) * 64, refresh=f"r{number}")

    asyncio.run(sign_up())


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, code: int = 0) -> str:
        assert main(["announce", *words]) == code
        found = capsys.readouterr()
        return found.out + found.err

    return run


def stored(url: str) -> tuple[int, int]:
    """How many announcements and notices there are."""

    async def count() -> tuple[int, int]:
        async with open_database(url):
            return await AnnouncementRow.all().count(), await DeferredNoticeRow.all().count()

    return asyncio.run(count())


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "Give a text, or --resume, or --end."),
        (["hello", "--resume"], 2, "Give a text, or --resume, or --end."),
        (["hello", "--per-second", "0"], 2, "--per-second must be 1 to 1,000."),
        (["x" * 1001, *SURE], 2, "The text cannot be announced"),
        (["hello", "--language", "german please", *SURE], 2, "is no language tag"),
        (["--resume"], 3, "No announcement is unfinished."),
        (["--end", *SURE], 3, "No announcement is unfinished."),
        (["hello"], 1, "This would send this text to 3 mailboxes: 'hello'. Run again with --yes to confirm."),
        (["hello", "--dry-run"], 0, "3 mailboxes would get this text (5 characters). Nothing was changed."),
    ],
)
def test_what_announces_nothing_changes_nothing(
    said: Callable[..., str], sqlite_url: str, words: list[str], code: int, text: str
) -> None:
    assert text in said(*words, code=code)
    assert stored(sqlite_url) == (0, 0)


def test_without_a_worker_it_says_so_and_is_continued_or_ended(
    said: Callable[..., str], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stalled = said("hello", "--per-second", "1", *SURE, code=1)
    again = said("hello", *SURE, code=3)
    ended = said("--end", *SURE)

    assert "1 of 3 mailboxes" in stalled
    assert "No worker has posted a notice" in stalled
    assert "then run `vyry announce --resume`. Nothing is lost." in stalled
    assert "Another announcement is unfinished" in again
    assert ended == "Ended: 1 of 3 mailboxes get it.\n"
    assert stored(sqlite_url) == (1, 1)
    assert main(["audit", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["act"] for each in lines] == ["announce", "announceEnd"]
    assert lines[0]["reason"] == "3 mailboxes, 5 characters: maintenance"


def test_all_handed_over_and_no_worker_is_no_reason_to_resume(said: Callable[..., str], sqlite_url: str) -> None:
    stalled = said("hello", "--per-second", "100", *SURE, code=1)

    assert stalled.endswith("s: start `vyry worker`. Nothing is lost.\n")
    assert "No announcement is unfinished." in said("--resume", code=3)
    assert stored(sqlite_url) == (1, 3)
