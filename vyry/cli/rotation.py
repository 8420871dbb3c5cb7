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
from vyry.cli.operator import CURRENT_OPERATOR, Operator, require_pepper, run_in_database, write_audit_entry
from vyry.clock import SystemClock
from vyry.errors import CommandError
from vyry.operator import pepper_rotation as rehashing
from vyry.operator.secret_files import read_peppers, read_signing_keys, write_peppers, write_signing_keys
from vyry.operator.secret_reloader import RELOAD_SECONDS
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.peppers import PepperEntry, list_peppers


#: A new key signs once every node has loaded it: nodes read the file every few seconds; the rest allows for clock skew.
_KEY_LEAD_SECONDS: Final = 60
#: As above for a pepper that all nodes have in their files: nodes read from the database which one is in use.
_PEPPER_LEAD_SECONDS: Final = round(5 * RELOAD_SECONDS)
#: One-time codes and registrations that wait for a PIN expire within this time.
_RETIRE_AFTER: Final = timedelta(hours=1)
_SECRET_BYTES: Final = 48
Seconds = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=86_400 * 7))]


def rotate_keys(*, by: Operator = CURRENT_OPERATOR, now: Flag = False, after: Seconds = _KEY_LEAD_SECONDS) -> int:
    """Rotate the key that signs access tokens.

    Users stay signed in.

    Adds a key to the file VYRY_KEY_RING_FILE. Nodes reload the file within seconds and sign with the new key from its start time; older keys stay valid
    until the tokens they signed have expired. With nodes on several hosts, copy the file to all of them before the start time (see --after).

    Args:
        by: The operator and the reason.
        now: For a leaked key: the new key signs at once, and all other keys are removed. Every access token and its
            WebSocket become invalid as soon as a node reloads the file; clients refresh by themselves.
        after: Seconds until nodes sign with the new key.
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
    print(f"{path}: {fresh.key_id} signs {'from now on' if now else f'from {begins:%H:%M:%S} UTC'}.")
    for key in kept:
        print(f"{key.key_id or 'JWT_SECRET'} is valid until {key.good_until:%Y-%m-%d %H:%M:%S} UTC.")
    print(
        "All existing access tokens become invalid within seconds."
        if now
        else "Existing access tokens stay valid until they expire."
    )
    print("Copy the file to all other hosts" + (" at once." if now else " before that time."))
    write_audit_entry(
        settings.database_url.get_secret_value(),
        by.audit_entry("rotateKeys", details="all others dropped" if now else ""),
    )
    return 0


def _expiring_keys(old: Sequence[SigningKey], until: datetime) -> list[SigningKey]:
    """The keys that are still valid, each until the tokens that it signed expire."""
    moment = SystemClock().now()
    good = [key for key in old if key.is_good(moment)]
    return [SigningKey(key.key_id, key.secret, key.signs_from, key.good_until or until) for key in good]


def rotate_pepper(
    *,
    by: Operator = CURRENT_OPERATOR,
    add: Flag = False,
    retire: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
) -> int:
    """Rotate the pepper that protects stored phone numbers, while nodes run.

    Adds a pepper to the file VYRY_PEPPER_FILE unless it has an unused one, switches all nodes to it, then hashes and encrypts every number again. If interrupted,
    run it again to continue. With nodes on several hosts: run it with --add, copy the file to all hosts, then run it without --add.

    Args:
        by: The operator and the reason.
        add: Only add a pepper to the file; do not use it yet.
        retire: Remove this old pepper from the file, if no number uses it.
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
        print(f"{settings.pepper_file}: pepper {max(ring)} was already added.")
    if add:
        print("Copy the file to all nodes, then run `vyry rotate-pepper`.")
        return 0
    if waiting == 0:
        newest = max(ring)
        _begin_use(settings, newest, ring[newest], by)
    return _rehash_numbers(settings, Pepper(ring, newest), newest)


def _load_used_peppers(settings: Settings) -> list[PepperEntry]:
    used = run_in_database(settings, list_peppers)
    if not used:
        raise CommandError("No node of this release has used this database yet: start a node first.")
    return used


def _load_complete_ring(settings: Settings, used: Sequence[PepperEntry]) -> dict[int, bytes]:
    """The peppers of the file. Raises CommandError when it lacks one that the database uses."""
    ring = read_peppers(settings.pepper.get_secret_value())
    for each in used:
        if each.pepper_id not in ring or fingerprint(ring[each.pepper_id]) != each.fingerprint:
            raise CommandError(
                f"{settings.pepper_file} does not contain pepper {each.pepper_id} that the nodes use: copy the file from a node first."
            )
    return ring


def _add_pepper(settings: Settings, ring: dict[int, bytes]) -> dict[int, bytes]:
    grown = {**ring, max(ring) + 1: secrets.token_urlsafe(_SECRET_BYTES).encode()}
    write_peppers(settings.pepper_file, grown)
    print(f"{settings.pepper_file}: pepper {max(grown)} added. Back up the file and copy it to all other hosts.")
    return grown


def _begin_use(settings: Settings, newest: int, secret: bytes, by: Operator) -> None:
    begins = SystemClock().now() + timedelta(seconds=_PEPPER_LEAD_SECONDS)
    pepper = PepperEntry(newest, fingerprint(secret), begins)
    run_in_database(
        settings,
        lambda: rehashing.activate_pepper(pepper, by.audit_entry("rotatePepper", details=f"pepper {pepper.pepper_id}")),
    )
    print(
        f"All nodes use pepper {pepper.pepper_id} from {pepper.used_from:%H:%M:%S} UTC; waiting {_PEPPER_LEAD_SECONDS} s."
    )
    time.sleep(_PEPPER_LEAD_SECONDS + RELOAD_SECONDS)


def _rehash_numbers(settings: Settings, pepper: Pepper, newest: int) -> int:
    done = run_in_database(settings, lambda: rehashing.rehash_numbers(pepper, newest, _print_progress))
    print(f"{done.moved} phone numbers moved to pepper {newest}.")
    if done.unreadable:
        print(
            f"vyry: {done.unreadable} phone numbers use a pepper that is missing from the file: restore the file from a backup and run this command again.",
            file=sys.stderr,
        )
        return 1
    print(f"In an hour, run `vyry rotate-pepper --retire {newest - 1}` to remove the old pepper from the file.")
    return 0


def _print_progress(done: int, total: int) -> None:
    print(f"{done} of {total} phone numbers", flush=True)


def _retire_pepper(settings: Settings, pepper_id: int, by: Operator) -> int:
    ring = _load_complete_ring(settings, _load_used_peppers(settings))
    act = by.audit_entry("retirePepper", details=f"pepper {pepper_id}")
    try:
        run_in_database(settings, lambda: rehashing.retire_pepper(pepper_id, SystemClock().now() - _RETIRE_AFTER, act))
    except rehashing.PepperInUse as why:
        raise CommandError(f"Pepper {pepper_id} was not removed: {why}") from None
    write_peppers(settings.pepper_file, {number: secret for number, secret in ring.items() if number != pepper_id})
    print(
        f"{settings.pepper_file}: pepper {pepper_id} removed. Copy the file to all other hosts. Delete backups of the old file when the matching database backups are deleted."
    )
    return 0
