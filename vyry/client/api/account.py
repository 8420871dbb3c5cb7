"""The account of this profile and its devices (docs/protocol.md, "Account", "Devices"). Every method raises Refused, Unreachable."""

from collections.abc import Callable
from typing import Any

from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.transport.rest import Body, RestClient


class Account:
    """The account of this profile."""

    def __init__(self, rest: RestClient, profiles: Profiles, on_change: Callable[[], None] = lambda: None) -> None:
        self._rest = rest
        self._profiles = profiles
        self._on_change = on_change

    async def get(self) -> Body:
        """The account as the node stores it; `profile` has the decrypted `name` and `about`."""
        return self._with_profile(await self._rest.call("GET", "/account"))

    async def update(self, **fields: Any) -> Body:
        """Change fields, named as in docs/protocol.md. The node can read these."""
        response = await self._rest.call("PATCH", "/account", fields)
        self._on_change()
        return self._with_profile(response)

    async def show(self, *, name: str | None = None, about: str | None = None) -> Body:
        """Change the sealed profile, which only the account's contacts can read. None leaves a field as it is, "" removes it. Raises TextTooLong (100 and 500 characters), BadContent."""
        changes = {key: words for key, words in (("name", name), ("about", about)) if words is not None}
        sealed = self._profiles.seal_profile(await self._rest.call("GET", "/account"), changes)
        return await self.update(sealedProfile=sealed)

    def _with_profile(self, response: Body) -> Body:
        if response["sealedProfile"]:
            self._profiles.mark_published()
        return {**response, "profile": self._profiles.read_profile(response)}

    async def export(self) -> Body:
        """Everything that the node knows about the account."""
        return await self._rest.call("GET", "/account/export")

    async def pin(self) -> Body:
        """State of the registration PIN: `isSet`, `registrationLock`, `attemptsRemaining`, `lockedUntil`."""
        return await self._rest.call("GET", "/account/pin")

    async def set_pin(self, pin: str, current: str | None = None, *, registration_lock: bool | None = None) -> Body:
        """Set or change the PIN (6 to 128 characters). `registration_lock`: whether a new sign-up with this number requires it while the account is in use; None leaves that as it is."""
        known = {"currentPin": current, "registrationLock": registration_lock}
        given = {name: value for name, value in known.items() if value is not None}
        return await self._rest.call("PUT", "/account/pin", {"pin": pin, **given})

    async def remove_pin(self, pin: str) -> Body:
        """Remove the PIN."""
        return await self._rest.call("POST", "/account/pin/remove", {"pin": pin})

    async def logout(self) -> None:
        """Revoke this device on the node, with its tokens, keys and mailbox. The local store stays."""
        await self._rest.call("POST", "/auth/logout")


class Devices:
    """The devices of the account."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def list(self) -> list[Body]:
        """All devices that are not revoked."""
        return await self._rest.list_all("/devices", "devices")

    async def rename(self, device_id: int, name: str) -> Body:
        """Change the name of a device."""
        return await self._rest.call("PATCH", f"/devices/{device_id}", {"name": name})

    async def remove(self, device_id: int) -> None:
        """Revoke a device, within a second."""
        await self._rest.call("DELETE", f"/devices/{device_id}")
