"""`vyry mailbox` and `vyry push`: what they show, what they refuse, and what they leave in the log."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.account_harness import open_stores
from tests.support.fake_clock import NOON, FakeClock
from tests.support.mail_store_harness import MailStoreHarness, RowRegistry, make_message, open_store
from vyry.cli.main import main
from vyry.clock import SystemClock
from vyry.devices.push import PushKind, PushTarget
from vyry.kernel.ids import MailboxKey
from vyry.mail.deferred_notices import DeferredNotice
from vyry.mail.envelope import Lane
from vyry.mail.store import MailboxCaps
from vyry.storage.conversation_models import DeferredNoticeRow
from vyry.storage.database import transaction
from vyry.storage.deferred_notices import defer_notices
from vyry.storage.models import AccountRow, DeviceRow, MailboxRow, PushReportRow, PushWakeupRow
from vyry.storage.push import TortoisePushTargets


Said = pytest.CaptureFixture[str]
SURE = ["--yes", "--reason", "poisoned client", "--operator", "olga"]
Act = Callable[[MailStoreHarness, DeviceRow], Awaitable[None]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Path:
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    return tmp_path


@pytest.fixture
def said(capsys: Said) -> Callable[..., str]:
    """What a command prints, on standard output and as errors."""

    def run(*words: str, code: int = 0) -> str:
        assert main(words) == code
        found = capsys.readouterr()
        return found.err if code > 1 else found.out + found.err

    return run


@pytest.fixture
def ann(sqlite_url: str) -> Callable[..., dict[str, str]]:
    """Signs up ann, lets something happen in the mailbox of her device, and answers their ids."""

    async def prepare(act: Act) -> dict[str, str]:
        async with open_stores(sqlite_url) as stores:
            made = await stores.sign_up()
            await AccountRow.filter(id=made.user_id).update(username="ann")
            row = await DeviceRow.get(account_id=made.user_id)
            await DeviceRow.filter(id=row.id).update(registration_id=7)
            async with open_store(sqlite_url, clock := FakeClock(), MailboxCaps()) as store:
                await act(MailStoreHarness(sqlite_url, store, RowRegistry(), clock), row)
        return {"user": str(made.user_id), "mailbox": str(row.mailbox_id)}

    def run(act: Act = do_nothing) -> dict[str, str]:
        return asyncio.run(prepare(act))

    return run


async def do_nothing(_mail: MailStoreHarness, _row: DeviceRow) -> None:
    """The mailbox stays empty."""


def deposit(*texts: bytes, lane: Lane = Lane.MAIL) -> Act:
    async def act(mail: MailStoreHarness, row: DeviceRow) -> None:
        now = SystemClock().now()
        await mail.post(*(make_message(MailboxKey(row.mailbox), text=text, lane=lane, at=now) for text in texts))
        await mail.store.deposit([MailboxKey(row.mailbox)])

    return act


def test_an_empty_mailbox_says_that_nothing_waits(ann: Callable[..., dict[str, str]], said: Callable[..., str]) -> None:
    ids = ann()

    shown = said("mailbox", "explain", "@ann/1")
    found = json.loads(said("mailbox", "explain", ids["mailbox"], "--json", "--ids"))

    assert "Nothing waits: the device has acknowledged everything." in shown
    assert ids["user"] not in shown
    assert ids["mailbox"] not in shown
    assert (found["userId"], found["mailboxId"], found["deviceId"]) == (ids["user"], ids["mailbox"], 1)
    assert [each["code"] for each in found["reasons"]] == ["nothingWaits"]
    assert said("audit") == ""


def test_waiting_mail_is_counted_by_lane_and_its_stop_is_named(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    ann(deposit(b"one", b"three"))

    found = json.loads(said("mailbox", "explain", "@ann/1", "--json"))

    assert found["lanes"]["mail"] == {"entries": 2, "bytes": 8}
    assert (found["lastSeq"], found["acknowledgedSeq"], found["numbered"]["entries"]) == (2, 0, 2)
    assert [each["code"] for each in found["reasons"]] == ["socketUnknown"]
    assert found["userId"].startswith("~")
    assert found["socket"] == {"state": "notShared", "node": None, "hasAnswered": None, "details": None}


def test_mail_without_a_number_names_the_missing_worker(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    async def post_only(mail: MailStoreHarness, row: DeviceRow) -> None:
        await mail.post(make_message(MailboxKey(row.mailbox), at=NOON))

    ann(post_only)

    found = json.loads(said("mailbox", "explain", "@ann/1", "--json"))

    assert found["reasons"][0]["code"] == "waitingForDepositor"
    assert found["unnumbered"]["entries"] == 1


def test_dropped_entries_are_losses_and_stand_in_the_log(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    ids = ann(deposit(b"one", b"two", b"three"))

    assert said("mailbox", "drop", "@ann/1", "--seq", "2-3", *SURE) == "2 entries dropped.\n"
    again = said("mailbox", "drop", "@ann/1", "--seq", "3", *SURE)

    found = json.loads(said("mailbox", "explain", "@ann/1", "--json"))
    (line,) = [json.loads(line) for line in said("audit", "--json").splitlines()]
    assert again == "nothing to drop: only losses or acknowledged entries.\n"
    assert (found["losses"]["operator"]["entries"], found["lanes"]["mail"]["entries"]) == (2, 1)
    assert (line["act"], line["operator"], line["subject"]) == ("mailboxDrop", "olga", ids["user"])
    assert line["reason"] == "device 1, entries 2-3: poisoned client"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--seq", "4-9", *SURE], 3, "No entry between 4 and 9 waits: the mailbox has 1 to 3."),
        (["--seq", "3-2", *SURE], 2, "is no range of sequence numbers"),
        (["--seq", "0", *SURE], 2, "is no range of sequence numbers"),
        (["--seq", "1-2", "--yes"], 2, "reason"),
        (["--seq", "1-2", "--reason", "x"], 1, "Run again with --yes"),
    ],
)
def test_a_wrong_drop_changes_nothing(
    ann: Callable[..., dict[str, str]], said: Callable[..., str], words: list[str], code: int, text: str
) -> None:
    ann(deposit(b"one", b"two", b"three"))

    assert text in said("mailbox", "drop", "@ann/1", *words, code=code)

    assert json.loads(said("mailbox", "explain", "@ann/1", "--json"))["losses"] == {}
    assert said("audit") == ""


def test_notices_are_dropped_only_if_the_operator_says_so(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    ann(deposit(b"{}", lane=Lane.NOTICE))

    refused = said("mailbox", "drop", "@ann/1", "--seq", "1", *SURE, code=3)

    assert refused.startswith("vyry: The range has 1 notices of the node, which may warn the owner of an attack")
    assert said("mailbox", "drop", "@ann/1", "--seq", "1", "--notices", *SURE) == "1 entries dropped.\n"


def test_an_empty_mailbox_has_nothing_to_drop(ann: Callable[..., dict[str, str]], said: Callable[..., str]) -> None:
    ann()

    assert "The mailbox is empty" in said("mailbox", "drop", "@ann/1", "--seq", "1", *SURE, code=3)


@pytest.mark.parametrize("name", ["@nobody/1", "@ann/2", "0198c2d4-7a00-7000-8000-000000000000"])
def test_a_device_that_does_not_exist_is_one_line(
    ann: Callable[..., dict[str, str]], said: Callable[..., str], name: str
) -> None:
    ann()

    for command in (["mailbox", "explain"], ["push", "explain"], ["push", "test"]):
        assert said(*command, name, code=1).startswith("vyry: No such device. Check the account")
    assert "names no device: give ACCOUNT/NUMBER" in said("mailbox", "explain", "ann", code=2)


def test_what_waits_is_released(ann: Callable[..., dict[str, str]], said: Callable[..., str]) -> None:
    async def wait_for_capacity(mail: MailStoreHarness, row: DeviceRow) -> None:
        await TortoisePushTargets().save(row.id, PushTarget(PushKind.FCM, token="t"))
        await deposit(b"one")(mail, row)
        notice = DeferredNotice(make_message(MailboxKey(1)).message_id, MailboxKey(row.mailbox), {"name": "pinFailed"})
        async with transaction() as tx:
            await defer_notices(tx, [notice])
        await DeferredNoticeRow.all().update(try_at=None)
        await PushWakeupRow.all().update(due_at=None, rest_until=SystemClock().now())

    ann(wait_for_capacity)

    assert said("mailbox", "unpark", "@ann/1", *SURE) == "1 deferred notices and 1 wake-ups are due now.\n"
    assert said("mailbox", "unpark", "@ann/1", *SURE).startswith("0 deferred notices and ")
    assert json.loads(said("push", "explain", "@ann/1", "--json"))["dueAt"] is not None
    assert "mailboxUnpark" in said("audit")


def test_a_device_that_has_ended_has_nothing_to_explain(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    async def end(_: MailStoreHarness, row: DeviceRow) -> None:
        await DeviceRow.filter(id=row.id).update(ended_at=NOON)
        await MailboxRow.filter(id=row.mailbox).update(is_ended=True)

    ann(end)

    assert "The device has ended" in said("mailbox", "explain", "@ann/1")
    assert said("mailbox", "unpark", "@ann/1", *SURE, code=3).startswith("vyry: The device has ended")


def test_the_last_answer_of_a_push_service_is_shown(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    async def answer(_: MailStoreHarness, row: DeviceRow) -> None:
        await TortoisePushTargets().save(row.id, PushTarget(PushKind.FCM, token="a secret token"))
        report = PushReportRow(device=row.id, kind="fcm", result="later", status=503, at=NOON)
        await report.save(force_create=True)

    ann(answer)

    shown = said("push", "explain", "@ann/1")
    found = json.loads(said("push", "explain", "@ann/1", "--json"))
    assert "later (status 503)" in shown
    assert (found["kind"], found["report"]["result"], found["report"]["status"]) == ("fcm", "later", 503)
    assert "secret" not in shown
    assert said("push", "test", "@ann/1", code=1).startswith(
        "refused: the push service refuses it, or is not configured"
    )
    assert "pushTest" in said("audit")


def test_a_device_without_a_push_target_gets_no_test_push(
    ann: Callable[..., dict[str, str]], said: Callable[..., str]
) -> None:
    ann()

    assert said("push", "test", "@ann/1", code=3).startswith("vyry: The device has no push target")
