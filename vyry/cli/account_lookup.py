"""The accounts and devices that commands of the operator name."""

import re
from contextlib import suppress
from hashlib import blake2b
from typing import Final
from uuid import UUID

from vyry.accounts.phone import PhoneNumber
from vyry.cli.errors import UsageError
from vyry.cli.operator import load_pepper, require_pepper
from vyry.errors import CommandError, NotFound
from vyry.kernel.ids import UserId
from vyry.kernel.phone_numbers import InvalidPhoneNumber, looks_like_number, normalize_number
from vyry.operator import accounts as operating
from vyry.operator.mailboxes import DeviceRecord, find_device, find_mailbox
from vyry.settings.settings import Settings


_DEVICE: Final = re.compile(r"(?P<account>.+)/(?P<number>[1-9]\d{0,2})")
_PSEUDONYM_BYTES: Final = 5


async def find_account(user: str, settings: Settings) -> UserId:
    """The account with this user id, username or phone number. Raises NotFound, CommandError, Unavailable."""
    return await operating.find_account(_parse_account(user, settings), load_pepper(settings))


async def find_named_device(name: str, settings: Settings) -> DeviceRecord:
    """The device that `ACCOUNT/NUMBER` or a mailbox id names. Raises CommandError, Unavailable."""
    device = _DEVICE.fullmatch(name)
    try:
        if device:
            return await find_device(await find_account(device["account"], settings), int(device["number"]))
        return await find_mailbox(_parse_mailbox_id(name))
    except NotFound:
        raise CommandError(
            "No such device. Check the account and the device number (`vyry user show ACCOUNT`), or the mailbox id."
        ) from None


def pseudonym(value: UUID) -> str:
    """A short name of an id: the same each time, and no way back to it. Ids are random, so a hash without a key does."""
    return f"~{blake2b(value.bytes, digest_size=_PSEUDONYM_BYTES, person=b'vyry pseudonym').hexdigest()}"


def _parse_mailbox_id(name: str) -> UUID:
    try:
        return UUID(name)
    except ValueError:
        raise UsageError(f"{name!a} names no device: give ACCOUNT/NUMBER, such as @ann/1, or a mailbox id.") from None


def _parse_account(user: str, settings: Settings) -> UUID | PhoneNumber | str:
    with suppress(ValueError):
        return UUID(user)
    if not (looks_like_number(user) and user.startswith(("+", "00"))):
        # Other commands print usernames with @.
        return user.removeprefix("@")
    require_pepper(settings)
    try:
        return PhoneNumber(normalize_number(user))
    except InvalidPhoneNumber as problem:
        raise CommandError(f"Not a valid phone number: {problem}.") from None
