"""Linking (docs/signal-protocol.md, "Linking"): a new device shows a QR code, a device of the account approves it, and people compare six digits."""

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from vyry.client.crypto.group_keys import GroupKeys
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.pin_registry import PinRegistry
from vyry.client.crypto.pin_transfer import PinTransfer
from vyry.client.crypto.prekey_publisher import PrekeyPublisher
from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.errors import CodeNotShown, HistoryPending, LinkCode, LinkEnded, Refused
from vyry.client.store.history_transfer import CLAIM_MS, KEEP_MS, HistoryOffer, HistoryTransfers
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.store import DAY_MS, Store
from vyry.client.transport.rest import MAX_TOKEN, RestClient
from vyry.client.transport.validation import read_device_id, read_text, read_uuid
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.time import now_milliseconds
from vyry.signal_protocol.linking import LinkOffer, LinkSecrets
from vyry.signal_protocol.primitives import KEY_BYTES, Address, DhPair
from vyry.signal_protocol.provisioning import Provisioning
from vyry.signal_protocol.refusals import LinkMismatch


#: How long one poll of the link waits for a change.
POLL_SECONDS: Final = 25


#: What a new device gets of the history: all, so many days, or nothing.
HistoryRange = Literal["all"] | int | None
CompleteLink = Callable[[Provisioning, str], Awaitable[UUID]]


@dataclass(slots=True)
class LinkAttempt:
    """One attempt of a new device, made by `Links.begin`. It expires after two minutes, with the keys made for it."""

    #: The text of the QR code. Only devices of the account may see it.
    uri: str = field(repr=False)
    _offer: LinkOffer = field(repr=False)
    _pair: DhPair = field(repr=False)
    _rest: RestClient = field(repr=False)
    _headers: dict[str, str] = field(repr=False)
    _complete_link: CompleteLink = field(repr=False)
    _secrets: LinkSecrets | None = field(default=None, repr=False)

    @classmethod
    async def begin(cls, rest: RestClient, name: str, complete_link: CompleteLink) -> "LinkAttempt":
        """Announce the new device to the node, which never sees the secret of the QR code. Raises Refused, Unreachable."""
        pair = DhPair.generate()
        body = {"publicKey": encode_base64(pair.public), "name": name, "platform": "cli"}
        link = await rest.call_unauthenticated("POST", "/devices/links", body)
        with rest.validated_response():
            offer = LinkOffer(read_uuid(link["linkId"]), pair.public, secrets.token_bytes(KEY_BYTES))
            headers = {"X-Link-Secret": read_text(link["linkSecret"])}
        return cls(offer.uri(), offer, pair, rest, headers, complete_link)

    async def code(self) -> str:
        """Six digits, once the QR code was scanned: show them so that they are typed in or compared on the other device. Raises LinkEnded, Unreachable."""
        scanned = await self._poll("scanned", "approved")
        with self._rest.validated_response():
            approver_key = decode_bytes(scanned["approverPublicKey"])
        self._secrets = LinkSecrets.derive(self._offer, self._pair, approver_key)
        return self._secrets.compare_code

    async def complete(self) -> UUID:
        """Wait for the approval and become a device of the account. Earlier messages follow only if the other device sends them (`Client.history`).

        Raises CodeNotShown when `code` was not called before, LinkEnded, LinkMismatch, Refused, Unreachable.
        """
        if self._secrets is None:
            raise CodeNotShown
        approved = await self._poll("approved")
        with self._rest.validated_response():
            approver_key, sealed = decode_bytes(approved["approverPublicKey"]), decode_bytes(approved["provisioning"])
            token = read_text(approved["linkToken"], MAX_TOKEN)
        if approver_key != self._secrets.approver_key:
            raise LinkMismatch
        return await self._complete_link(Provisioning.read(self._secrets.open(sealed)), token)

    async def _poll(self, *wanted: str) -> dict[str, Any]:
        while True:
            path = f"/devices/links/{self._offer.link_id}?wait={POLL_SECONDS}"
            try:
                link = await self._rest.call_unauthenticated("GET", path, headers=self._headers)
            except Refused as refused:
                raise LinkEnded("The link has expired: start a new one.") from refused
            status = link.get("status")
            if status in wanted:
                return link
            if status in ("rejected", "expired"):
                raise LinkEnded(f"The link was {status}: start a new one.")


async def complete_link(store: Store, rest: RestClient, link: tuple[Provisioning, str], now: int) -> None:
    """Become a device of the provisioned account; keys are stored before they are published. Raises Refused, Unreachable, LinkEnded."""
    provisioning, token = link
    me = LocalDevice.from_provisioning(provisioning)
    with store.transaction():
        me, keys = PrekeyPublisher(store).make_key_set(me, now)
    try:
        session = await rest.call_unauthenticated("POST", "/devices/links/complete", {**keys, "linkToken": token})
    except Refused as refused:
        if refused.code in ("INVALID_TOKEN", "ALREADY_USED"):
            raise LinkEnded("The link has expired: start a new one.") from refused
        raise
    with rest.validated_response():
        user_id, device_id = read_uuid(session["userId"]), read_device_id(session["deviceId"])
    if user_id != provisioning.user_id:
        raise LinkMismatch
    with store.transaction():
        rest.save_tokens(session)
        me.with_device_id(device_id).save(store)
        # The profile may have been sealed by the other device: this device sends its key too.
        Profiles(store).mark_published()
        PinRegistry(store).merge(provisioning.pins, now)
        if provisioning.has_history:
            HistoryTransfers(store).await_until(now + KEEP_MS)
        for group_key in provisioning.group_keys:
            GroupKeys(store).accept(
                group_key.conversation_id, Address(me.user_id, 0), group_key.generation, group_key.key
            )


