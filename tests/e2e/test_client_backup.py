"""Backups on a real node: lose everything but the file and the recovery key, and read everything again; kill the commands at any moment."""

import asyncio
import os
import random
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner
from tests.support.histories import add, message, shown
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import link_clients, next_texts, open_client, register
from vyry.cli.client.exit_codes import Exit
from vyry.client.api.client import Client, Profile
from vyry.client.history.reading import ArchiveReader
from vyry.client.history.sealing import read_recovery_key
from vyry.client.store.events import Message


pytestmark = pytest.mark.timeout(600)
COMMAND = (sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())")
#: Moments at which each command is killed.
KILLS = 20
MESSAGES = 4_000


@pytest.fixture
def runner(all_in_one: AllInOneProcess, tmp_path: Path) -> CliRunner:
    return CliRunner(all_in_one, tmp_path)


def texts(runner: CliRunner, profile: str, *who: str) -> list[str]:
    """What `vyry client history` shows."""
    found = runner.run_client_json(profile, "history", *who, "--limit", "10000")
    return [each.get("text", each["event"]) for each in found]


def backed_up(runner: CliRunner, profile: str, file: Path) -> str:
    """A backup; answers its recovery key."""
    objects = runner.run_client_json(profile, "backup", str(file))
    return str(objects[0]["recoveryKey"])


@dataclass(frozen=True, slots=True)
class Lost:
    """A profile that was lost after a backup: what it showed, and what is left of it."""

    number: str
    shown: list[str]
    group: str
    bo: str
    file: Path
    key_file: Path

    def restore(self, runner: CliRunner, profile: str) -> int:
        """Restore it into a profile; answers how many messages were added."""
        words = ("restore", str(self.file), "--key-file", str(self.key_file))
        return int(runner.run_client_json(profile, *words)[0]["added"])


@pytest.fixture
def lost(runner: CliRunner, tmp_path: Path) -> Lost:
    number, file, key_file = unused_number(), tmp_path / "ann.backup", tmp_path / "key"
    ann, bo = runner.sign_up("ann", number), runner.sign_up("bo")
    name = f"bo{bo[-6:]}"
    runner.run_client_json("bo", "profile", "--username", name)
    group = runner.run_client_json("ann", "groups", "create", "Alpine club", f"@{name}")[0]["conversationId"]
    for text in ("one", "two"):
        runner.run_client_json("ann", "send", f"@{name}", text)
    runner.run_client_json("bo", "receive")
    runner.run_client_json("bo", "send", ann, "three")
    runner.run_client_json("ann", "receive")
    # As a person types it.
    key_file.write_text(backed_up(runner, "ann", file).lower().replace("-", " "))
    found = Lost(number, texts(runner, "ann", f"@{name}"), group, f"@{name}", file, key_file)
    shutil.rmtree(tmp_path / ".vyry" / "ann")
    return found


def test_a_person_loses_everything_but_the_file_and_the_key(runner: CliRunner, lost: Lost) -> None:
    assert lost.shown == ["one", "two", "three"]
    runner.sign_up("again", lost.number)

    assert lost.restore(runner, "again") >= 3
    assert texts(runner, "again", lost.bo) == lost.shown
    titles = {each["conversationId"]: each["title"] for each in runner.run_client_json("again", "chats")}
    assert titles[lost.group] == "Alpine club"


def test_a_new_account_reads_what_the_old_one_had_and_writes_on(runner: CliRunner, lost: Lost) -> None:
    runner.sign_up("other")
    lost.restore(runner, "other")

    assert texts(runner, "other", lost.bo) == lost.shown
    [club] = [each for each in runner.run_client_json("other", "chats") if each["title"] == "Alpine club"]
    assert (club["conversationId"], club["isArchived"]) == (lost.group, True)
    runner.run_client_json("other", "send", lost.bo, "four")
    assert texts(runner, "other", lost.bo) == [*lost.shown, "four"]
    assert lost.restore(runner, "other") == 0


def test_a_backup_is_for_its_owner_and_shows_no_text(lost: Lost) -> None:
    content = lost.file.read_bytes()

    assert stat.S_IMODE(lost.file.stat().st_mode) == 0o600
    assert not [word for word in (b"three", b"Alpine", lost.bo.encode()) if word in content]


