"""`vyry client backup` and `vyry client restore`: the history as one sealed file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Final

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.command_line import FilePath, Flag
from vyry.cli.prompts import read_first_line, read_line
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client
from vyry.client.history.errors import MistypedKey
from vyry.client.history.sealing import read_recovery_key
from vyry.errors import CommandError


#: How often the recovery key may be typed.
MAX_ATTEMPTS: Final = 3


def backup(
    file: FilePath,
    /,
    *,
    overwrite: Flag = False,
    new_key: Flag = False,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Write your history, contacts and group titles to a sealed file.

    The first backup prints the recovery key, once: write it down. Later backups of this profile are sealed under the same key.
    Messages that disappear or can be viewed once are left out.

    Args:
        file: The backup. Only you can read it (mode 0600).
        overwrite: Replace an existing file.
        new_key: Make and print a new recovery key. Earlier backups keep theirs.
    """

    async def act(client: Client) -> None:
        if file.exists() and not overwrite:
            raise CommandFailed(
                Exit.FAILED, f"{file} exists: give another name, or overwrite it with --overwrite. Nothing was written."
            )
        if not file.parent.is_dir():
            raise CommandFailed(Exit.FAILED, f"{file.parent} is no folder: create it first. Nothing was written.")
        # Raises NotRegistered before a key is shown.
        _ = client.user_id
        is_new = new_key or client.backup.kept_key() is None
        if is_new:
            _show_new_key(client, context)
        with _progress(context, "Backup", is_bytes=False) as progress:
            written = await client.backup(file, overwrite=overwrite, progress=progress)
        key_text = "" if is_new else " It is sealed under the recovery key that an earlier backup printed."
        counts = f"{written.messages} messages, {written.conversations} conversations, {written.contacts} contacts"
        context.print_result(
            f"Written to {file}: {counts}.{key_text}",
            {
                "file": str(file),
                "messages": written.messages,
                "conversations": written.conversations,
                "contacts": written.contacts,
                "leftOut": written.left_out,
                "size": written.size,
            },
        )

    context.run(act)


def restore(
    file: FilePath | None = None,
    /,
    *,
    key_file: FilePath | None = None,
    drop: Flag = False,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Add the messages, contacts and group titles of a backup to this profile.

    The whole file is verified before anything is written. What this profile has is neither replaced nor doubled.
    If interrupted, run the same command to continue, or remove everything that it added with `vyry client restore --drop`.

    Args:
        file: The backup.
        key_file: Read the recovery key from the first line of this file instead of asking.
        drop: Remove everything that an interrupted restore has added.
    """
    if (file is None) != drop:
        raise CommandFailed(Exit.WRONG_LINE, "Give the backup file, or --drop without a file.")

    async def act(client: Client) -> None:
        if file is None:
            await _drop(client, context)
            return
        if not file.is_file():
            raise CommandFailed(
                Exit.NOT_FOUND, f"There is no file {file}: give the file that `vyry client backup` wrote."
            )
        # Raises NotRegistered before the key is asked for.
        _ = client.user_id
        key = await _read_key(key_file)
        with _progress(context, "Restore", is_bytes=True) as progress:
            restored = await client.restore(file, key, progress=progress)
        text = f"Restored: {restored.added} messages added, {restored.known} were there before."
        context.print_result(text, {"added": restored.added, "known": restored.known})

    context.run(act)


def _show_new_key(client: Client, context: CommandContext) -> None:
    """Print a new key, and keep it only then: a key that nobody saw opens nothing."""
    key = client.backup.new_key()
    lines = ["Write down this recovery key. It is shown once, and without it the backup cannot be read:", key]
    context.print_result(lines, {"recoveryKey": key})
    client.backup.keep_key(key)


async def _drop(client: Client, context: CommandContext) -> None:
    if not client.restore.is_pending:
        raise CommandFailed(Exit.FAILED, "No restore was interrupted: there is nothing to drop.")
    dropped = await client.restore.drop()
    context.print_result(f"Removed {dropped} messages that the restore had added.", {"dropped": dropped})


async def _read_key(key_file: FilePath | None) -> str:
    """The recovery key, asked for again when it was mistyped at a terminal. Raises CommandFailed, MistypedKey."""
    if key_file is not None and str(key_file) != "-":
        try:
            return read_first_line(key_file, "the recovery key")
        except CommandError as problem:
            raise CommandFailed(Exit.FAILED, str(problem)) from None
    for attempt in range(1, MAX_ATTEMPTS + 1):
        typed = await read_line("Recovery key: ")
        if not typed or not typed.strip():
            break
        try:
            read_recovery_key(typed)
        except MistypedKey as mistyped:
            if attempt == MAX_ATTEMPTS or not is_interactive():
                raise
            print(mistyped, file=sys.stderr, flush=True)
        else:
            return typed
    raise CommandFailed(Exit.FAILED, "No recovery key entered; nothing was restored.")


@contextmanager
def _progress(context: CommandContext, name: str, *, is_bytes: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Progress on standard error, if that is a terminal."""
    if context.json or not sys.stderr.isatty():
        yield None
        return
    bars = import_module("vyry.cli.client.progress")
    with (bars.progress_bar if is_bytes else bars.count_bar)(name) as progress:
        yield progress
