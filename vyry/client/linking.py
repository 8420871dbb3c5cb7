"""Linking (docs/signal-protocol.md, "Linking"): a new device shows a QR, one that the account has approves it, and two people, or one with two screens, compare six digits."""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from vyry.client.chain import octets, text
from vyry.client.device import Me
from vyry.client.group_keys import GroupKeys
from vyry.client.pin_book import PinBook
from vyry.client.pin_handing import PinHanding
from vyry.client.profiles import Profiles
from vyry.client.publishing import Publishing
from vyry.client.refusals import CodeNotShown, LinkEnded, Refused
from vyry.client.rest import Rest
from vyry.client.shapes import device_number, identifier, words
from vyry.client.store import Store
from vyry.signal_protocol.linking import LinkOffer, LinkSecrets
from vyry.signal_protocol.primitives import KEY_BYTES, Address, DhPair
from vyry.signal_protocol.provisioning import Provisioning
from vyry.signal_protocol.refusals import LinkMismatch


#: How long one look at the link waits for news.
LOOK_SECONDS: Final = 25
_LONGEST_TOKEN: Final = 4_096


Become = Callable[[Provisioning, str], Awaitable[UUID]]


@dataclass(slots=True)
class Attempt:
    """One attempt of a new device; it ends after two minutes, and what it made is forgotten with it. Made by `Links.begin`."""

    #: The text of the QR. Only a device of the own account may see it.
    uri: str = field(repr=False)
    _offer: LinkOffer = field(repr=False)
    _pair: DhPair = field(repr=False)
    _rest: Rest = field(repr=False)
    _headers: dict[str, str] = field(repr=False)
    _become: Become = field(repr=False)
    _secrets: LinkSecrets | None = field(default=None, repr=False)

    @classmethod
    async def begin(cls, rest: Rest, name: str, become: Become) -> "Attempt":
        """Announce the new device to the node, which never sees the QR's secret. Raises Refused, Unreachable."""
        pair = DhPair.fresh()
        asked = {"publicKey": text(pair.public), "name": name, "platform": "cli"}
        link = await rest.open_call("POST", "/devices/links", asked)
        with rest.shaped():
            offer = LinkOffer(identifier(link["linkId"]), pair.public, secrets.token_bytes(KEY_BYTES))
            headers = {"X-Link-Secret": words(link["linkSecret"])}
        return cls(offer.uri(), offer, pair, rest, headers, become)

    async def code(self) -> str:
        """Six digits, once the QR was scanned: show them, so that they are typed in or compared at the other device. Raises LinkEnded, Unreachable."""
        scanned = await self._look("scanned", "approved")
        with self._rest.shaped():
            approver_key = octets(scanned["approverPublicKey"])
        self._secrets = LinkSecrets.of(self._offer, self._pair, approver_key)
        return self._secrets.compare_code

    async def complete(self) -> UUID:
        """Wait until the other device has approved, and be its equal; messages from before do not come.

        Raises CodeNotShown when `code` was not asked before, LinkEnded, LinkMismatch, Refused, Unreachable.
        """
        if self._secrets is None:
            raise CodeNotShown
        approved = await self._look("approved")
        with self._rest.shaped():
            approver_key, sealed = octets(approved["approverPublicKey"]), octets(approved["provisioning"])
            token = words(approved["linkToken"], _LONGEST_TOKEN)
        if approver_key != self._secrets.approver_key:
            raise LinkMismatch
        return await self._become(Provisioning.read(self._secrets.open(sealed)), token)

    async def _look(self, *wanted: str) -> dict[str, Any]:
        while True:
            path = f"/devices/links/{self._offer.link_id}?wait={LOOK_SECONDS}"
            try:
                link = await self._rest.open_call("GET", path, headers=self._headers)
            except Refused as refused:
                raise LinkEnded("The link has expired: begin a new one.") from refused
            status = link.get("status")
            if status in wanted:
                return link
            if status in ("rejected", "expired"):
                raise LinkEnded(f"The link was {status}: begin a new one.")


