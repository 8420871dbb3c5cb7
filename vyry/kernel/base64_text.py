"""Bytes as standard base64 text with padding."""

import base64


def encode_base64(value: bytes) -> str:
    """The base64 text of these bytes."""
    return base64.b64encode(value).decode()


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 text. Raises ValueError."""
    return base64.b64decode(text, validate=True)
