"""The history on a new device from the terminal: `approve --history`, `devices history` and `--drop`; given names travel with it and with a backup."""

import asyncio
import io
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.e2e.test_history_transfer import converse, history_of, link_with
from tests.e2e.test_history_transfer_kills import fill
from tests.support.cli_runner import CliRunner, refused
from tests.support.sdk_clients import open_client
from vyry.cli.client.exit_codes import Exit
from vyry.client.api.client import Client
from vyry.client.history.export import HistoryExport
from vyry.client.history.importing import HistoryImport
from vyry.client.history.reading import ArchiveReader
from vyry.client.store.history_transfer import HistoryTransfers
from vyry.kernel.time import now_milliseconds


pytestmark = pytest.mark.timeout(120)
KEY = bytes(range(32))
GIVEN = "Bo Lee"


@pytest.fixture
def runner(all_in_one: AllInOneProcess, tmp_path: Path) -> CliRunner:
    return CliRunner(all_in_one, tmp_path)


def start(runner: CliRunner, *words: str) -> "subprocess.Popen[str]":
    """A command in a process of its own."""
    environment = {"HOME": str(runner.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command, pipe = (sys.executable, "-m", "vyry.cli.main", "client", *words, "--json"), subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def with_a_contact(runner: CliRunner) -> str:
    """Ann with three messages to an account that she gave a name; answers the user id of that account."""
    runner.sign_up("ann")
    bo = runner.sign_up("bo")
    link = runner.run_client_json("bo", "contact")[0]["link"]
    runner.run_client_json("ann", "add", link, "--name", GIVEN)
    for text in ("one", "two", "three"):
        runner.run_client_json("ann", "send", GIVEN, text)
    return bo


def texts(runner: CliRunner, profile: str) -> list[str]:
    return [each["text"] for each in runner.run_client_json(profile, "history", GIVEN) if "text" in each]


def test_approve_with_history_gives_a_new_device_messages_and_given_names(runner: CliRunner) -> None:
    bo = with_a_contact(runner)
    with start(runner, "link", "--profile", "laptop", "--url", runner.node.url) as laptop:
        assert laptop.stdout is not None
        uri = json.loads(laptop.stdout.readline())["uri"]
        with start(runner, "approve", uri, "--history", "all", "--profile", "ann") as approver:
            code = json.loads(laptop.stdout.readline())["code"]
            said, _ = approver.communicate(f"{code}\n", timeout=60)
        last = json.loads(laptop.communicate(timeout=60)[0].splitlines()[-1])

    assert (approver.returncode, laptop.returncode) == (Exit.DONE, Exit.DONE)
    assert json.loads(said.splitlines()[-1]) == last == {"historyTransferred": True}
    assert texts(runner, "laptop") == texts(runner, "ann") == ["one", "two", "three"]
    assert runner.run_client_json("laptop", "whois", GIVEN)[0]["userId"] == bo


def test_a_range_of_the_history_that_is_no_number_of_days_is_refused_before_anything_is_asked(
    runner: CliRunner,
) -> None:
    runner.sign_up("ann")
    for given in ("some", "0", "36501"):
        refused(runner.run_client("ann", "approve", "-", "--history", given), Exit.WRONG_LINE, "a number of days")


def test_a_given_name_travels_in_a_backup(runner: CliRunner, tmp_path: Path) -> None:
    bo = with_a_contact(runner)
    file, key_file = tmp_path / "ann.backup", tmp_path / "key"
    key_file.write_text(runner.run_client_json("ann", "backup", str(file))[0]["recoveryKey"])
    runner.sign_up("new")

    runner.run_client_json("new", "restore", str(file), "--key-file", str(key_file))

    assert runner.run_client_json("new", "whois", GIVEN)[0]["userId"] == bo
    assert texts(runner, "new") == ["one", "two", "three"]


async def linked(node: AllInOneProcess, folder: Path) -> UUID:
    """Ann and a laptop that awaits her history, both closed; answers their conversation."""
    async with (
        open_client(node, folder / "ann") as ann,
        open_client(node, folder / "laptop") as laptop,
        open_client(node, folder / "bo") as bo,
    ):
        chat = await converse(node, ann, bo)
        await asyncio.to_thread(fill, ann._store, chat, ann.user_id, bo.user_id)
        await link_with(ann, laptop, "all")
        import_a_part(ann, laptop)
    return chat


def import_a_part(ann: Client, laptop: Client) -> None:
    """Two steps of an import: the state of a device that was killed."""
    archive = io.BytesIO(b"".join(HistoryExport(ann._store, KEY, now_milliseconds()).sealed()))
    reader = ArchiveReader(archive, KEY)
    list(islice(HistoryImport(laptop._store, reader, reader.verify()).steps(now_milliseconds()), 2))


async def test_a_half_imported_history_is_dropped_whole_and_no_longer_awaited(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    chat = await linked(all_in_one, tmp_path)
    async with open_client(all_in_one, tmp_path / "laptop") as laptop:
        before = len(history_of(laptop, chat))
        removed = await laptop.history.drop()

        assert removed == before > 0
        assert history_of(laptop, chat) == []
        assert not laptop.history.is_pending
        assert HistoryTransfers(laptop._store).awaited(now_milliseconds()) is None
        assert await laptop.history.drop() == 0
