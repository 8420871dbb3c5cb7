"""Accounts, friends and blocks; the fields of responses are in docs/protocol.md, "People". Every method raises Refused, Unreachable."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, Literal
from urllib.parse import quote
from uuid import UUID

from vyry.client.api.contacts import read_contact_link
from vyry.client.api.linking import check_no_link_code
from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.errors import AmbiguousName, BadName, NobodyFound, Refused, TextTooLong
from vyry.client.store.chosen_names import ChosenNames
from vyry.client.store.remembered_names import RememberedNames, canonical_name, is_id, read_number
from vyry.client.transport.rest import Body, RestClient
from vyry.client.transport.validation import read_object, read_uuid
from vyry.kernel.phone_numbers import looks_like_number
from vyry.signal_protocol.contact_links import is_link
from vyry.signal_protocol.pins import is_given_name


class People:
    """Finds and blocks accounts. `names`: those that this profile remembers; `chosen`: those that accounts chose for themselves."""

    def __init__(
        self,
        rest: RestClient,
        profiles: Profiles,
        names: RememberedNames,
        chosen: ChosenNames,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._rest = rest
        self._profiles = profiles
        self._on_change = on_change
        self.names: Final = names
        self.chosen: Final = chosen

    async def resolve(self, word: str, *, refresh: bool = False) -> UUID:
        """The account of a user id, a contact link, a name that the user gave, a username (with or without @), a name that the account chose, or a phone number (+...).

        For a username or number the node is asked the first time; later the remembered account is returned. With `refresh` the node is asked again.
        Raises AmbiguousName, NotAContactLink, NameChanged when the node reports another account than the remembered one, BadNumber, NobodyFound, Refused, Unreachable.
        """
        found = self._find_given(word)
        if found is not None:
            return found
        remembered = self.names.account(word)
        if remembered is None:
            remembered = await self._find_chosen(word)
            refresh = refresh and remembered is None
        if remembered is not None and not refresh:
            return remembered
        return self.names.confirm(word, await self._fetch_account(canonical_name(word)))

    def _find_given(self, word: str) -> UUID | None:
        """The account of an id, a contact link or a name that the user gave."""
        if is_id(word.strip()):
            return UUID(word.strip())
        if is_link(word):
            return read_contact_link(word).user_id
        return self._one_of(word, self.names.given_to(word))

    async def _find_chosen(self, word: str) -> UUID | None:
        """The account that chose this name, if no other account has it as a username. From then on it is a name that the user gave."""
        # "@bo" and a number are addresses: an account that chose "@bo" as its name is never meant.
        is_address = word.strip()[:1] in ("@", "+") or looks_like_number(word)
        found = None if is_address else self._one_of(word, self.chosen.chosen_by(word))
        if found is None:
            return None
        try:
            self._one_of(word, {found, await self._fetch_account(canonical_name(word))})
        except Refused as refused:
            if refused.status not in (400, 404):
                raise
        if self.names.given(found) is None:
            with suppress(BadName, TextTooLong):
                self.names.give(found, self.chosen.of(found) or "")
        return found

    def _one_of(self, word: str, accounts: Collection[UUID]) -> UUID | None:
        if len(accounts) > 1:
            raise AmbiguousName(word, {each: self._distinction(each) for each in sorted(accounts)})
        return next(iter(accounts), None)

    def _distinction(self, user_id: UUID) -> str:
        return ", ".join(each for each in self.names.of(user_id) if not is_given_name(each)) or "user id"

    def remember(self, word: str, user_id: UUID) -> None:
        """Assign a name to this account from now on: the user's decision after NameChanged."""
        self.names.save(word, user_id)

    async def by_username(self, username: str) -> Body:
        """The account of this username now, case-insensitive; nothing is remembered (`resolve`). Raises LinkCode for the link code of a device; nothing is sent then."""
        check_no_link_code(username)
        return await self._rest.call("GET", f"/users/by-username/{quote(username, safe='')}")

    async def lookup(self, phone_numbers: Sequence[str]) -> list[Body]:
        """The accounts of these numbers that can be found now, each with `phoneNumber` in E.164; nothing is remembered (`resolve`). Raises BadNumber."""
        body = {"phoneNumbers": [read_number(each) for each in phone_numbers]}
        response = await self._rest.call("POST", "/users/lookup", body)
        with self._rest.validated_response():
            return list(map(read_object, response["users"]))

    async def profile(self, user_id: UUID) -> Body:
        """The profile that an account shows to its friends and contacts; `profile` has the decrypted `name` and `about`, None while its key has not arrived."""
        response = await self._rest.call("GET", f"/users/{user_id}")
        found = self._profiles.read_profile(response)
        self.chosen.save(user_id, found["name"])
        return {**response, "profile": found}

    async def blocks(self) -> list[Body]:
        """The blocked accounts."""
        return await self._rest.list_all("/blocks", "blocks")

    async def block(self, user_id: UUID) -> None:
        """Block an account."""
        await self._rest.call("PUT", f"/blocks/{user_id}")
        self._on_change()

    async def unblock(self, user_id: UUID) -> None:
        """Unblock an account."""
        await self._rest.call("DELETE", f"/blocks/{user_id}")

    async def _fetch_account(self, name: str) -> UUID:
        if not name.startswith("+"):
            found = await self.by_username(name.removeprefix("@"))
        else:
            users = await self.lookup([name])
            if not users:
                raise NobodyFound(f"No account with the phone number {name} was found.")
            found = users[0]
        with self._rest.validated_response():
            return read_uuid(found["userId"])


class Friends:
    """Friends and friend requests."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def list(self) -> list[Body]:
        """All friends."""
        return await self._rest.list_all("/friends", "friends")

    async def requests(self, direction: Literal["incoming", "outgoing"] = "incoming") -> "Sequence[Body]":
        """Open friend requests, received or sent."""
        return await self._rest.list_all(f"/friends/requests?direction={direction}", "requests")

    async def request(self, user_id: UUID) -> str:
        """Send a friend request; returns "requested", or "friends" if the other account had sent one."""
        return str((await self._rest.call("POST", "/friends/requests", {"userId": str(user_id)}))["status"])

    async def accept(self, user_id: UUID) -> None:
        """Accept a friend request."""
        await self._rest.call("POST", f"/friends/requests/{user_id}/accept")

    async def decline(self, user_id: UUID) -> None:
        """Decline a friend request; the other account is not notified."""
        await self._rest.call("POST", f"/friends/requests/{user_id}/decline")

    async def withdraw(self, user_id: UUID) -> None:
        """Withdraw an own friend request."""
        await self._rest.call("DELETE", f"/friends/requests/{user_id}")

    async def remove(self, user_id: UUID) -> None:
        """Remove a friend, on both sides."""
        await self._rest.call("DELETE", f"/friends/{user_id}")
