"""A secret that is gone beside the database it belongs to is named, and no other is made in its place."""

import asyncio
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vyry.accounts.phone import FIRST_PEPPER, fingerprint
from vyry.cli.main import main
from vyry.cli.process import require_original_secrets
from vyry.errors import CommandError
from vyry.kernel.ids import new_id
from vyry.settings.settings import Role, Settings, SettingsError, load_settings
from vyry.storage.database import open_database
from vyry.storage.models import PushTargetRow
from vyry.storage.peppers import PepperEntry, add_first_pepper


def make_data_folder(folder: Path, *, pepper: bool) -> dict[str, str]:
    """A data folder with its secrets and a database, which a node has noted its pepper in or not."""
    environ = {"VYRY_DATA_DIR": str(folder)}
    load_settings(Role.START, environ)
    database = sqlite3.connect(folder / "vyry.db", isolation_level=None)
    database.execute("CREATE TABLE pepper (id INTEGER)")
    if pepper:
        database.execute("INSERT INTO pepper VALUES (1)")
    database.close()
    return environ


@pytest.mark.parametrize("name", ["pepper", "jwt-secret"])
def test_a_lost_secret_is_named_and_not_made_anew(tmp_path: Path, name: str) -> None:
    environ = make_data_folder(tmp_path, pepper=True)
    (tmp_path / name).unlink()

    with pytest.raises(SettingsError, match=f"{name}.*from a backup"):
        load_settings(Role.START, environ)

    assert not (tmp_path / name).exists()


def test_both_at_once_are_two_lines_and_a_given_secret_is_not_missed(tmp_path: Path) -> None:
    environ = make_data_folder(tmp_path, pepper=True)
    (tmp_path / "pepper").unlink()
    (tmp_path / "jwt-secret").unlink()

    with pytest.raises(SettingsError) as both:
        load_settings(Role.START, environ)
    with pytest.raises(SettingsError) as one:
        load_settings(Role.START, environ | {"JWT_SECRET": "6n1cQhV0lXy9a2mZ8rT4uBsKpWdEoGfJ"})

    assert (len(both.value.problems), len(one.value.problems)) == (2, 1)


def test_a_database_that_no_node_served_yet_gets_its_secrets(tmp_path: Path) -> None:
    environ = make_data_folder(tmp_path, pepper=False)
    (tmp_path / "pepper").unlink()

    load_settings(Role.START, environ)

    assert (tmp_path / "pepper").exists()


def test_what_is_no_database_is_left_for_the_start_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "vyry.db").write_bytes(b"no database at all")

    load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path)})

    assert (tmp_path / "pepper").exists()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose database notes its pepper."""
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    settings = load_settings(Role.START)
    assert main(["migrate"]) == 0
    asyncio.run(note_pepper(settings))
    asyncio.run(require_original_secrets(settings))
    return tmp_path


async def note_pepper(settings: Settings) -> None:
    used = PepperEntry(FIRST_PEPPER, fingerprint(settings.pepper.get_secret_value()), datetime.now(UTC))
    async with open_database(settings.database_url.get_secret_value()):
        await add_first_pepper(used)


def test_another_pepper_than_that_of_the_database_serves_nothing(installed: Path) -> None:
    (installed / "pepper").write_text("another pepper, of another installation")

    with pytest.raises(CommandError, match="is not the pepper"):
        asyncio.run(require_original_secrets(load_settings(Role.START)))


def test_after_a_rotation_the_keys_are_not_those_of_before_it(installed: Path) -> None:
    assert main(["rotate-keys"]) == 0
    asyncio.run(require_original_secrets(load_settings(Role.START)))
    (installed / "key-ring").unlink()

    with pytest.raises(CommandError, match="rotate-keys --now"):
        asyncio.run(require_original_secrets(load_settings(Role.START)))


async def subscribe(settings: Settings) -> None:
    async with open_database(settings.database_url.get_secret_value()):
        made = PushTargetRow(device=new_id(), kind="webpush", endpoint="https://push.example/1")
        await made.save(force_create=True)


def test_the_key_that_browsers_subscribed_under_is_named_and_not_made_anew(installed: Path) -> None:
    settings = load_settings(Role.START)
    asyncio.run(subscribe(settings))

    with pytest.raises(CommandError, match=r"vapid-key is missing.*from a backup.*vyry secrets"):
        asyncio.run(require_original_secrets(settings))

    assert not (installed / "vapid-key").exists()
    assert main(["secrets"]) == 0
    asyncio.run(require_original_secrets(settings))
