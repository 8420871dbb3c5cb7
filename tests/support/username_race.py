"""Accounts that all take one username at once; `python -m tests.support.username_race URL NAME MOMENT ID...` is another node at which they do.

It says `ready`, begins at the first line that it reads, and then says who has the name.
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from tests.support.account_harness import AccountStores, open_stores
from tests.support.paths import ROOT
from vyry.accounts.account import AccountChange
from vyry.accounts.usernames import UsernameRules
from vyry.errors import UsernameTaken
from vyry.kernel.ids import UserId


async def claim_by_all(stores: AccountStores, users: Sequence[UserId], name: str, at: datetime) -> list[UserId]:
    """Everybody takes the name at once; answers who has it."""

    async def one(user: UserId) -> UserId | None:
        try:
            await stores.accounts.change(user, AccountChange({"username": name}), UsernameRules(at))
        except UsernameTaken:
            return None
        return user

    return [user for user in await asyncio.gather(*map(one, users)) if user is not None]


class OtherNode:
    """A node in a process of its own, ready to take a name for these accounts."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, users: Sequence[UserId], name: str, at: datetime) -> "OtherNode":
        """Comes back when it is ready."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.username_race", url, name, at.isoformat(), *map(str, users)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return cls(process)

    async def claim(self) -> list[UserId]:
        """Let it begin; answers who has the name."""
        async with asyncio.timeout(30):
            said, _ = await self._process.communicate(b"go\n")
        assert self._process.returncode == 0
        return [UserId(UUID(each)) for each in said.decode().split()]


async def _serve(url: str, name: str, at: datetime, users: Sequence[UserId]) -> None:
    async with open_stores(url) as stores:
        await stores.accounts.load(users[0])
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(*await claim_by_all(stores, users, name, at))


if __name__ == "__main__":
    _, there, wanted, moment, *ids = sys.argv
    asyncio.run(_serve(there, wanted, datetime.fromisoformat(moment), [UserId(UUID(each)) for each in ids]))
