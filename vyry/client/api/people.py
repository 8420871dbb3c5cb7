"""People: found by name or number, asked to be friends, kept away. What the answers hold stands in docs/protocol.md, "People"; all of it raises Refused, Unreachable."""

from collections.abc import Callable, Sequence
from typing import Final, Literal
from urllib.parse import quote
from uuid import UUID

from vyry.client.api.linking import check_no_link_code
from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.errors import NobodyFound
from vyry.client.store.remembered_names import RememberedNames, canonical_name, read_number
from vyry.client.transport.rest import Body, RestClient
from vyry.client.transport.validation import read_object, read_uuid


class People:
    """Who is there. `names`: those that this profile remembers."""

    def __init__(
        self, rest: RestClient, profiles: Profiles, names: RememberedNames, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._rest = rest
        self._profiles = profiles
        self._on_change = on_change
        self.names: Final = names

    async def resolve(self, word: str, *, refresh: bool = False) -> UUID:
        """The account of a username (with or without @) or telephone number (+...): the node is asked the first time, after that the answer is remembered.

        With `refresh` the node is asked again. Raises NameChanged when it says another account than the one remembered, BadNumber, NobodyFound, Refused, Unreachable.
        """
        held = self.names.account(word)
        if held is not None and not refresh:
            return held
        return self.names.confirm(word, await self._fetch_account(canonical_name(word)))

    def remember(self, word: str, user_id: UUID) -> None:
        """Let a name mean this account from now on: what a person decides after NameChanged."""
        self.names.save(word, user_id)

    async def by_username(self, username: str) -> Body:
        """The account of this username now, in any case; nothing is remembered (`resolve`). Raises LinkCode for the link code of a device; nothing is sent then."""
        check_no_link_code(username)
        return await self._rest.call("GET", f"/users/by-username/{quote(username, safe='')}")

    async def lookup(self, phone_numbers: Sequence[str]) -> list[Body]:
        """Those of these numbers who can be found now, each with `phoneNumber` in E.164; nothing is remembered (`resolve`). Raises BadNumber."""
        asked = {"phoneNumbers": [read_number(each) for each in phone_numbers]}
        said = await self._rest.call("POST", "/users/lookup", asked)
        with self._rest.validated_response():
            return list(map(read_object, said["users"]))

    async def profile(self, user_id: UUID) -> Body:
        """What somebody shows to friends and to those whom they write with; as `profile` what is sealed there (`name`, `about`), None while they have told no key."""
        said = await self._rest.call("GET", f"/users/{user_id}")
        return {**said, "profile": self._profiles.read_profile(said)}

    async def blocks(self) -> list[Body]:
        """Whom this account has blocked."""
        return await self._rest.list_all("/blocks", "blocks")

    async def block(self, user_id: UUID) -> None:
        """Be nobody to them from now on."""
        await self._rest.call("PUT", f"/blocks/{user_id}")
        self._on_change()

    async def unblock(self, user_id: UUID) -> None:
        """Take that back."""
        await self._rest.call("DELETE", f"/blocks/{user_id}")

    async def _fetch_account(self, name: str) -> UUID:
        if not name.startswith("+"):
            found = await self.by_username(name.removeprefix("@"))
        else:
            users = await self.lookup([name])
            if not users:
                raise NobodyFound(f"Nobody with the number {name} can be found.")
            found = users[0]
        with self._rest.validated_response():
            return read_uuid(found["userId"])


class Friends:
    """Who agreed to be one."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def list(self) -> list[Body]:
        """All friends."""
        return await self._rest.list_all("/friends", "friends")

    async def requests(self, direction: Literal["incoming", "outgoing"] = "incoming") -> "Sequence[Body]":
        """What waits for an answer: one's own, or that of others."""
        return await self._rest.list_all(f"/friends/requests?direction={direction}", "requests")

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
