"""A client of the SDK in a task of its own, so that what a lie does to it ends nothing else. Not part of the proxy."""

import asyncio
import json
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from vyry.client.api.client import Client, Profile
from vyry.client.errors import StoreFailed


TIMEOUT_SECONDS: Final = 15.0
_TAIL: Final = 8_192
Result = TypeVar("Result")


class ClientTask:
    """A client in a task of its own: what ends it, ends nothing else."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run_client())

    async def client(self) -> Client:
        """Once it is open. Raises what kept it from that."""
        either: set[asyncio.Future[Any]] = {self.task, self._ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            await self.task
        return self._ready.result()

    async def close(self) -> None:
        """Raises what ended it."""
        self._stop.set()
        await self.task

    @property
    def fault(self) -> BaseException | None:
        """What ended it, if anything has."""
        return self.task.exception() if self.task.done() else None

    async def wait_for(self, wanted: Awaitable[Result]) -> Result:
        """What comes of it while the client lives. Raises what it raises, or what ended the client; TimeoutError."""
        doing = asyncio.ensure_future(wanted)
        either: set[asyncio.Future[Any]] = {self.task, doing}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=TIMEOUT_SECONDS)
        if not doing.done():
            doing.cancel()
            with suppress(asyncio.CancelledError):
                await doing
            if self.fault is not None:
                raise self.fault
            raise TimeoutError
        if isinstance(doing.exception(), RuntimeError | StoreFailed):
            # What was closed under it: the client is about to end.
            await asyncio.wait({self.task}, timeout=TIMEOUT_SECONDS)
            if self.fault is not None:
                raise self.fault
        return doing.result()

    async def _run_client(self) -> None:
        async with Client.open(self._profile) as client:
            self._ready.set_result(client)
            await self._stop.wait()


def newest_code(otp_file: Path, number: str) -> str:
    """The code that was sent to that number last; only the end of the file is looked at."""
    with otp_file.open("rb") as file:
        file.seek(max(0, otp_file.stat().st_size - _TAIL))
        lines = file.read().decode().splitlines()
    sent = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return str([each["otp"] for each in sent if each["phoneNumber"] == number][-1])
