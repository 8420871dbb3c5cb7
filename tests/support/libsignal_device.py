"""A device whose keys and sessions are the official Signal library's: a Node.js program (tests/libsignal/device.mjs) that talks to the node by itself."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.support.paths import ROOT
from tests.support.rest_device import Device


PROGRAM = ROOT / "tests" / "libsignal"


def library_folder() -> Path:
    """Where scripts/install-services put Node.js and the library: a folder for each lock file."""
    lock = hashlib.sha256((PROGRAM / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vyry" / f"libsignal-{lock}"


class LibsignalFailed(Exception):
    """The library or the program could not do it."""


class NodeRefused(Exception):
    """The node said no."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('error_code')}: {body.get('error')}")
        self.code = body["error_code"]


class LibsignalDevice:
    """One running program."""

    def __init__(self, account: Device, process: asyncio.subprocess.Process) -> None:
        self.account = account
        self._process = process

    async def run_command(self, name: str, **more: Any) -> Any:
        """What the command of that name answers. Raises NodeRefused, Broken."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps({"do": name, **more}) + b"\n")
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        answer = orjson.loads(line or b'{"broken": "the program ended"}')
        if "refused" in answer:
            raise NodeRefused(**answer["refused"])
        if "broken" in answer:
            raise LibsignalFailed(answer["broken"])
        return answer["said"]

    async def begin_session(self, other: "LibsignalDevice") -> Any:
        """Claim the other's keys and begin a session; answers what kind of keys there were."""
        return await self.run_command("claim", to=other.account.user_id)

    async def send(self, conversation_id: str, other: "LibsignalDevice", text: str) -> Any:
        """Post a message in the session that there is; answers the kinds of its copies."""
        return await self.run_command("send", to=other.account.user_id, conversationId=conversation_id, text=text)

    async def receive(self, count: int = 1) -> list[str]:
        """The next so many messages, opened and acknowledged."""
        return [each["text"] for each in await self.run_command("receive", count=count)]


@asynccontextmanager
async def libsignal_device(account: Device) -> AsyncIterator[LibsignalDevice]:
    """The program for a device that has signed up and published nothing yet."""
    folder = library_folder()
    command = [folder / "node_modules/.bin/node", PROGRAM / "device.mjs", folder, account.node.url]
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        account.user_id,
        str(account.device_id),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(account.token.encode() + b"\n")
    try:
        yield LibsignalDevice(account, process)
    finally:
        process.stdin.close()
        async with asyncio.timeout(20):
            await process.wait()
