"""People: found by name or number, asked to be friends, kept away. What the answers hold stands in docs/protocol.md, "People"; all of it raises Refused, Unreachable."""

from collections.abc import Callable, Sequence
from typing import Final, Literal
from urllib.parse import quote
from uuid import UUID

from vyry.client.link_codes import check_no_link_code
from vyry.client.names import RememberedNames, canonical, read_number
from vyry.client.profiles import Profiles
from vyry.client.refusals import NobodyFound
from vyry.client.rest import Body, Rest
from vyry.client.shapes import body, identifier


class People:
    """Who is there. `names`: those that this profile remembers."""

    def __init__(
        self, rest: Rest, profiles: Profiles, names: RememberedNames, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._rest = rest
        self._profiles = profiles
        self._changed = changed
        self.names: Final = names

    async def resolve(self, word: str, *, refresh: bool = False) -> UUID:
        """The account of a username (with or without @) or telephone number (+...): the node is asked the first time, after that the answer is remembered.

        With `refresh` the node is asked again. Raises NameChanged when it says another account than the one remembered, BadNumber, NobodyFound, Refused, Unreachable.
        """
        held = self.names.account(word)
        if held is not None and not refresh:
            return held
        return self.names.check(word, await self._asked(canonical(word)))

    def remember(self, word: str, user_id: UUID) -> None:
        """Let a name mean this account from now on: what a person decides after NameChanged."""
        self.names.keep(word, user_id)

    async def by_username(self, username: str) -> Body:
        """The account of this username now, in any case; nothing is remembered (`resolve`). Raises LinkCode for the link code of a device; nothing is sent then."""
        check_no_link_code(username)
        return await self._rest.call("GET", f"/users/by-username/{quote(username, safe='')}")

    async def lookup(self, phone_numbers: Sequence[str]) -> list[Body]:
        """Those of these numbers who can be found now, each with `phoneNumber` in E.164; nothing is remembered (`resolve`). Raises BadNumber."""
        asked = {"phoneNumbers": [read_number(each) for each in phone_numbers]}
        said = await self._rest.call("POST", "/users/lookup", asked)
        with self._rest.shaped():
            return list(map(body, said["users"]))

    async def profile(self, user_id: UUID) -> Body:
        """What somebody shows to friends and to those whom they write with; as `profile` what is sealed there (`name`, `about`), None while they have told no key."""
        said = await self._rest.call("GET", f"/users/{user_id}")
        return {**said, "profile": self._profiles.shown(said)}

    async def blocks(self) -> list[Body]:
        """Whom this account has blocked."""
        return await self._rest.pages("/blocks", "blocks")

    async def block(self, user_id: UUID) -> None:
        """Be nobody to them from now on."""
        await self._rest.call("PUT", f"/blocks/{user_id}")
        self._changed()

    async def unblock(self, user_id: UUID) -> None:
        """Take that back."""
        await self._rest.call("DELETE", f"/blocks/{user_id}")

    async def _asked(self, name: str) -> UUID:
        if not name.startswith("+"):
            found = await self.by_username(name.removeprefix("@"))
        else:
            users = await self.lookup([name])
            if not users:
                raise NobodyFound(f"Nobody with the number {name} can be found.")
            found = users[0]
        with self._rest.shaped():
            return identifier(found["userId"])


class Friends:
    """Who agreed to be one."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def list(self) -> list[Body]:
        """All friends."""
        return await self._rest.pages("/friends", "friends")

    async def requests(self, direction: Literal["incoming", "outgoing"] = "incoming") -> "Sequence[Body]":
        """What waits for an answer: one's own, or that of others."""
        return await self._rest.pages(f"/friends/requests?direction={direction}", "requests")

    async def request(self, user_id: UUID) -> str:
        """Ask somebody; answers requested, or friends if they had asked."""
        return str((await self._rest.call("POST", "/friends/requests", {"userId": str(user_id)}))["status"])

    async def accept(self, user_id: UUID) -> None:
        """Say yes to their request."""
        await self._rest.call("POST", f"/friends/requests/{user_id}/accept")

    async def decline(self, user_id: UUID) -> None:
        """Say no; nobody is told."""
        await self._rest.call("POST", f"/friends/requests/{user_id}/decline")

    async def withdraw(self, user_id: UUID) -> None:
        """Take one's own request back."""
        await self._rest.call("DELETE", f"/friends/requests/{user_id}")

    async def remove(self, user_id: UUID) -> None:
        """Be no friends any more, both."""
        await self._rest.call("DELETE", f"/friends/{user_id}")
