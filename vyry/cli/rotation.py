"""`vyry rotate-keys` and `vyry rotate-pepper`: new secrets while the nodes run."""

import secrets
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from cyclopts import Parameter, validators

from vyry.accounts.phone import Pepper, fingerprint
from vyry.accounts.signing import SigningKey
from vyry.accounts.tokens import LEEWAY
from vyry.cli.command_line import Flag
from vyry.cli.errors import CommandError
from vyry.cli.operator import CURRENT_OPERATOR, Operator, require_pepper, run_in_database, write_audit_entry
from vyry.clock import SystemClock
from vyry.operator import pepper_rotation as rehashing
from vyry.operator.secret_files import read_peppers, read_signing_keys, write_peppers, write_signing_keys
from vyry.operator.secret_reloader import RELOAD_SECONDS
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.peppers import PepperEntry, list_peppers


#: A new key signs once every node knows it: nodes read the file each few seconds; the rest is for clocks that differ.
_KEY_LEAD_SECONDS: Final = 60
#: The same for a pepper that all nodes have in their files: they ask the database which one is in use.
_PEPPER_LEAD_SECONDS: Final = round(5 * RELOAD_SECONDS)
#: Codes, and numbers that wait for their PIN, are forgotten by then.
_RETIRE_AFTER: Final = timedelta(hours=1)
_SECRET_BYTES: Final = 48
Seconds = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=86_400 * 7))]


def rotate_keys(*, by: Operator = CURRENT_OPERATOR, now: Flag = False, after: Seconds = _KEY_LEAD_SECONDS) -> int:
    """Sign access tokens with a new key; nobody has to sign in again.

    Adds a key to the file VYRY_KEY_RING_FILE. Nodes read it anew within seconds and sign with the key from its moment on; the keys before it stay good
    until the tokens they signed have ended. With nodes on several hosts copy the file to all of them before that moment (--after gives time).

    Args:
        by: Who does it, and why.
        now: A key has leaked: the new one signs at once, all others are worthless as soon as a node reads the file. Every access token ends, and its
            socket; clients refresh by themselves.
        after: Seconds until the new key signs.
    """
    settings = load_settings(Role.TOOL)
    path, moment = settings.key_ring_file, SystemClock().now()
    old = read_signing_keys(path, b"-" * _SECRET_BYTES)
    begins = moment if now else moment + timedelta(seconds=after)
    fresh = SigningKey(f"k{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", secrets.token_bytes(_SECRET_BYTES), begins)
    kept = (
        []
        if now
        else _expiring_keys(old, begins + settings.jwt_expiration + 2 * LEEWAY + timedelta(seconds=_KEY_LEAD_SECONDS))
    )
    write_signing_keys(path, [*kept, fresh])
    print(f"{path}: {fresh.key_id} signs {'from now on' if now else f'from {begins:%H:%M:%S} UTC on'}.")
    for key in kept:
        print(f"{key.key_id or 'JWT_SECRET'} is good until {key.good_until:%Y-%m-%d %H:%M:%S} UTC.")
    print("All access tokens of before end within seconds." if now else "Tokens of before go on until they end.")
    print("Nodes on other hosts need a copy of the file" + (" at once." if now else " before that moment."))
    write_audit_entry(
        settings.database_url.get_secret_value(),
        by.audit_entry("rotateKeys", details="all others dropped" if now else ""),
    )
    return 0


def _expiring_keys(old: Sequence[SigningKey], until: datetime) -> list[SigningKey]:
    """The keys that are still good, each until the tokens it signed have ended."""
    moment = SystemClock().now()
    good = [key for key in old if key.is_good(moment)]
    return [SigningKey(key.key_id, key.secret, key.signs_from, key.good_until or until) for key in good]


