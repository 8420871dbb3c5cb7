"""Signed requests to the operator's webhooks: codes to send, sign-up proofs to verify."""

import hmac
from typing import Final

from vyry.clock import Clock
from vyry.delivery.gateway import GatewayRequest
from vyry.kernel.time import to_milliseconds


SIGNATURE_HEADER: Final = "Vyry-Signature"
TIMESTAMP_HEADER: Final = "Vyry-Timestamp"


def signed_request(url: str, key: bytes, clock: Clock, body: bytes) -> GatewayRequest:
    """A POST request with this JSON body, signed."""
    timestamp = str(to_milliseconds(clock.now()) // 1000)
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"v1={webhook_signature(key, timestamp, body)}",
    }
    return GatewayRequest(url, body, headers)


def webhook_signature(key: bytes, timestamp: str, body: bytes) -> str:
    """The hex signature over a timestamp and a body."""
    return hmac.digest(key, timestamp.encode() + b"." + body, "sha256").hex()


def webhook_key(jwt_secret: bytes) -> bytes:
    """The key that webhooks verify with, derived from JWT_SECRET: it cannot sign access tokens."""
    return hmac.digest(jwt_secret, b"vyry sms webhook 1", "sha256")
