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

from vyry.cli.asking import first_line, line, run
from vyry.cli.client.exits import FAILURES, Ended, Exit, ended
from vyry.cli.client.lasting import follow, patient
from vyry.cli.client.plain import safe_json, set_in
from vyry.cli.refusals import CannotServe
from vyry.cli.streams import is_person, is_utf8
from vyry.cli.typed import FilePath
from vyry.client.opening import Profile
from vyry.client.store import Store
from vyry.client.turns import take_turn


if TYPE_CHECKING:
    from vyry.client.client import Client

#: The node that a new profile belongs to.
HOME_NODE: Final = "http://127.0.0.1:8000"
#: In the folder of a profile: its node.
_NODE: Final = "node"
Act = Callable[["Client"], Coroutine[Any, Any, None]]
Seen = TypeVar("Seen")


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
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
    clear: Annotated[bool, Parameter(negative=())] = False
    json: Annotated[bool, Parameter(negative=())] = False
    passphrase_file: FilePath | None = None
    timeout: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 30.0

    @property
    def folder(self) -> Path:
        """Where the profile lies."""
        if "/" in self.profile:
            return Path(self.profile)
        if self.profile in ("", ".", ".."):
            raise Ended(Exit.WRONG_LINE, "A profile has a name, or a path with a slash.")
        try:
            return Path.home() / ".vyry" / self.profile
        except RuntimeError:
            raise Ended(
                Exit.WRONG_LINE,
                "There is no home folder here: set HOME, or name the profile by a path (--profile ./NAME).",
            ) from None

    @property
    def node(self) -> str:
        """The address of its node."""
        kept = self.folder / _NODE
        return self.url or (kept.read_text(encoding="utf-8").strip() if kept.exists() else HOME_NODE)

    def command(self, *words: str) -> str:
        """The line to type for another command of this device."""
        profile = () if self.profile == "default" else ("--profile", self.profile)
        return shlex.join(("vyry", "client", *words, *profile))

    def say(self, text: str | Sequence[str], body: Mapping[str, Any]) -> None:
        """A line for people, or several, each of one speaker; or an object on one line for programs."""
        lines = [text] if isinstance(text, str) else text
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        shown = [safe_json(_json(body))] if self.json else [set_in(each, width) for each in lines]
        print(*shown, sep="\n", flush=True)

    def run(self, act: Act, *, may_create: bool = False, is_following: bool = False) -> None:
        """Do it as this device; what a person has to decide is an object for programs, too. Raises Ended.

        `may_create`: make the profile where there is none. `is_following`: it gives the profile to other commands in between.
        """
        # Before anything runs: the passphrase may be asked for.
        profile = self._profile(may_create=may_create)
        try:
            run(self._acted(act, profile, is_following=is_following))
        except (*FAILURES, Ended) as problem:
            end = ended(problem)
            if self.json and end.decision:
                self.say(str(end), end.decision)
            raise end from None

    def read(self, look: Callable[[Store], Seen]) -> Seen:
        """What there is to see in the profile; the node is not asked. Raises Ended."""
        try:
            profile = self._profile()
            profile.check_there()
            with (
                profile.usable(),
                profile.open_store(run(take_turn(profile.store_path, patient(self.timeout)))) as store,
            ):
                return look(store)
        except FAILURES as problem:
            raise ended(problem) from None

    def keep_node(self) -> None:
        """Remember the node: the account of this profile is there."""
        (self.folder / _NODE).write_text(f"{self.node}\n", encoding="utf-8")

    async def _acted(self, act: Act, profile: Profile, *, is_following: bool) -> None:
        waits = patient(self.timeout, is_asking=not is_following)
        if is_following:
            await follow(profile, waits, act)
            return
        # What speaks to nodes takes long to load, so not before the profile can be opened.
        async with import_module("vyry.client.client").Client.open(profile, waits=waits) as client:
            await act(client)

    def _profile(self, *, may_create: bool = False) -> Profile:
        # A crash leaves no file with the keys of this process in it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        # Of a profile that remembers its node it was asked for when that was named.
        allows_clear = self.clear or self.url is None
        return Profile(
            self.folder, self.node, passphrase=self._passphrase(), may_create=may_create, allows_clear=allows_clear
        )

    def _passphrase(self) -> str | None:
        is_asked_for = str(self.passphrase_file) == "-"
        if self.passphrase_file is not None and not is_asked_for:
            try:
                return first_line(self.passphrase_file, "The passphrase")
            except CannotServe as problem:
                raise Ended(Exit.STORE_LOCKED, str(problem)) from None
        if is_asked_for or (Profile(self.folder, "").asks_for_passphrase() and is_person()):
            typed = run(line(f"Passphrase of {self.folder}: ", is_hidden=True))
            if not typed:
                raise Ended(Exit.STORE_LOCKED, "No passphrase was typed.")
            return typed
        return None


def _json(body: Mapping[str, Any]) -> str:
    """One line, in whatever encoding standard output has; a name of a file need not be Unicode."""
    try:
        line_ = orjson.dumps(body).decode()
    except TypeError:
        return json.dumps(body, default=str)
    return line_ if is_utf8() else json.dumps(orjson.loads(line_))


HERE: Final = Where()
