"""One-time codes in the file of a node that sends none (VYRY_SMS=file:PATH). A module of its own: `vyry client` reads codes without loading the node."""

import asyncio
import json
from pathlib import Path

from vyry.errors import CommandError


async def read_latest_code(codes: Path, phone_number: str) -> str:
    """The newest code in a file that a node writes (VYRY_SMS=file:PATH). Raises CommandError."""
    try:
        lines = (await asyncio.to_thread(codes.read_text, encoding="utf-8")).splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as failed:
        raise CommandError(f"Cannot read the one-time codes in {codes} ({failed.strerror}).") from None
    sent = [entry["otp"] for entry in map(json.loads, lines) if entry["phoneNumber"] == phone_number]
    if not sent:
        raise CommandError(f"{codes} has no code for this number. Check that the node runs with VYRY_SMS=file:{codes}.")
    return str(sent[-1])
