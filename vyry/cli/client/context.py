"""What every command of `vyry client` has in common: which device speaks and to which node, how it answers, and how it ends."""

import json
import resource
import shlex
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import orjson
from cyclopts import Parameter, validators

from vyry.cli.client.execution import command_timeouts, run_following
from vyry.cli.client.exit_codes import FAILURES, CommandFailed, Exit, to_command_failure
from vyry.cli.client.terminal_text import escape_json, indent_continuation
from vyry.cli.command_line import FilePath, Flag
from vyry.cli.errors import CommandError
from vyry.cli.prompts import read_first_line, read_line, run_until_signal
from vyry.cli.stdio import is_interactive, is_stdout_utf8
from vyry.client.api.profile_lock import acquire_profile_lock
from vyry.client.store.profile import Profile
from vyry.client.store.store import Store


if TYPE_CHECKING:
    from vyry.client.api.client import Client

#: The node that a new profile belongs to.
DEFAULT_NODE_URL: Final = "http://127.0.0.1:8000"
#: In the folder of a profile: its node.
_NODE_FILE: Final = "node"
Action = Callable[["Client"], Coroutine[Any, Any, None]]
Result = TypeVar("Result")


@Parameter(name="*")
@dataclass(frozen=True)
class CommandContext:
    """Which device speaks, and to which node.

    Attributes:
        profile: The device: a name under ~/.vyry, or a path with a slash.
        url: Its node; a profile remembers it, a new one takes http://127.0.0.1:8000.
        clear: Speak to a node beyond this machine without TLS (http://), where everybody on the way reads who writes to whom.
        json: One JSON object a line, for bots and scripts.
        passphrase_file: What opens the profile, on the first line of this file; - asks for it.
        timeout: Give up after so many seconds without progress: while the node, or another process with this profile, does nothing.
    """

    profile: str = "default"
    url: str | None = None
    clear: Flag = False
    json: Flag = False
    passphrase_file: FilePath | None = None
    timeout: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 30.0

    @property
    def folder(self) -> Path:
        """Where the profile lies."""
        if "/" in self.profile:
            return Path(self.profile)
        if self.profile in ("", ".", ".."):
            raise CommandFailed(Exit.WRONG_LINE, "A profile has a name, or a path with a slash.")
        try:
            return Path.home() / ".vyry" / self.profile
        except RuntimeError:
            raise CommandFailed(
                Exit.WRONG_LINE,
                "There is no home folder here: set HOME, or name the profile by a path (--profile ./NAME).",
            ) from None

    @property
    def node_url(self) -> str:
        """The address of its node."""
        kept = self.folder / _NODE_FILE
        return self.url or (kept.read_text(encoding="utf-8").strip() if kept.exists() else DEFAULT_NODE_URL)

    def command_line(self, *words: str) -> str:
        """The line to type for another command of this device."""
        profile = () if self.profile == "default" else ("--profile", self.profile)
        return shlex.join(("vyry", "client", *words, *profile))

    def print_result(self, text: str | Sequence[str], body: Mapping[str, Any]) -> None:
        """A line for people, or several, each of one speaker; or an object on one line for programs."""
        lines = [text] if isinstance(text, str) else text
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        shown = [escape_json(_to_json(body))] if self.json else [indent_continuation(each, width) for each in lines]
        print(*shown, sep="\n", flush=True)

    def run(self, act: Action, *, may_create: bool = False, is_following: bool = False) -> None:
        """Do it as this device; what a person has to decide is an object for programs, too. Raises Ended.

        `may_create`: make the profile where there is none. `is_following`: it gives the profile to other commands in between.
        """
        # Before anything runs: the passphrase may be asked for.
        profile = self._open_profile(may_create=may_create)
        try:
            run_until_signal(self._run_action(act, profile, is_following=is_following))
        except (*FAILURES, CommandFailed) as problem:
            end = to_command_failure(problem)
            if self.json and end.details:
                self.print_result(str(end), end.details)
            raise end from None

    def read_store(self, look: Callable[[Store], Result]) -> Result:
        """What there is to see in the profile; the node is not asked. Raises Ended."""
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
        """Remember the node: the account of this profile is there."""
        (self.folder / _NODE_FILE).write_text(f"{self.node_url}\n", encoding="utf-8")

    async def _run_action(self, act: Action, profile: Profile, *, is_following: bool) -> None:
        waits = command_timeouts(self.timeout, is_asking=not is_following)
        if is_following:
            await run_following(profile, waits, act)
            return
        # What speaks to nodes takes long to load, so not before the profile can be opened.
        async with import_module("vyry.client.api.client").Client.open(profile, waits=waits) as client:
            await act(client)

    def _open_profile(self, *, may_create: bool = False) -> Profile:
        # A crash leaves no file with the keys of this process in it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        # Of a profile that remembers its node it was asked for when that was named.
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
                return read_first_line(self.passphrase_file, "The passphrase")
            except CommandError as problem:
                raise CommandFailed(Exit.STORE_LOCKED, str(problem)) from None
        if is_asked_for or (Profile(self.folder, "").asks_for_passphrase() and is_interactive()):
            typed = run_until_signal(read_line(f"Passphrase of {self.folder}: ", is_hidden=True))
            if not typed:
                raise CommandFailed(Exit.STORE_LOCKED, "No passphrase was typed.")
            return typed
        return None


def _to_json(body: Mapping[str, Any]) -> str:
    """One line, in whatever encoding standard output has; a name of a file need not be Unicode."""
    try:
        line_ = orjson.dumps(body).decode()
    except TypeError:
        return json.dumps(body, default=str)
    return line_ if is_stdout_utf8() else json.dumps(orjson.loads(line_))


DEFAULT_CONTEXT: Final = CommandContext()
