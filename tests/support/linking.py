"""A new test device that asks to be linked, and the device that lets it in: real keys, real digits (signal-protocol.md section 11)."""

import json
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.api_conformance import assert_documented
from tests.support.chain_checker import to_bytes
from tests.support.device_keys import DeviceKeys, base64_text
from tests.support.rest_device import Body, Device, NodeClient, OutcomeUnknown, RequestRefused
from vyry.signal_protocol.linking import LinkOffer, LinkSecrets
from vyry.signal_protocol.primitives import DhPair


@dataclass(slots=True)
class NewDevice:
    """The new device, up to its first session."""

    node: NodeClient
    offer: LinkOffer
    link: Body
    pair: DhPair

    @classmethod
    async def request_link(cls, node: NodeClient, name: str = "tablet") -> "NewDevice":
        """It asks for a link, and can show its QR."""
        pair = DhPair.generate()
        body = {"publicKey": base64_text(pair.public), "name": name, "platform": "desktop"}
        link = await node.call("POST", "/devices/links", body)
        return cls(node, LinkOffer(UUID(link["linkId"]), pair.public, secrets.token_bytes(32)), link, pair)

    @property
    def path(self) -> str:
        """Where its link is."""
        return f"/devices/links/{self.link['linkId']}"

    async def fetch_link(self, wait: int = 0, secret: str | None = None, node: NodeClient | None = None) -> Body:
        """How its link stands. Raises Refused."""
        at = node or self.node
        headers = {"X-Link-Secret": self.link["linkSecret"] if secret is None else secret}
        async with at.http.get(f"{at.url}/api/v1{self.path}?wait={wait}", headers=headers) as answer:
            body: Body = await answer.json()
        assert_documented("GET", f"/api/v1{self.path}", answer.status, body)
        if answer.status >= 500:
            raise OutcomeUnknown(str(body))
        if answer.status >= 400:
            raise RequestRefused(answer.status, body)
        return body

    def derive_secrets(self, seen: Body) -> LinkSecrets:
        """What it shares with whoever the node says has scanned."""
        return LinkSecrets.derive(self.offer, self.pair, to_bytes(seen["approverPublicKey"]))

    async def complete(self, seen: Body, number: str, **changes: Any) -> Device:
        """Open what it was given and come to life."""
        given = json.loads(self.derive_secrets(seen).open(to_bytes(seen["provisioning"])))
        keys = DeviceKeys(Ed25519PrivateKey.from_private_bytes(to_bytes(given["identityPrivateKey"])))
        body = {"linkToken": seen["linkToken"]} | keys.upload() | changes
        session = await self.node.call("POST", "/devices/links/complete", body)
        assert session["userId"] == given["userId"]
        return Device(self.node, number, session, keys)


@dataclass(slots=True)
class Approver:
    """A device of an account that has scanned a QR."""

    device: Device
    pair: DhPair
    scanned: Body
    secrets: LinkSecrets
    path: str
    #: Sealed once, and posted again as it is.
    sealed: str = ""

    @classmethod
    async def scan_offer(cls, device: Device, newcomer: NewDevice) -> "Approver":
        """It reads the QR and takes the link. Raises Refused."""
        offer, pair = LinkOffer.read(newcomer.offer.uri()), DhPair.generate()
        scanned = await device.call("POST", f"{newcomer.path}/scan", {"publicKey": base64_text(pair.public)})
        return cls(device, pair, scanned, LinkSecrets.derive(offer, pair, pair.public), newcomer.path)

    async def approve(self, **more: Any) -> Body:
        """The digits are the same: hand over the identity. Raises Refused."""
        given = {
            "v": 1,
            "kind": "provisioning",
            "userId": self.device.user_id,
            "identityPrivateKey": base64_text(self.device.keys.identity.private_bytes_raw()),
        }
        self.sealed = self.sealed or base64_text(self.secrets.seal(json.dumps(given).encode()))
        return await self.device.call("POST", f"{self.path}/approve", {"provisioning": self.sealed} | more)

    async def reject(self) -> Body:
        """They are not. Raises Refused."""
        return await self.device.call("POST", f"{self.path}/reject")


async def link_device(device: Device) -> Device:
    """One device more for this account, by the whole way."""
    newcomer = await NewDevice.request_link(device.node)
    approver = await Approver.scan_offer(device, newcomer)
    await newcomer.fetch_link(wait=10)
    await approver.approve()
    return await newcomer.complete(await newcomer.fetch_link(wait=10), device.number)
