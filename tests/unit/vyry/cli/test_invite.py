"""`vyry invite`: the link, the list, the revocation, and the lines that they leave in the audit log."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vyry.cli.main import main


Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Path:
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    assert main(["secrets"]) == 0
    return tmp_path


@pytest.fixture
def said(capsys: Said) -> Callable[..., str]:
    """What a command prints."""
    capsys.readouterr()

    def run(*words: str, code: int = 0) -> str:
        assert main(words) == code
        return capsys.readouterr().out

    return run


def test_a_link_is_printed_once_with_its_qr_code_and_its_token_after_the_hash(said: Callable[..., str]) -> None:
    text = said("invite", "--url", "https://chat.example.org/", "--label", "for Ann", "--days", "3")

    link = next(line for line in text.splitlines() if line.startswith("https://"))
    token = link.removeprefix("https://chat.example.org/#invite=")
    assert (len(token), "▄" in text, "one person" in text) == (22, True, True)
    assert "open     used 0 of 1" in said("invite", "list")
    assert 'operator  "for Ann"' in said("invite", "list")
    assert token not in said("invite", "list", "--json")


def test_json_has_what_a_program_needs(said: Callable[..., str]) -> None:
    made = json.loads(said("invite", "--json", "--uses", "4"))

    assert set(made) == {"id", "token", "url", "uses", "expiresAt"}
    assert (made["url"], made["uses"]) == (f"http://localhost:8000/#invite={made['token']}", 4)
    stored = json.loads(said("invite", "list", "--json"))
    assert (stored["id"], stored["state"], stored["uses"], stored["used"]) == (made["id"], "open", 4, 0)


def test_each_change_leaves_a_line_with_operator_and_reason(said: Callable[..., str]) -> None:
    who = ["--operator", "olga", "--reason", "a new colleague"]
    made = json.loads(said("invite", "--json", *who))

    assert said("invite", "revoke", made["id"], *who) == f"{made['id']}: revoked\n"

    lines = [json.loads(line) for line in said("audit", "--json").splitlines()][-2:]
    assert [(line["act"], line["operator"], line["reason"]) for line in lines] == [
        ("invite", "olga", f"{made['id']}: a new colleague"),
        ("inviteRevoke", "olga", f"{made['id']}: a new colleague"),
    ]
    assert made["token"] not in said("audit", "--json")
    assert json.loads(said("invite", "list", "--json"))["state"] == "revoked"


def test_what_cannot_be_done_is_refused_with_what_to_do_and_changes_nothing(
    said: Callable[..., str], capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, code, hint in (
        (["--url", "chat.example.org"], 2, "https://chat.example.org"),
        (["--url", "https://chat.example.org/app"], 2, "without a path"),
        (["--uses", "0"], 2, "uses"),
        (["--days", "366"], 2, "days"),
        (["--label", "x" * 101], 2, "100 characters"),
        (["revoke", "0198c2d4-7a00-7000-8000-000000000000"], 1, "vyry invite list"),
    ):
        assert main(["invite", *words]) == code
        assert hint in capsys.readouterr().err
    monkeypatch.setenv("VYRY_SIGN_UP", "number")
    assert main(["invite"]) == 2
    assert "VYRY_SIGN_UP" in capsys.readouterr().err

    assert said("invite", "list") == "No invitations. `vyry invite` makes one.\n"
