"""One's own account and its devices (docs/protocol.md, "Account", "Devices"); all of it raises Refused, Unreachable."""

from collections.abc import Callable
from typing import Any

from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.transport.rest import Body, RestClient


class Account:
    """One's own account."""

    def __init__(self, rest: RestClient, profiles: Profiles, on_change: Callable[[], None] = lambda: None) -> None:
        self._rest = rest
        self._profiles = profiles
        self._on_change = on_change

    async def get(self) -> Body:
        """What the node keeps of it, and as `profile` what is sealed there (`name`, `about`)."""
        return self._with_profile(await self._rest.call("GET", "/account"))

    async def update(self, **fields: Any) -> Body:
        """Change fields, named as in docs/protocol.md: the node reads them."""
        said = await self._rest.call("PATCH", "/account", fields)
        self._on_change()
        return self._with_profile(said)

    async def show(self, *, name: str | None = None, about: str | None = None) -> Body:
        """Change what only those can read whom one writes to; None: as before, "": nothing. Raises TextTooLong (100 and 500 characters), BadContent."""
        changes = {key: words for key, words in (("name", name), ("about", about)) if words is not None}
        sealed = self._profiles.seal_profile(await self._rest.call("GET", "/account"), changes)
        return await self.update(sealedProfile=sealed)

    def _with_profile(self, said: Body) -> Body:
        if said["sealedProfile"]:
            self._profiles.mark_published()
        return {**said, "profile": self._profiles.read_profile(said)}

    async def export(self) -> Body:
        """Everything that the node knows of it."""
        return await self._rest.call("GET", "/account/export")

    async def pin(self) -> Body:
        """How the PIN stands: `isSet`, `registrationLock`, `attemptsRemaining`, `lockedUntil`."""
        return await self._rest.call("GET", "/account/pin")

    async def set_pin(self, pin: str, current: str | None = None, *, registration_lock: bool | None = None) -> Body:
        """Set a PIN of 6 to 128 characters, or another one. `registration_lock`: signing up anew to this number asks for it, as long as the account is used; None: as before."""
        known = {"currentPin": current, "registrationLock": registration_lock}
        given = {name: value for name, value in known.items() if value is not None}
        return await self._rest.call("PUT", "/account/pin", {"pin": pin, **given})

    async def remove_pin(self, pin: str) -> Body:
        """Have no PIN any more."""
        return await self._rest.call("POST", "/account/pin/remove", {"pin": pin})

    async def logout(self) -> None:
        """End this device at the node: its tokens, keys and mailbox are gone. The store stays as it is."""
        await self._rest.call("POST", "/auth/logout")


class Devices:
    """The devices of one's account."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def list(self) -> list[Body]:
        """All that are not ended."""
        return await self._rest.list_all("/devices", "devices")

    async def rename(self, device_id: int, name: str) -> Body:
        """Call it something else."""
        return await self._rest.call("PATCH", f"/devices/{device_id}", {"name": name})

    async def remove(self, device_id: int) -> None:
        """End it within a second."""
        await self._rest.call("DELETE", f"/devices/{device_id}")
