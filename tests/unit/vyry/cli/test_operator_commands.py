"""The commands of operators: what they say, what they ask, what they leave in the log."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.account_harness import open_stores
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.cli.main import main
from vyry.operator.secret_files import write_peppers
from vyry.storage.models import AccountRow


NUMBER = "+41791234567"
Said = pytest.CaptureFixture[str]
SURE = ["--yes", "--reason", "spam", "--operator", "olga"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Path:
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    assert main(["secrets"]) == 0
    return tmp_path


@pytest.fixture
def user(folder: Path, sqlite_url: str, capsys: Said) -> str:
    """The id of an account with that number."""
    pepper = Pepper((folder / "pepper").read_bytes())

    async def sign_up() -> str:
        hidden = pepper.hide(PhoneNumber(NUMBER))
        async with open_stores(sqlite_url) as stores:
            made = await stores.sign_up()
            named = {"phone_hash": hidden.hash, "phone_sealed": hidden.sealed, "username": "ann"}
            await AccountRow.filter(id=made.user_id).update(**named)
        return str(made.user_id)

    user_id = asyncio.run(sign_up())
    capsys.readouterr()
    return user_id


@pytest.fixture
def said(capsys: Said) -> Callable[..., str]:
    """What a command prints."""

    def run(*words: str, code: int = 0) -> str:
        assert main(words) == code
        return capsys.readouterr().out

    return run


def test_an_account_is_found_by_number_name_and_id_and_its_number_is_masked(
    user: str, said: Callable[..., str]
) -> None:
    for named in (NUMBER, "Ann", user):
        shown = json.loads(said("user", "show", named, "--json"))
        assert (shown["user_id"], shown["username"], shown["devices"][0]["device_id"]) == (user, "ann", 1)
        assert shown["phone_number"] == "+41•••••••67"
    assert NUMBER not in said("user", "show", user)
    assert NUMBER not in said("user", "list")


def test_a_number_is_shown_in_full_for_a_reason_only_and_the_owner_learns_it(
    user: str, said: Callable[..., str], capsys: Said
) -> None:
    assert main(["user", "show", user, "--number"]) == 1
    assert NUMBER not in capsys.readouterr().out

    assert NUMBER in said("user", "show", user, "--number", "--reason", "court order")

    lines = [json.loads(line) for line in said("audit", "--json").splitlines()]
    assert [(each["act"], each["reason"]) for each in lines[-2:]] == [
        ("userShow", "court order"),
        ("userShowNumber", "court order"),
    ]


def test_nothing_is_done_without_a_reason_or_a_yes(user: str, said: Callable[..., str]) -> None:
    for command in ("suspend", "resume", "end-devices", "delete"):
        said("user", command, user, code=2)
        assert "--yes" in said("user", command, user, "--reason", "spam", code=1)
    assert said("audit") == ""


def test_every_act_stands_in_the_log_with_who_and_why(user: str, said: Callable[..., str]) -> None:
    for command in ("suspend", "resume", "end-devices", "delete"):
        assert json.loads(said("user", command, user, *SURE, "--json"))["userId"] == user

    lines = [json.loads(line) for line in said("audit", "--json").splitlines()]
    acts = ["userSuspend", "userResume", "userEndDevices", "userDelete"]
    assert [each["act"] for each in lines] == acts
    assert {(each["operator"], each["reason"], each["subject"]) for each in lines} == {("olga", "spam", user)}
    said("user", "show", user, code=1)


def test_who_does_not_exist_is_one_line(capsys: Said) -> None:
    for named in ("+41791111111", "nobody", "0198c2d4-7a00-7000-8000-000000000000"):
        assert main(["user", "show", named]) == 1
        assert capsys.readouterr().err == "vyry: No account found. Check the user id, username or phone number.\n"


def test_without_the_pepper_no_number_is_looked_up(folder: Path, user: str, said: Callable[..., str]) -> None:
    (folder / "pepper").unlink()

    said("user", "show", NUMBER, code=1)
    assert json.loads(said("user", "show", user, "--json"))["phone_number"] is None


def test_migrating_and_undoing_it_are_logged(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite://{tmp_path / 'fresh.db'}")

    said("migrate", "--reason", "a new node", "--operator", "olga")
    said("migrate")

    (line,) = [json.loads(line) for line in said("audit", "--json").splitlines()]
    assert (line["operator"], line["act"], line["subject"]) == ("olga", "migrate", None)
    assert line["reason"].endswith(": a new node")


def test_a_number_is_found_under_any_pepper_of_the_ring(folder: Path, user: str, said: Callable[..., str]) -> None:
    old = (folder / "pepper").read_bytes()
    write_peppers(folder / "pepper", {1: old, 2: b"another pepper of the tests, 32 bytes"})

    assert json.loads(said("user", "show", NUMBER, "--json"))["user_id"] == user


@pytest.fixture
def sharing(folder: Path, sqlite_url: str, user: str) -> Callable[[str, str], str]:
    """Makes another account, whose number was stored in this form by an older release; answers its id."""
    pepper = Pepper((folder / "pepper").read_bytes())

    async def sign_up(stored: str, phone_hash: str) -> str:
        hidden = pepper.hide(PhoneNumber(stored))
        async with open_stores(sqlite_url) as stores:
            made = await stores.sign_up(phone_hash, refresh=phone_hash[:8])
            await AccountRow.filter(id=made.user_id).update(phone_hash=hidden.hash, phone_sealed=hidden.sealed)
        return str(made.user_id)

    return lambda stored, phone_hash: asyncio.run(sign_up(stored, phone_hash))


def test_check_names_the_accounts_that_share_a_number(
    user: str, sharing: Callable[[str, str], str], said: Callable[..., str]
) -> None:
    assert "Every phone number is stored once, in canonical form." in said("check")

    double = sharing("+410791234567", "b" * 64)
    twins = sharing("+4901512345002", "c" * 64), sharing("+49001512345002", "d" * 64)

    findings = {each["line"] for each in json.loads(said("check", "--json"))["findings"] if each["about"] == "numbers"}
    assert any(line.startswith(f"One number has two accounts: {user} and {double}. Compare") for line in findings)
    assert any(line.startswith("1 phone numbers are stored in an old form") for line in findings), twins
    assert any(line.startswith("1 phone numbers cannot be decrypted or are not valid") for line in findings)


def test_a_number_in_an_old_form_is_stored_anew_and_one_that_two_accounts_share_is_not(
    user: str, sharing: Callable[[str, str], str], said: Callable[..., str]
) -> None:
    alone, double = sharing("+4901512345002", "b" * 64), sharing("+410791234567", "c" * 64)

    assert said("user", "canonical-numbers", "--reason", "upgrade").startswith(
        "1 numbers converted to canonical form; 1 numbers"
    )

    assert json.loads(said("user", "show", "+49 151 2345002", "--json"))["user_id"] == alone
    assert json.loads(said("user", "show", NUMBER, "--json"))["user_id"] == user != double
    assert "userCanonicalNumbers" in said("audit")


def test_what_people_call_themselves_makes_no_lines_for_operators(
    user: str, sqlite_url: str, said: Callable[..., str]
) -> None:
    async def rename() -> None:
        async with open_stores(sqlite_url):
            await AccountRow.filter(id=user).update(display_name="x\nsuspended at  -\x1b[2K\u202e")

    asyncio.run(rename())
    said("user", "suspend", user, "--yes", "--reason", "spam\n2026-01-01  olga  userDelete", "--operator", "olga")

    shown, log = said("user", "show", user), said("audit")

    assert "display name           x suspended at -" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    assert [line.split()[3] for line in log.splitlines()] == ["userSuspend", "userShow"]
