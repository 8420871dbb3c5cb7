"""A new test device that asks to be linked, and the device that lets it in: real keys, real digits (signal-protocol.md section 11)."""

import json
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.chain import octets
from tests.client import Body, Device, Node, Refused, Unclear
from tests.device_keys import DeviceKeys, base64_text
from tests.documented import assert_documented
from vyry.signal_protocol.linking import LinkOffer, LinkSecrets
from vyry.signal_protocol.primitives import DhPair


@dataclass(slots=True)
class Newcomer:
    """The new device, up to its first session."""

    node: Node
    offer: LinkOffer
    link: Body
    pair: DhPair

    @classmethod
    async def ask(cls, node: Node, name: str = "tablet") -> "Newcomer":
        """It asks for a link, and can show its QR."""
        pair = DhPair.fresh()
        body = {"publicKey": base64_text(pair.public), "name": name, "platform": "desktop"}
        link = await node.call("POST", "/devices/links", body)
        return cls(node, LinkOffer(UUID(link["linkId"]), pair.public, secrets.token_bytes(32)), link, pair)

    @property
    def path(self) -> str:
        """Where its link is."""
        return f"/devices/links/{self.link['linkId']}"

    async def look(self, wait: int = 0, secret: str | None = None, node: Node | None = None) -> Body:
        """How its link stands. Raises Refused."""
        at = node or self.node
        headers = {"X-Link-Secret": self.link["linkSecret"] if secret is None else secret}
        async with at.http.get(f"{at.url}/api/v1{self.path}?wait={wait}", headers=headers) as answer:
            body: Body = await answer.json()
        assert_documented("GET", f"/api/v1{self.path}", answer.status, body)
        if answer.status >= 500:
            raise Unclear(str(body))
        if answer.status >= 400:
            raise Refused(answer.status, body)
        return body

    def secrets(self, seen: Body) -> LinkSecrets:
        """What it shares with whoever the node says has scanned."""
        return LinkSecrets.of(self.offer, self.pair, octets(seen["approverPublicKey"]))

    async def complete(self, seen: Body, number: str, **changes: Any) -> Device:
        """Open what it was given and come to life."""
        given = json.loads(self.secrets(seen).open(octets(seen["provisioning"])))
        keys = DeviceKeys(Ed25519PrivateKey.from_private_bytes(octets(given["identityPrivateKey"])))
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
    async def scan(cls, device: Device, newcomer: Newcomer) -> "Approver":
        """It reads the QR and takes the link. Raises Refused."""
        offer, pair = LinkOffer.read(newcomer.offer.uri()), DhPair.fresh()
        scanned = await device.call("POST", f"{newcomer.path}/scan", {"publicKey": base64_text(pair.public)})
        return cls(device, pair, scanned, LinkSecrets.of(offer, pair, pair.public), newcomer.path)

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


async def link(device: Device) -> Device:
    """One device more for this account, by the whole way."""
    newcomer = await Newcomer.ask(device.node)
    approver = await Approver.scan(device, newcomer)
    await newcomer.look(wait=10)
    await approver.approve()
    return await newcomer.complete(await newcomer.look(wait=10), device.number)
