"""`vyry backup` and `vyry restore` on both databases, with attachments on a disk and in S3: what the operator reads, and what is there afterwards."""

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from scripts.s3_service import S3
from tests.support.databases import database_url, temporary_database
from tests.support.operator_node import OperatorNode
from vyry.accounts.events import OperatorAction
from vyry.attachments.attachment import AttachmentId, Part, PartStore
from vyry.clock import SystemClock
from vyry.composition.shared import build_part_store
from vyry.kernel.ids import new_id
from vyry.operator.audit import last_action_at, read_acts, record_action
from vyry.settings.settings import Role, load_settings
from vyry.storage.conversation_models import AttachmentRow
from vyry.storage.database import open_database, transaction


PARTS = {"1-1": b"first part" * 1000, "1-2": b"second part" * 50_000}


@pytest.fixture(params=["sqlite", "postgres"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> OperatorNode:
    """A node with secrets and an empty, migrated database."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    url = str(request.getfixturevalue(f"{request.param}_url"))
    if request.param == "sqlite":
        shutil.move(url.removeprefix("sqlite://"), data_dir / "vyry.db")
        url = f"sqlite://{data_dir / 'vyry.db'}"
    made = OperatorNode(url, data_dir, {})
    assert made.run("secrets").code == 0
    return made


@pytest.fixture
def other_node(node: OperatorNode, tmp_path: Path) -> Iterator[OperatorNode]:
    """Another machine with nothing on it yet."""
    data_dir = tmp_path / "other"
    if node.url.startswith("sqlite"):
        yield OperatorNode(f"sqlite://{data_dir / 'vyry.db'}", data_dir, {})
        return
    with temporary_database("other") as name:
        yield OperatorNode(database_url(name), data_dir, {})


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The file of a private key, and its public key."""
    folder = tmp_path_factory.mktemp("keys")
    done = OperatorNode("sqlite:///nowhere", folder, {}).run("backup", "keygen", folder / "key")
    assert done.code == 0
    return folder / "key", done.out.strip()


def part_store(node: OperatorNode) -> PartStore:
    return build_part_store(
        load_settings(Role.TOOL, {"VYRY_DATA_DIR": str(node.data_dir), "VYRY_ENV": "development", **node.variables})
    )


async def add_attachment(node: OperatorNode) -> AttachmentId:
    """An attachment with two parts."""
    attachment_id, now, store = AttachmentId(new_id()), SystemClock().now(), part_store(node)
    for name, content in PARTS.items():
        await store.put(attachment_id, name, content)
    parts = " ".join(f"{name}:{len(content)}" for name, content in PARTS.items())
    async with open_database(node.url):
        row = AttachmentRow(id=attachment_id, length=1, created_at=now, completed_at=now, expires_at=now, parts=parts)
        await row.save(force_create=True)
    return attachment_id


async def read_attachment(node: OperatorNode, attachment_id: AttachmentId) -> dict[str, bytes]:
    store = part_store(node)
    parts = [Part(name, len(content)) for name, content in PARTS.items()]
    return {part.name: await store.read(attachment_id, part.name, 0, part.length) for part in parts}


async def note(node: OperatorNode, word: str) -> None:
    """Something in the database by which its state is known."""
    async with open_database(node.url), transaction() as tx:
        await record_action(tx, OperatorAction(SystemClock().now(), "olga", word, "a reason"))


async def notes(node: OperatorNode) -> list[str]:
    async with open_database(node.url):
        return [act.action async for act in read_acts(None)]


def test_a_backup_brings_a_node_to_another_machine_with_attachments_and_secrets(
    node: OperatorNode, other_node: OperatorNode, keys: tuple[Path, str], tmp_path: Path
) -> None:
    asyncio.run(note(node, "before"))
    attachment = asyncio.run(add_attachment(node))

    made = node.run_json("backup", tmp_path / "one", "--public-key", keys[1], "--with-secrets")
    done = other_node.run_json("restore", tmp_path / "one", "--key-file", keys[0], "--with-secrets", "--yes")

    assert (made["attachmentParts"], made["missingParts"], done["kept"]) == (2, 0, [])
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert asyncio.run(notes(other_node)) == ["before", "restore"]
    assert asyncio.run(read_attachment(other_node, attachment)) == PARTS
    for name in ("pepper", "jwt-secret", "vapid-key"):
        assert (other_node.data_dir / name).read_bytes() == (node.data_dir / name).read_bytes()
        assert stat.S_IMODE((other_node.data_dir / name).stat().st_mode) == 0o600
    assert other_node.run("check").code == 0


def test_secrets_are_in_a_backup_only_when_asked_for(
    node: OperatorNode, other_node: OperatorNode, keys: tuple[Path, str], tmp_path: Path
) -> None:
    without = node.run_json("backup", tmp_path / "data-alone", "--public-key", keys[1])
    alone = node.run_json("backup", tmp_path / "secrets-alone", "--public-key", keys[1], "--only-secrets")

    refused = other_node.run("restore", tmp_path / "data-alone", "--key-file", keys[0], "--with-secrets", "--yes")
    other_node.run_json("restore", tmp_path / "data-alone", "--key-file", keys[0], "--yes")
    assert not (other_node.data_dir / "pepper").exists()
    other_node.run_json("restore", tmp_path / "secrets-alone", "--key-file", keys[0], "--only-secrets", "--yes")

    assert (without["secrets"], alone["database"]) == ([], None)
    assert (refused.code, "has no secrets" in refused.err) == (1, True)
    assert (other_node.data_dir / "pepper").read_bytes() == (node.data_dir / "pepper").read_bytes()


def test_the_time_of_the_last_backup_is_in_the_database(
    node: OperatorNode, keys: tuple[Path, str], tmp_path: Path
) -> None:
    async def last() -> datetime | None:
        async with open_database(node.url):
            return await last_action_at("backup")

    before = asyncio.run(last())
    begun = SystemClock().now()
    failed = node.run("backup", tmp_path / "no-folder" / "one", "--public-key", keys[1])
    node.run_json("backup", tmp_path, "--public-key", keys[1])
    after = asyncio.run(last())

    assert (before, failed.code) == (None, 1)
    assert after is not None
    assert begun <= after <= SystemClock().now()
    assert [each.suffix for each in tmp_path.iterdir() if each.name.startswith("vyry-")] == [".backup"]


def test_a_backup_is_never_written_over_another_unless_forced(
    node: OperatorNode, keys: tuple[Path, str], tmp_path: Path
) -> None:
    file = tmp_path / "one"
    file.write_text("precious")

    refused = node.run("backup", file, "--public-key", keys[1])
    assert (refused.code, "exists" in refused.err, file.read_text()) == (3, True, "precious")
    assert node.run("backup", file, "--public-key", keys[1], "--force").code == 0
    assert node.run("backup", "verify", file, "--key-file", keys[0]).code == 0
    assert [each.name for each in tmp_path.iterdir() if "partial" in each.name] == []


@pytest.mark.parametrize("harm", ["cut", "changed", "wrong passphrase", "of another release"])
def test_a_backup_that_cannot_be_trusted_changes_nothing(
    node: OperatorNode, tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    phrase, file = tmp_path / "phrase", tmp_path / "one"
    phrase.write_text("a passphrase of some length\n")
    if harm == "of another release":
        monkeypatch.setattr("vyry.operator.backup.making.FORMAT", 9)
    asyncio.run(note(node, "before"))
    if harm == "of another release":
        monkeypatch.setattr("vyry.operator.backup.archive.FORMAT", 9)
    node.run_json("backup", file, "--passphrase-file", phrase)
    monkeypatch.undo()
    asyncio.run(note(node, "after"))
    content = bytearray(file.read_bytes())
    content[-100_000] ^= harm == "changed"
    file.write_bytes(content[:-1] if harm == "cut" else content)
    if harm == "wrong passphrase":
        phrase.write_text("another passphrase\n")

    for words in ("backup verify", "restore --force --yes"):
        done = node.run(*words.split(), file, "--passphrase-file", phrase)
        assert (done.code, len(done.err.splitlines()), done.out) == (1, 1, "")

    assert asyncio.run(notes(node)) == ["before", "backup", "after"]


def test_a_database_that_is_not_empty_is_replaced_only_when_forced_and_is_kept(
    node: OperatorNode, keys: tuple[Path, str], tmp_path: Path
) -> None:
    node.run_json("backup", tmp_path / "one", "--public-key", keys[1])
    for round_number in (1, 2):
        asyncio.run(note(node, "after"))
        refused = node.run("restore", tmp_path / "one", "--key-file", keys[0], "--yes")
        unconfirmed = node.run("restore", tmp_path / "one", "--key-file", keys[0], "--force")
        assert (refused.code, "--force" in refused.err, unconfirmed.code) == (3, True, 1)
        assert asyncio.run(notes(node))[-1] == "after"

        done = node.run_json("restore", tmp_path / "one", "--key-file", keys[0], "--force", "--yes")

        assert (len(done["kept"]), asyncio.run(notes(node))) == (1, ["restore"]), round_number
    assert node.run_json("backup", tmp_path / "two", "--public-key", keys[1])["migrations"]


def test_a_backup_goes_to_a_database_of_its_own_kind_only(
    node: OperatorNode, keys: tuple[Path, str], tmp_path: Path, postgres_url: str
) -> None:
    node.run_json("backup", tmp_path / "one", "--public-key", keys[1])
    other = f"sqlite://{tmp_path / 'other.db'}" if node.url.startswith("postgres") else postgres_url

    done = replace(node, url=other).run("restore", tmp_path / "one", "--key-file", keys[0], "--force", "--yes")

    assert (done.code, "correct DATABASE_URL" in done.err) == (1, True)


def test_attachments_in_s3_are_backed_up_and_restored(
    node: OperatorNode, keys: tuple[Path, str], tmp_path: Path, s3: S3
) -> None:
    source = replace(node, variables=s3.environment(f"source-{new_id()}"))
    target = replace(node, variables=s3.environment(f"target-{new_id()}"))
    attachment = asyncio.run(add_attachment(source))
    lost = asyncio.run(add_attachment(source))
    asyncio.run(part_store(source).clear(lost))

    made = source.run("backup", tmp_path / "one", "--public-key", keys[1], "--json")
    target.run_json("restore", tmp_path / "one", "--key-file", keys[0], "--force", "--yes")

    assert (made.code, "2 parts of attachments" in made.err) == (0, True)
    assert asyncio.run(read_attachment(target, attachment)) == PARTS


def test_without_attachments_the_archive_has_none(node: OperatorNode, keys: tuple[Path, str], tmp_path: Path) -> None:
    asyncio.run(add_attachment(node))

    made = node.run_json("backup", tmp_path / "one", "--public-key", keys[1], "--without-attachments")

    assert (made["attachmentParts"], made["attachmentBytes"]) == (0, 0)


def test_secrets_that_differ_are_replaced_only_when_forced_and_are_kept(
    node: OperatorNode, keys: tuple[Path, str], tmp_path: Path
) -> None:
    node.run_json("backup", tmp_path / "one", "--public-key", keys[1], "--only-secrets")
    before, words = (node.data_dir / "pepper").read_bytes(), ("--key-file", keys[0], "--only-secrets", "--yes")
    (node.data_dir / "pepper").write_bytes(b"another pepper of 32 characters or more")

    refused = node.run("restore", tmp_path / "one", *words)
    done = node.run_json("restore", tmp_path / "one", *words, "--force")

    assert (refused.code, "pepper exists and differs" in refused.err) == (3, True)
    assert (node.data_dir / "pepper").read_bytes() == before
    assert Path(done["kept"][0]).read_bytes() == b"another pepper of 32 characters or more"


def test_a_data_folder_of_another_user_is_refused(node: OperatorNode, keys: tuple[Path, str], tmp_path: Path) -> None:
    os.chown(node.data_dir, 65_534, 65_534)

    done = node.run("backup", tmp_path / "one", "--public-key", keys[1])

    assert (done.code, "belongs to another user" in done.err) == (2, True)


def test_a_command_line_without_a_key_says_which_options_there_are(node: OperatorNode, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short\n")

    silent = node.run("backup", tmp_path / "one")
    short = node.run("backup", tmp_path / "one", "--passphrase-file", tmp_path / "short")
    both = node.run("backup", tmp_path / "one", "--passphrase-file", tmp_path / "short", "--public-key", "age1x")

    assert [done.code for done in (silent, short, both)] == [2, 2, 2]
    assert "--public-key or --passphrase-file" in silent.err
    assert "fewer than 12 characters" in short.err
    assert "exclude each other" in both.err


def test_at_a_terminal_the_passphrase_is_asked_for_twice_and_opens_the_backup(
    node: OperatorNode, tmp_path: Path
) -> None:
    phrase = "a passphrase of some length"

    differing = node.run("backup", tmp_path / "one", typed=f"{phrase}\nanother phrase\n")
    assert (differing.code, "The two passphrases differ" in differing.err) == (1, True)
    assert not (tmp_path / "one").exists()
    made = node.run("backup", tmp_path / "one", typed=f"{phrase}\n{phrase}\n")
    opened = node.run("backup", "verify", tmp_path / "one", typed=f"{phrase}\n")

    assert (made.code, opened.code, opened.out.startswith("verified ")) == (0, 0, True)
    assert phrase not in made.out + made.err + opened.out + opened.err