def test_a_bad_file_or_key_is_refused_before_anything_is_written(runner: CliRunner, tmp_path: Path) -> None:
    runner.sign_up("ann")
    file = tmp_path / "ann.backup"
    key = backed_up(runner, "ann", file)
    content = file.read_bytes()
    bad = {
        "cut": (content[:-10], "its end is missing"),
        "newer": (content[:8] + b"\2" + content[9:], "newer version"),
        "changed": (content[:-1] + bytes((content[-1] ^ 1,)), "damaged"),
        "other": (b"PK" + content, "no backup"),
        "empty": (b"", "no backup"),
    }
    for name, (wrong, words) in bad.items():
        (tmp_path / name).write_bytes(wrong)
        done = runner.run_client("ann", "restore", str(tmp_path / name), typed=f"{key}\n")
        assert (done.code, words in done.err) == (Exit.REFUSED, True), (name, done)
    wrong_key = key.replace(key[0], "A" if key[0] != "A" else "B", 1)
    done = runner.run_client("ann", "restore", str(file), typed=f"{wrong_key}\n")
    assert (done.code, "typing error" in done.err) == (Exit.REFUSED, True), done
    again = runner.run_client("ann", "backup", str(file))
    assert (again.code, "--overwrite" in again.err) == (Exit.FAILED, True), again
    assert file.read_bytes() == content
    assert "recoveryKey" not in runner.run_client_json("ann", "backup", str(file), "--overwrite")[0]


async def test_commands_that_are_killed_lose_and_double_nothing(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    file, key_file = tmp_path / "ann.backup", tmp_path / "key"
    (profiles := tmp_path / ".vyry").mkdir()
    async with open_client(all_in_one, profiles / "bo") as bo:
        async with open_client(all_in_one, profiles / "ann") as ann:
            await register(ann, all_in_one)
            chat = await ann.direct(await register(bo, all_in_one))
            await ann.send_text(chat, "hello")
            await ann.sent()
            key_file.write_text(ann.backup.recovery_key())
        before = await asyncio.to_thread(fill_profile, profiles / "ann", chat, bo.user_id)
        await asyncio.to_thread(kill_backups, all_in_one, file, key_file)
        async with (
            open_client(all_in_one, profiles / "ann") as ann,
            open_client(all_in_one, profiles / "new") as new,
        ):
            await link_clients(ann, new)
        command = Command(all_in_one, tmp_path, "restore", str(file), "--key-file", str(key_file), "--profile", "new")
        await kill_restores(command, bo, chat)
        async with open_client(all_in_one, profiles / "new") as new:
            await next_texts(new, KILLS)
    with Profile(profiles / "new", "").open_store() as store:
        found = shown(store, chat)
    assert found[: len(before)] == before
    assert message_texts(found[len(before) :]) == [f"live {number}" for number in range(KILLS)]


def message_texts(found: list[object]) -> list[str]:
    """The texts of the messages that a profile shows."""
    events = [each[0] for each in found if isinstance(each, tuple)]
    return [each.text for each in events if isinstance(each, Message)]


async def kill_restores(command: "Command", bo: Client, chat: UUID) -> None:
    """Live mail in the same conversation comes between two kills; the last restore ends."""
    for number in range(KILLS):
        await asyncio.to_thread(command.run, random.uniform(0.5, 4))
        await bo.send_text(chat, f"live {number}")
        await bo.sent()
    assert (await asyncio.to_thread(command.run, None)) == 0


def kill_backups(node: AllInOneProcess, file: Path, key_file: Path) -> None:
    """Every file that is there after a kill is whole, and none is left beside it."""
    command = Command(node, file.parent, "backup", str(file), "--overwrite", "--profile", "ann")
    assert command.run(None) == 0
    reader_key = read_recovery_key(key_file.read_text())
    counts = set()
    for _ in range(KILLS):
        command.run(random.uniform(0.5, 4))
        with file.open("rb") as opened:
            counts.add(ArchiveReader(opened, reader_key).verify().end.messages)
    assert command.run(None) == 0
    assert counts == {MESSAGES + 1}
    assert [each.name for each in file.parent.glob("*.part")] == []


def fill_profile(folder: Path, chat: UUID, bo: UUID) -> list[object]:
    """A long history; answers what the profile shows."""
    with Profile(folder, "").open_store() as store:
        with store.transaction():
            for number in range(MESSAGES):
                add(store, message(number, chat, bo))
        return shown(store, chat)


class Command:
    """A command of the client in a process of its own."""

    def __init__(self, node: AllInOneProcess, home: Path, *words: str) -> None:
        self.node = node
        self.home = home
        self.words = words

    def run(self, kill_after: float | None) -> int:
        """Its exit code; it is killed after so many seconds."""
        with subprocess.Popen(
            (*COMMAND, "client", *self.words, "--url", self.node.url),
            cwd=ROOT,
            env={**os.environ, "HOME": str(self.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return process.wait(kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()