async def become(store: Store, rest: Rest, handed: tuple[Provisioning, str], now: int) -> None:
    """Become a device of the account that was handed over; keys are kept before the node knows of them. Raises Refused, Unreachable, LinkEnded."""
    provisioning, token = handed
    me = Me.linked(provisioning)
    with store.transaction():
        me, keys = Publishing(store).whole_set(me, now)
    try:
        session = await rest.open_call("POST", "/devices/links/complete", {**keys, "linkToken": token})
    except Refused as refused:
        if refused.code in ("INVALID_TOKEN", "ALREADY_USED"):
            raise LinkEnded("The link has expired: begin a new one.") from refused
        raise
    with rest.shaped():
        user_id, device_id = identifier(session["userId"]), device_number(session["deviceId"])
    if user_id != provisioning.user_id:
        raise LinkMismatch
    with store.transaction():
        rest.keep(session)
        me.numbered(device_id).keep(store)
        # What the account shows was perhaps sealed by the other device: the key goes to whom this one writes to, too.
        Profiles(store).note_shown()
        PinBook(store).take(provisioning.pins, now)
        for each in provisioning.group_keys:
            GroupKeys(store).accept(each.conversation_id, Address(me.user_id, 0), each.generation, each.key)


class Links:
    """Both sides: a new device begins, one that the account has scans."""

    def __init__(self, store: Store, rest: Rest, become: Become, handing: PinHanding) -> None:
        self._store = store
        self._handing = handing
        self._rest = rest
        self._become = become

    async def begin(self, name: str = "vyry") -> Attempt:
        """Become another device of an account: show `attempt.uri` as a QR to one of its devices, compare `await attempt.code()`, then `await attempt.complete()`. Raises Refused, Unreachable."""
        return await Attempt.begin(self._rest, name, self._become)

    async def scan(self, uri: str) -> "Scanned":
        """Take the QR of a new device. Raises Malformed, UnknownVersion, LinkMismatch (the node shows another key), Refused, Unreachable."""
        offer, pair = LinkOffer.read(uri), DhPair.fresh()
        asked = {"publicKey": text(pair.public)}
        seen = await self._rest.call("POST", f"/devices/links/{offer.link_id}/scan", asked)
        with self._rest.shaped():
            shown, name, network = octets(seen["publicKey"]), words(seen["name"]), words(seen["requestedFrom"])
        if shown != offer.public_key:
            await self._rest.call("POST", f"/devices/links/{offer.link_id}/reject")
            raise LinkMismatch
        made = LinkSecrets.of(offer, pair, pair.public)
        return Scanned(made.compare_code, name, network, offer.link_id, made, self)

    async def approve(self, scanned: "Scanned", pin: str | None) -> None:
        """See Scanned.approve."""
        await self._handing.look()
        body: dict[str, object] = {"provisioning": text(scanned.provisioning(self._handed))}
        if pin is not None:
            body["pin"] = pin
        await self._rest.call("POST", f"/devices/links/{scanned.link_id}/approve", body)

    def _handed(self) -> bytes:
        me = Me.of(self._store)
        made = Provisioning(me.user_id, me.identity, me.profile_key, GroupKeys(self._store).handed())
        return self._handing.into(made).pack()

    async def reject(self, scanned: "Scanned") -> None:
        """See Scanned.reject."""
        await self._rest.call("POST", f"/devices/links/{scanned.link_id}/reject")


@dataclass(slots=True)
class Scanned:
    """A new device that waits: approve it only if it shows the same six digits."""

    #: Better than showing them is to have them typed in from the new device's screen, and to ask `matches`: a person who is shown digits says yes from habit.
    code: str
    name: str
    #: The network that it asks from.
    requested_from: str
    link_id: UUID
    made: LinkSecrets = field(repr=False)
    _links: Links = field(repr=False)
    _provisioning: bytes | None = field(default=None, repr=False)

    def matches(self, digits: str) -> bool:
        """Whether these are the six digits, with or without spaces; compared in constant time."""
        return hmac.compare_digest("".join(digits.split()).encode("utf-8", "replace"), self.code.encode())

    def provisioning(self, plaintext: Callable[[], bytes]) -> bytes:
        """What is posted: sealed at the first call, the very same bytes at each later one."""
        if self._provisioning is None:
            self._provisioning = self.made.seal(plaintext())
        return self._provisioning

    async def approve(self, pin: str | None = None) -> None:
        """Hand the account over. After a wrong PIN, or when no answer came, call it again: the same bytes are posted.

        Raises Refused (PIN_REQUIRED, INVALID_PIN, DEVICE_LIMIT ...; ALREADY_USED also when the call that got no answer had reached the node), Unreachable.
        """
        await self._links.approve(self, pin)

    async def reject(self) -> None:
        """Let it in no more. Raises Refused, Unreachable."""
        await self._links.reject(self)
