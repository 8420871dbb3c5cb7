"""`vyry backup`, `vyry backup verify` and `vyry backup keygen`: back up a node while it runs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, Never, TypeVar

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from vyry.cli.command_line import FilePath, Flag, JsonFlag
from vyry.cli.errors import UsageError
from vyry.cli.operator import CURRENT_OPERATOR, Operator, write_audit_entry
from vyry.cli.prompts import Terminated, read_first_line, read_line
from vyry.cli.stdio import is_interactive
from vyry.clock import SystemClock
from vyry.composition.shared import build_part_store
from vyry.errors import CommandError
from vyry.kernel.atomic_files import create_file
from vyry.kernel.time import format_moment
from vyry.operator.backup.making import Installation, Report, make_backup
from vyry.operator.backup.sealing import Seal, Unseal, new_key_pair, seal_with_passphrase, seal_with_public_keys
from vyry.operator.backup.verifying import Contents, verify_backup
from vyry.settings.push import vapid_path
from vyry.settings.secret_files import JWT_FILE, folder_problems
from vyry.settings.settings import Role, Settings, SettingsError, load_settings


T = TypeVar("T")
_SHORTEST_PASSPHRASE: Final = 12

app = App(name="backup")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class BackupContents:
    """Which parts of the node are backed up or restored.

    Args:
        with_secrets: Include the secrets: pepper, JWT secret, key ring and Web Push key.
        only_secrets: The secrets alone.
        without_attachments: Leave out the attachments, for example where the bucket has its own backup.
    """

    with_secrets: Flag = False
    only_secrets: Flag = False
    without_attachments: Flag = False

    def installation(self, settings: Settings) -> Installation:
        """The parts of this node that are meant."""
        has_rest = not self.only_secrets
        return Installation(
            url=settings.database_url.get_secret_value() if has_rest else None,
            parts=build_part_store(settings) if has_rest and not self.without_attachments else None,
            secrets=_secret_files(settings) if self.with_secrets or self.only_secrets else {},
        )


DEFAULT_CONTENTS: Final = BackupContents()


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What opens a backup.

    Args:
        passphrase_file: File whose first line is the passphrase. Without it and --key-file, the passphrase is asked for.
        key_file: File with a private key of age (AGE-SECRET-KEY-1...).
    """

    passphrase_file: FilePath | None = None
    key_file: FilePath | None = None

    def unseal(self) -> Unseal:
        """The passphrase or the private key. Raises CommandError, UsageError."""
        if self.key_file is not None:
            return Unseal(private_keys=self.key_file.read_text(encoding="utf-8", errors="replace"))
        return Unseal(passphrase=_read_passphrase(self.passphrase_file, is_new=False))


ASK_PASSPHRASE: Final = Opening()


@app.default
def backup(
    to: FilePath,
    *,
    contents: BackupContents = DEFAULT_CONTENTS,
    public_key: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    passphrase_file: FilePath | None = None,
    force: Flag = False,
    as_json: JsonFlag = False,
    by: Operator = CURRENT_OPERATOR,
) -> int:
    """Back up the database, the attachments and, if asked for, the secrets, while nodes run.

    It writes one file, sealed under a passphrase or a public key of age, reads it again, and only then gives it its name (mode 0600).
    The time is stored in the audit log; the metric vyry_last_backup_timestamp_seconds shows it.

    Args:
        to: The file to write, or an existing folder, in which the file is named after the time.
        contents: What is backed up.
        public_key: Public key of age (age1...) that the backup is sealed under. Repeat it for several.
        passphrase_file: File whose first line is the passphrase. Without it and --public-key, the passphrase is asked for.
        force: Replace an existing file.
        as_json: Print one JSON object.
        by: The operator and the reason.
    """
    settings = own_settings()
    now = SystemClock().now()
    target = (to / f"vyry-{now:%Y%m%dT%H%M%SZ}.backup" if to.is_dir() else to).absolute()
    seal = _seal(public_key, passphrase_file)
    installation = contents.installation(settings)

    made = run_with_progress(
        lambda report: make_backup(installation, target, seal, replaces=force, now=now, report=report)
    )
    size = target.stat().st_size
    if installation.url is not None:
        write_audit_entry(installation.url, by.audit_entry("backup", details=f"{size} bytes, {_describe(made)}"))
    _print_contents(made, target, size, as_json=as_json, word="backed up to")
    return 0


@app.command
def verify(file: FilePath, *, opening: Opening = ASK_PASSPHRASE, as_json: JsonFlag = False) -> int:
    """Read a whole backup: every byte is authentic, and nothing is missing. Needs no settings and no database.

    Args:
        file: The backup.
        opening: What opens it.
        as_json: Print one JSON object.
    """
    with file.open("rb") as opened:
        unseal = opening.unseal()

        async def work(report: Report) -> Contents:
            return verify_backup(opened, unseal, report)

        found = run_with_progress(work)
    _print_contents(found, file, file.stat().st_size, as_json=as_json, word="verified")
    return 0


