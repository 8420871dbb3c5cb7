"""Fuzz targets of what devices read from each other, and of what people type: whatever is taken is written in one way only."""

import unicodedata
from uuid import UUID

from vyry.accounts.pin_rules import LEAST, MOST, check_new_pin, normalize_pin
from vyry.errors import InvalidRequest
from vyry.signal_protocol.contents import read_content
from vyry.signal_protocol.frame import pad, unpad
from vyry.signal_protocol.handshake import Prefix
from vyry.signal_protocol.linking import LinkOffer
from vyry.signal_protocol.refusals import Refusal


def link_offer(raw: bytes) -> None:
    """The text in a QR: an offer of a new device, or refused."""
    text = raw.decode("utf-8", "surrogateescape")
    try:
        offer = LinkOffer.read(text)
    except Refusal:
        return
    assert offer.uri() == text


def prekey_prefix(raw: bytes) -> None:
    """What stands before a first message: packed again it is the same bytes."""
    try:
        prefix = Prefix.unpack(raw)
    except Refusal:
        return
    assert raw.startswith(prefix.pack())


def padding(raw: bytes) -> None:
    """What padding leaves is what padding makes."""
    try:
        content = unpad(raw)
    except Refusal:
        assert unpad(pad(raw)) == raw
        return
    assert pad(content) == raw


def content(raw: bytes) -> None:
    """What a device says inside of the encryption: a content of this conversation, or refused."""
    try:
        read_content(raw, UUID(int=1))
    except Refusal:
        return
    raw.decode("utf-8")


def new_pin(raw: bytes) -> None:
    """A PIN has one form, whatever keyboard typed it, and a good one is as long as it must be."""
    text = raw.decode("utf-8", "replace")
    form = normalize_pin(text)
    assert normalize_pin(form) == form
    assert normalize_pin(unicodedata.normalize("NFD", text)) == form
    try:
        check_new_pin(text, "+4915112345678", "pin")
    except InvalidRequest:
        return
    assert LEAST <= len(form) <= MOST
    assert form not in "+4915112345678"
