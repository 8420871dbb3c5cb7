"""The command `vyry`: what it says, and the exit code it leaves."""

import json
import os
from pathlib import Path

import pytest

from vyry import __version__
from vyry.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


Said = pytest.CaptureFixture[str]


def test_the_version_is_the_packages(capsys: Said) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_help_names_every_command(capsys: Said) -> None:
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    assert all(
        name in text
        for name in (
            "start",
            "web",
            "worker",
            "migrate",
            "rollback",
            "check",
            "secrets",
            "rotate-keys",
            "rotate-pepper",
            "openapi",
            "asyncapi",
        )
    )


@pytest.mark.parametrize("words", [["user", "show"], ["restored"], ["client", "send"]], ids=" ".join)
def test_help_shows_no_default_that_means_nothing(capsys: Said, words: list[str]) -> None:
    assert main([*words, "--help"]) == 0

    text = capsys.readouterr().out
    assert "--" in text
    assert '[default: ""]' not in text
    assert "[default: False]" not in text


@pytest.mark.parametrize(
    "words", [["strat"], ["migrate", "--frob"], ["web", "--processes", "0"], ["web", "--processes", "two"]]
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(capsys: Said, words: list[str]) -> None:
    assert main(words) == 2

    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "vyry --help" in said.err


def test_wrong_settings_are_a_line_each_and_exit_code_2(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VYRY_FROBNICATE", "1")

    assert main(["migrate"]) == 2
    assert capsys.readouterr().err.startswith("vyry: VYRY_FROBNICATE is no setting of Vyry")


def test_a_database_that_is_away_is_one_line_without_its_password(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://vyry:hunter2@127.0.0.1:1/vyry")

    assert main(["migrate"]) == 1

    said = capsys.readouterr()
    assert "DATABASE_URL" in said.err
    assert "hunter2" not in said.out + said.err


def test_migrate_then_rollback_ask_before_they_lose_anything(capsys: Said, folder: Path) -> None:
    assert main(["migrate"]) == 0
    assert main(["rollback"]) == 1
    assert "--yes" in capsys.readouterr().out

    assert main(["rollback", "--yes"]) == 0
    assert "undone" in capsys.readouterr().out
    assert (folder / "vyry.db").stat().st_mode & 0o077 == 0


def test_secrets_are_made_once(capsys: Said, folder: Path) -> None:
    assert main(["secrets"]) == 0
    pepper = (folder / "pepper").read_text()

    assert main(["secrets"]) == 0
    assert "All secret files exist" in capsys.readouterr().out
    assert (folder / "pepper").read_text() == pepper


@pytest.mark.parametrize(("command", "key"), [("openapi", "openapi"), ("asyncapi", "asyncapi")])
def test_documents_are_json(capsys: Said, command: str, key: str) -> None:
    assert main([command]) == 0
    assert json.loads(capsys.readouterr().out)[key].startswith("3.")


def test_check_finds_nothing_wrong_with_a_machine_that_vyry_start_could_use(capsys: Said) -> None:
    assert main(["check", "--json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert {each["about"] for each in answer["findings"]} == {
        "settings",
        "data folder",
        "disk",
        "open files",
        "database",
        "migrations",
    }


def test_check_tells_each_service_that_is_away_and_what_to_do(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["secrets"])
    monkeypatch.setenv("VYRY_ENV", "development")
    monkeypatch.setenv("DATABASE_URL", "postgres://vyry:hunter2@127.0.0.1:1/vyry")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("KAFKA_URL", "kafka://127.0.0.1:1")
    capsys.readouterr()

    assert main(["check"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines if line.startswith("FAIL")} == {"database", "redis", "kafka"}
    assert all("correct" in line for line in lines if line.startswith("FAIL"))
    assert "hunter2" not in "".join(lines)


def test_check_tells_of_secrets_and_folders_that_others_can_read(capsys: Said, folder: Path) -> None:
    main(["secrets"])
    (folder / "pepper").chmod(0o644)
    folder.chmod(0o755)

    assert main(["check"]) == 1

    said = capsys.readouterr().out
    assert "chmod 600" in said
    assert "chmod 700" in said