@app.command
def keygen(file: FilePath) -> int:
    """Create a key pair of age: the private key in a file (mode 0600), the public key on standard output.

    Keep the file away from the node: `vyry backup --public-key` needs the public key alone.

    Args:
        file: The file of the private key.
    """
    private, public = new_key_pair()
    if not create_file(file.absolute(), f"# public key: {public}\n{private}\n".encode()):
        raise CommandError(f"{file} exists: choose another name.")
    print(public)
    return 0


def run_with_progress(work: Callable[[Report], Coroutine[None, None, T]]) -> T:
    """Run `work` with a function that shows its progress on a terminal. Ctrl-C and SIGTERM end it at once, also while it reads or writes."""
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    phases: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, _ending_at_once():

        def report(phase: str, size: int) -> None:
            if phase not in phases:
                phases[phase] = progress.add_task(phase, total=None)
            progress.advance(phases[phase], size)

        return asyncio.run(work(report))


@contextmanager
def _ending_at_once() -> Iterator[None]:
    def end(number: int, _: FrameType | None) -> Never:
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def own_settings() -> Settings:
    """The settings of the node whose files these are: the files that this process creates belong to the same user, who alone may read them. Raises SettingsError."""
    os.umask(0o077)
    settings = load_settings(Role.TOOL)
    if problems := list(folder_problems(settings.data_dir)):
        raise SettingsError(problems)
    return settings


def _secret_files(settings: Settings) -> dict[str, Path]:
    """The secrets that Vyry made and cannot make again, by their names in a backup."""
    return {
        "pepper": settings.pepper_file,
        "jwt-secret": settings.data_dir / JWT_FILE,
        "key-ring": settings.key_ring_file,
        "vapid-key": vapid_path(settings.vapid_key_file, settings.data_dir),
    }


def _seal(public_keys: Sequence[str], passphrase_file: Path | None) -> Seal:
    if not public_keys:
        return seal_with_passphrase(_read_passphrase(passphrase_file, is_new=True))
    if passphrase_file is not None:
        raise UsageError("--public-key and --passphrase-file exclude each other: a backup has one kind of seal.")
    return seal_with_public_keys(public_keys)


def _read_passphrase(file: Path | None, *, is_new: bool) -> str:
    if file is not None:
        found = read_first_line(file, "the passphrase")
    elif is_interactive():
        found = asyncio.run(_ask_passphrase(is_new=is_new))
    else:
        option = "--public-key or --passphrase-file" if is_new else "--key-file or --passphrase-file"
        raise UsageError(f"Without a terminal the backup needs {option}.")
    if is_new and len(found) < _SHORTEST_PASSPHRASE:
        raise UsageError(
            f"The passphrase has fewer than {_SHORTEST_PASSPHRASE} characters: whoever has the backup could guess it."
        )
    return found


async def _ask_passphrase(*, is_new: bool) -> str:
    found = await read_line("Passphrase of the backup: ", is_hidden=True) or ""
    if is_new and found != await read_line("The same again: ", is_hidden=True):
        raise CommandError("The two passphrases differ: nothing was backed up.")
    return found


def _describe(contents: Contents) -> str:
    parts = [f"database {contents.database_bytes} bytes"] if contents.about.database else []
    if contents.about.has_attachments:
        parts.append(f"{contents.attachment_parts} attachment parts {contents.attachment_bytes} bytes")
    parts.append(f"{len(contents.secrets)} secrets" if contents.secrets else "no secrets")
    return ", ".join(parts)


def _print_contents(contents: Contents, file: Path, size: int, *, as_json: bool, word: str) -> None:
    about = contents.about
    if missing := contents.missing_parts:
        print(
            f"vyry: {missing} parts of attachments are in the database and not in the attachment store.",
            file=sys.stderr,
        )
    if not as_json:
        print(
            f"{word} {file}: {size} bytes; made {format_moment(about.created_at)} by Vyry {about.version}; {_describe(contents)}"
        )
        return
    found = {
        "file": str(file),
        "bytes": size,
        "createdAt": about.created_at.isoformat(),
        "version": about.version,
        "database": about.database,
        "migrations": about.migrations,
        "databaseBytes": contents.database_bytes,
        "attachmentParts": contents.attachment_parts,
        "attachmentBytes": contents.attachment_bytes,
        "missingParts": contents.missing_parts,
        "secrets": sorted(contents.secrets),
    }
    print(json.dumps(found))
