"""`vyry user`: commands of the operator about one account. Every action is written to the audit log (`vyry audit`)."""

import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

from cyclopts import App, Parameter

from vyry.cli.account_lookup import find_account
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.cli.command_line import Flag, FreeText, JsonFlag
from vyry.cli.operator import CURRENT_OPERATOR, Operator, load_pepper, require_pepper, run_in_database
from vyry.cli.prompts import confirm_operation
from vyry.errors import CommandError, NotFound
from vyry.kernel.ids import UserId
from vyry.operator import accounts as operating
from vyry.operator.accounts import AccountDetails
from vyry.operator.stored_numbers import scan_numbers, store_canonical_numbers
from vyry.settings.settings import Role, Settings, load_settings


T = TypeVar("T")

app = App(name="user")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedOperator(Operator):
    """The operator of a command that requires a reason and a confirmation.

    Args:
        operator: Operator name for the audit log (default: your system user).
        reason: Reason for the audit log (required).
        yes: Skip the confirmation prompt.
        as_json: Print one JSON object.
    """

    reason: FreeText
    yes: Flag = False
    as_json: JsonFlag = False


@app.command
def show(user: str, *, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False, number: Flag = False) -> int:
    """Show what the node stores about an account: devices, PIN, suspension. The phone number is masked.

    Args:
        user: The account: user id, username or phone number (+...).
        as_json: Print one JSON object.
        number: Show the full phone number. Requires --reason; the access is logged and visible to the account owner.
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    if number and not by.reason:
        raise CommandError("--number requires a reason: add --reason TEXT.")

    async def work() -> AccountDetails:
        pepper = load_pepper(settings)
        user_id = await find_account(user, settings)
        shown = await operating.load_account(user_id, pepper, by.audit_entry("userShow", user_id))
        if number:
            await operating.record_number_shown(user_id, by.audit_entry("userShowNumber", user_id))
        return shown

    found = _to_json(_run_or_not_found(settings, work), in_full=number)
    print(json.dumps(found, indent=2) if as_json else _format_account(found))
    return 0


@app.command(name="list")
def list_all(*, by: Operator = CURRENT_OPERATOR, suspended: Flag = False, as_json: JsonFlag = False) -> int:
    """List all accounts, oldest first, one per line, without phone numbers.

    Args:
        by: The operator and the reason.
        suspended: List suspended accounts only.
        as_json: Print one JSON object per line.
    """
    settings = load_settings(Role.TOOL)

    async def work() -> None:
        async for each in operating.list_accounts(by.audit_entry("userList")):
            if each.suspended_at or not suspended:
                row = _json_values(asdict(each))
                print(json.dumps(row) if as_json else "  ".join(str(value) for value in row.values()))

    run_in_database(settings, work)
    return 0


@app.command
def suspend(user: str, *, by: ConfirmedOperator) -> int:
    """Suspend an account: its tokens stop working within a second. Its mailboxes still receive messages.

    Args:
        user: The account: user id, username or phone number (+...).
        by: The operator and the reason.
    """

    async def work(user_id: UserId) -> str:
        is_new = await operating.suspend_account(user_id, by.audit_entry("userSuspend", user_id))
        return "suspended" if is_new else "was suspended already"

    return _run_action("suspend", user, by, work)


@app.command
def resume(user: str, *, by: ConfirmedOperator) -> int:
    """Resume a suspended account: its tokens work again.

    Args:
        user: The account: user id, username or phone number (+...).
        by: The operator and the reason.
    """

    async def work(user_id: UserId) -> str:
        is_new = await operating.resume_account(user_id, by.audit_entry("userResume", user_id))
        return "resumed" if is_new else "was not suspended"

    return _run_action("resume", user, by, work)


@app.command
def end_devices(user: str, *, by: ConfirmedOperator) -> int:
    """Revoke all devices of an account and delete their mailboxes. The owner has to register again.

    Args:
        user: The account: user id, username or phone number (+...).
        by: The operator and the reason.
    """

    async def work(user_id: UserId) -> str:
        ended = await operating.end_all_devices(user_id, by.audit_entry("userEndDevices", user_id))
        return f"{len(ended)} devices revoked"

    return _run_action("revoke all devices of", user, by, work)


@app.command
def delete(user: str, *, by: ConfirmedOperator) -> int:
    """Delete an account: its tokens stop working at once, a worker deletes its data within a minute. Its phone number can be registered again.

    Args:
        user: The account: user id, username or phone number (+...).
        by: The operator and the reason.
    """

    async def work(user_id: UserId) -> str:
        pepper = load_pepper(load_settings(Role.TOOL))
        await operating.delete_account_as_operator(user_id, pepper, by.audit_entry("userDelete", user_id))
        return "deleted"

    return _run_action("delete", user, by, work)


@app.command
def canonical_numbers(*, by: Operator = CURRENT_OPERATOR) -> int:
    """Convert phone numbers stored by an older release to canonical form, so that their owners can sign in. Accounts that share a number are left unchanged.

    Args:
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    pepper = require_pepper(settings)

    async def work() -> str:
        found = await scan_numbers(pepper)
        stored = await store_canonical_numbers(pepper, found, by.audit_entry("userCanonicalNumbers"))
        return f"{stored} numbers converted to canonical form; {len(found.duplicated)} numbers have two accounts: run `vyry check` to list them."

    print(run_in_database(settings, work))
    return 0


def _run_action(
    action: str, user: str, by: ConfirmedOperator, work: Callable[[UserId], Coroutine[None, None, str]]
) -> int:
    """Find the account, ask for confirmation, do it, and print the outcome."""
    settings = load_settings(Role.TOOL)
    user_id = _run_or_not_found(settings, lambda: find_account(user, settings))
    if not confirm_operation(f"This would {action} {user_id}", yes=by.yes):
        return 1
    outcome = _run_or_not_found(settings, lambda: work(user_id))
    print(json.dumps({"userId": str(user_id), "outcome": outcome}) if by.as_json else f"{user_id}: {outcome}")
    return 0


def _run_or_not_found(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    try:
        return run_in_database(settings, work)
    except NotFound:
        raise CommandError("No account found. Check the user id, username or phone number.") from None


def _to_json(shown: AccountDetails, *, in_full: bool) -> dict[str, Any]:
    found = _json_values({name: getattr(shown, name) for name in shown.__slots__})
    number = shown.phone_number
    found["phone_number"] = number and (number.e164 if in_full else number.masked)
    found["devices"] = [_json_values(asdict(device)) for device in shown.devices]
    return found


def _json_values(row: dict[str, Any]) -> dict[str, Any]:
    """The values in JSON types."""
    return {
        name: value.isoformat()
        if isinstance(value, (datetime, date))
        else str(value)
        if isinstance(value, UUID)
        else value
        for name, value in row.items()
    }


def _format_account(found: dict[str, Any]) -> str:
    devices = found.pop("devices")
    lines = [
        f"{name.replace('_', ' '):<22} {'-' if value is None else sanitize_line(value)}"
        for name, value in found.items()
    ]
    for each in devices:
        kind = "primary" if each["is_primary"] else "linked"
        lines.append(
            f"device {each['device_id']:<15} {kind}, {each['platform']}, {quote_name(each['name'])}, last seen {each['last_seen_on']}, {each['waiting']} messages queued"
        )
    return "\n".join(lines)
