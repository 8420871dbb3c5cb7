"""Shared by all commands of `vyry client`: profile, node, output format, and the runner that opens the profile and maps errors to exit codes."""

import json
import resource
import shlex
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import orjson
from cyclopts import Parameter, validators

from vyry.cli.client.execution import command_timeouts, run_following
from vyry.cli.client.exit_codes import FAILURES, CommandFailed, Exit, to_command_failure
from vyry.cli.client.terminal_text import escape_json, indent_continuation
from vyry.cli.command_line import FilePath, Flag
from vyry.cli.prompts import read_first_line, read_line, run_until_signal
from vyry.cli.stdio import is_interactive, is_stdout_utf8
from vyry.client.api.profile_lock import acquire_profile_lock
from vyry.client.store.profile import Profile
from vyry.client.store.store import Store
from vyry.errors import CommandError


if TYPE_CHECKING:
    from vyry.client.api.client import Client

#: The node of a new profile.
DEFAULT_NODE_URL: Final = "http://127.0.0.1:8000"
#: The file in a profile folder that contains the node URL.
_NODE_FILE: Final = "node"
Action = Callable[["Client"], Coroutine[Any, Any, None]]
Result = TypeVar("Result")


@Parameter(name="*")
@dataclass(frozen=True)
class CommandContext:
    """The options that all commands share, and the methods that run a command with them.

    Attributes:
        profile: The profile (one device): a name under ~/.vyry, or a path with a slash.
        url: URL of the node (default: the saved one, or http://127.0.0.1:8000 for a new profile).
        clear: Allow http:// (no TLS) to a remote node. Others on the network can then see which accounts exchange messages, and steal the session.
        json: Print one JSON object per line, for bots and scripts.
        passphrase_file: Read the passphrase of the profile from the first line of this file; - asks for it.
        timeout: Give up after this many seconds without progress (node unreachable, or profile in use by another process).
    """

    profile: str = "default"
    url: str | None = None
    clear: Flag = False
    json: Flag = False
    passphrase_file: FilePath | None = None
    timeout: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 30.0

    @property
    def folder(self) -> Path:
        """The folder of the profile."""
        if "/" in self.profile:
            return Path(self.profile)
        if self.profile in ("", ".", ".."):
            raise CommandFailed(Exit.WRONG_LINE, "Invalid profile: give a name, or a path with a slash.")
        try:
            return Path.home() / ".vyry" / self.profile
        except RuntimeError:
            raise CommandFailed(
                Exit.WRONG_LINE,
                "No home folder: set HOME, or give the profile as a path (--profile ./NAME).",
            ) from None

    @property
    def node_url(self) -> str:
        """The URL of the node."""
        kept = self.folder / _NODE_FILE
        return self.url or (kept.read_text(encoding="utf-8").strip() if kept.exists() else DEFAULT_NODE_URL)

    def command_line(self, *words: str) -> str:
        """Another command for this profile, as it is typed."""
        profile = () if self.profile == "default" else ("--profile", self.profile)
        return shlex.join(("vyry", "client", *words, *profile))

    def print_result(self, text: str | Sequence[str], body: Mapping[str, Any]) -> None:
        """Print one or several lines of text, or with --json the object on one line."""
        lines = [text] if isinstance(text, str) else text
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        shown = [escape_json(_to_json(body))] if self.json else [indent_continuation(each, width) for each in lines]
        print(*shown, sep="\n", flush=True)

    def run(self, act: Action, *, may_create: bool = False, is_following: bool = False) -> None:
        """Run a command with this profile. With --json a required decision is printed as an object, too. Raises CommandFailed.

        `may_create`: create a missing profile. `is_following`: yield the profile to other commands in between.
        """
        # First: it may prompt for the passphrase.
        profile = self._open_profile(may_create=may_create)
        try:
            run_until_signal(self._run_action(act, profile, is_following=is_following))
        except (*FAILURES, CommandFailed) as problem:
            end = to_command_failure(problem)
            if self.json and end.details:
                self.print_result(str(end), end.details)
            raise end from None

    def read_store(self, look: Callable[[Store], Result]) -> Result:
        """Read from the store of the profile without a request to the node. Raises CommandFailed."""
        try:
            profile = self._open_profile()
            profile.check_exists()
            with (
                profile.translated_errors(),
                profile.open_store(
                    run_until_signal(acquire_profile_lock(profile.store_path, command_timeouts(self.timeout)))
                ) as store,
            ):
                return look(store)
        except FAILURES as problem:
            raise to_command_failure(problem) from None

    def save_node_url(self) -> None:
        """Save the node URL in the profile."""
        (self.folder / _NODE_FILE).write_text(f"{self.node_url}\n", encoding="utf-8")

    async def _run_action(self, act: Action, profile: Profile, *, is_following: bool) -> None:
        waits = command_timeouts(self.timeout, is_asking=not is_following)
        if is_following:
            await run_following(profile, waits, act)
            return
        # Imported late: aiohttp takes long to load, and the profile may not open.
        opened = cast("type[Client]", import_module("vyry.client.api.client").Client).open
        async with opened(profile, waits=waits) as client:
            await act(client)

    def _open_profile(self, *, may_create: bool = False) -> Profile:
        # No core dump: it would contain the keys of the profile.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        # A saved node URL was checked when it was given.
        allows_clear = self.clear or self.url is None
        return Profile(
            self.folder,
            self.node_url,
            passphrase=self._read_passphrase(),
            may_create=may_create,
            allows_clear=allows_clear,
        )

    def _read_passphrase(self) -> str | None:
        is_asked_for = str(self.passphrase_file) == "-"
        if self.passphrase_file is not None and not is_asked_for:
            try:
                return read_first_line(self.passphrase_file, "the passphrase")
            except CommandError as problem:
                raise CommandFailed(Exit.STORE_LOCKED, str(problem)) from None
        if is_asked_for or (Profile(self.folder, "").asks_for_passphrase() and is_interactive()):
            typed = run_until_signal(read_line(f"Passphrase for {self.folder}: ", is_hidden=True))
            if not typed:
                raise CommandFailed(Exit.STORE_LOCKED, "No passphrase entered; the profile was not opened.")
            return typed
        return None


def _to_json(body: Mapping[str, Any]) -> str:
    """The object on one line, printable in the encoding of standard output; a path need not be Unicode."""
    try:
        line = orjson.dumps(body).decode()
    except TypeError:
        return json.dumps(body, default=str)
    return line if is_stdout_utf8() else json.dumps(orjson.loads(line))


DEFAULT_CONTEXT: Final = CommandContext()