class Links:
    """Both sides of linking: a new device begins, a device of the account scans."""

    def __init__(self, store: Store, rest: RestClient, complete_link: CompleteLink, pin_transfer: PinTransfer) -> None:
        self._store = store
        self._pin_transfer = pin_transfer
        self._rest = rest
        self._complete_link = complete_link

    async def begin(self, name: str = "vyry") -> LinkAttempt:
        """Start to link this profile: show `attempt.uri` as a QR code to a device of the account, compare `await attempt.code()`, then `await attempt.complete()`. Raises Refused, Unreachable."""
        return await LinkAttempt.begin(self._rest, name, self._complete_link)

    async def scan(self, uri: str) -> "ScannedLink":
        """Scan the QR code of a new device. Raises Malformed, UnknownVersion, LinkMismatch (the node reports another key), Refused, Unreachable."""
        offer, pair = LinkOffer.read(uri), DhPair.generate()
        body = {"publicKey": encode_base64(pair.public)}
        response = await self._rest.call("POST", f"/devices/links/{offer.link_id}/scan", body)
        with self._rest.validated_response():
            public_key, name, network = (
                decode_bytes(response["publicKey"]),
                read_text(response["name"]),
                read_text(response["requestedFrom"]),
            )
        if public_key != offer.public_key:
            await self._rest.call("POST", f"/devices/links/{offer.link_id}/reject")
            raise LinkMismatch
        link_secrets = LinkSecrets.derive(offer, pair, pair.public)
        return ScannedLink(link_secrets.compare_code, name, network, offer.link_id, link_secrets, self)

    async def approve(self, scanned: "ScannedLink", pin: str | None, history: HistoryRange) -> None:
        """See ScannedLink.approve."""
        await self._pin_transfer.refresh_own_list()
        provisioning = scanned.sealed_provisioning(partial(self._provisioning_bytes, history))
        body: dict[str, object] = {"provisioning": encode_base64(provisioning)}
        if pin is not None:
            body["pin"] = pin
        await self._rest.call("POST", f"/devices/links/{scanned.link_id}/approve", body)

    def _provisioning_bytes(self, history: HistoryRange) -> bytes:
        me = LocalDevice.load(self._store)
        keys = GroupKeys(self._store).keys_for_new_device()
        provisioning = Provisioning(
            me.user_id, me.identity, me.profile_key, keys, has_history=self._offer_history(history)
        )
        return self._pin_transfer.add_pins(provisioning).pack()

    def _offer_history(self, history: HistoryRange) -> bool:
        """Store the offer before the device is approved: after a crash the transfer continues. Raises HistoryPending."""
        transfers, now = HistoryTransfers(self._store), now_milliseconds()
        before = transfers.offer(now)
        if before is not None and before.device is not None:
            if history is None:
                return False
            raise HistoryPending
        if history is None:
            transfers.save_offer(None)
            return False
        since = None if history == "all" else now - history * DAY_MS
        key = secrets.token_bytes(KEY_BYTES)
        transfers.save_offer(HistoryOffer(key, self._pin_transfer.own_devices(), now + CLAIM_MS, since))
        return True

    async def reject(self, scanned: "ScannedLink") -> None:
        """See ScannedLink.reject."""
        await self._rest.call("POST", f"/devices/links/{scanned.link_id}/reject")


@dataclass(slots=True)
class ScannedLink:
    """A new device that waits for approval: approve it only if it shows the same six digits."""

    #: Rather than showing the digits, let the user type them from the new device and call `matches`: people confirm digits that they are shown out of habit.
    code: str
    name: str
    #: The network of the new device.
    requested_from: str
    link_id: UUID
    link_secrets: LinkSecrets = field(repr=False)
    _links: Links = field(repr=False)
    _provisioning: bytes | None = field(default=None, repr=False)

    def matches(self, digits: str) -> bool:
        """Whether these are the six digits, with or without spaces. Compared in constant time."""
        return hmac.compare_digest("".join(digits.split()).encode("utf-8", "replace"), self.code.encode())

    def sealed_provisioning(self, plaintext: Callable[[], bytes]) -> bytes:
        """The bytes to post: sealed at the first call, the same bytes at every later call."""
        if self._provisioning is None:
            self._provisioning = self.link_secrets.seal(plaintext())
        return self._provisioning

    async def approve(self, pin: str | None = None, *, history: HistoryRange = None) -> None:
        """Give the account to the new device. After a wrong PIN, or without a response, call it again: the same bytes are posted.

        `history`: also send it the history, "all" or of so many days (`client.history`); the first call decides.

        Raises HistoryPending, Refused (PIN_REQUIRED, INVALID_PIN, DEVICE_LIMIT ...; ALREADY_USED also when an earlier call without a response had reached the node), Unreachable.
        """
        await self._links.approve(self, pin, history)

    async def reject(self) -> None:
        """Reject the new device. Raises Refused, Unreachable."""
        await self._links.reject(self)


#: The whole code, or the part behind its last slash.
_LINK_CODE: Final = re.compile(r"(?:^|[/:])link\?", re.IGNORECASE)


def check_no_link_code(text: str) -> None:
    """Check a text that is about to be sent to the node as a name or token: a link code contains a secret that the node must not see, and only `Links.scan` may open it. Raises LinkCode."""
    if _LINK_CODE.search(text.strip()):
        raise LinkCode