def rotate_pepper(
    *,
    by: Operator = CURRENT_OPERATOR,
    add: Flag = False,
    retire: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
) -> int:
    """Hide all phone numbers under a new pepper, while the nodes run.

    Adds a pepper to the file VYRY_PEPPER_FILE unless there is an unused one, has all nodes use it, and hashes and seals every number anew. Stopped half-way
    it goes on where it was when it is run again. With nodes on several hosts: --add first, copy the file to all of them, then run it without.

    Args:
        by: Who does it, and why.
        add: Only add a pepper to the file; nothing uses it yet.
        retire: Take this old pepper out of the file, if nothing needs it any more.
    """
    settings = load_settings(Role.TOOL)
    require_pepper(settings)
    if retire is not None:
        return _retire_pepper(settings, retire, by)
    used = _load_used_peppers(settings)
    ring = _load_complete_ring(settings, used)
    newest = max(each.pepper_id for each in used)
    waiting = run_in_database(settings, lambda: rehashing.count_on_older_peppers(newest))
    if waiting == 0 and max(ring) <= newest:
        ring = _add_pepper(settings, ring)
    elif add and max(ring) <= newest:
        raise CommandError(f"Pepper {newest} is in use and its rehash is not finished: run `vyry rotate-pepper` first.")
    elif add:
        print(f"{settings.pepper_file}: pepper {max(ring)} is there already.")
    if add:
        print("When all nodes have this file run `vyry rotate-pepper`.")
        return 0
    if waiting == 0:
        newest = max(ring)
        _begin_use(settings, newest, ring[newest], by)
    return _rehash_numbers(settings, Pepper(ring, newest), newest)


def _load_used_peppers(settings: Settings) -> list[PepperEntry]:
    used = run_in_database(settings, list_peppers)
    if not used:
        raise CommandError("No node has run on this database with this release: start one first.")
    return used


def _load_complete_ring(settings: Settings, used: Sequence[PepperEntry]) -> dict[int, bytes]:
    """What the file holds, which must be all that the installation uses. Raises CannotServe."""
    ring = read_peppers(settings.pepper.get_secret_value())
    for each in used:
        if each.pepper_id not in ring or fingerprint(ring[each.pepper_id]) != each.fingerprint:
            raise CommandError(
                f"{settings.pepper_file} lacks pepper {each.pepper_id} as the nodes have it: copy their file first."
            )
    return ring


def _add_pepper(settings: Settings, ring: dict[int, bytes]) -> dict[int, bytes]:
    grown = {**ring, max(ring) + 1: secrets.token_urlsafe(_SECRET_BYTES).encode()}
    write_peppers(settings.pepper_file, grown)
    print(
        f"{settings.pepper_file}: pepper {max(grown)} added. Back the file up; nodes on other hosts need a copy of it."
    )
    return grown


def _begin_use(settings: Settings, newest: int, secret: bytes, by: Operator) -> None:
    begins = SystemClock().now() + timedelta(seconds=_PEPPER_LEAD_SECONDS)
    pepper = PepperEntry(newest, fingerprint(secret), begins)
    run_in_database(
        settings,
        lambda: rehashing.activate_pepper(pepper, by.audit_entry("rotatePepper", details=f"pepper {pepper.pepper_id}")),
    )
    print(
        f"All nodes use pepper {pepper.pepper_id} from {pepper.used_from:%H:%M:%S} UTC on; waiting {_PEPPER_LEAD_SECONDS} s for that."
    )
    time.sleep(_PEPPER_LEAD_SECONDS + RELOAD_SECONDS)


def _rehash_numbers(settings: Settings, pepper: Pepper, newest: int) -> int:
    done = run_in_database(settings, lambda: rehashing.rehash_numbers(pepper, newest, _print_progress))
    print(f"{done.moved} numbers hidden under pepper {newest}.")
    if done.unreadable:
        print(
            f"vyry: {done.unreadable} numbers are under a pepper that the file lacks: put it back and run this again.",
            file=sys.stderr,
        )
        return 1
    print(f"In an hour `vyry rotate-pepper --retire {newest - 1}` takes the old one out of the file.")
    return 0


def _print_progress(done: int, total: int) -> None:
    print(f"{done} of {total}", flush=True)


def _retire_pepper(settings: Settings, pepper_id: int, by: Operator) -> int:
    ring = _load_complete_ring(settings, _load_used_peppers(settings))
    act = by.audit_entry("retirePepper", details=f"pepper {pepper_id}")
    try:
        run_in_database(settings, lambda: rehashing.retire_pepper(pepper_id, SystemClock().now() - _RETIRE_AFTER, act))
    except rehashing.PepperInUse as why:
        raise CommandError(f"Pepper {pepper_id} stays: {why}") from None
    write_peppers(settings.pepper_file, {number: secret for number, secret in ring.items() if number != pepper_id})
    print(
        f"{settings.pepper_file}: pepper {pepper_id} is gone. Copy the file to the other hosts; keep no backup of the old one longer than the database's."
    )
    return 0
