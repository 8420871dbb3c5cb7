"""`vyry push`: explain the pushes of a device, and send it one."""

import asyncio
import json

from cyclopts import App

from vyry.cli.account_lookup import find_named_device, pseudonym
from vyry.cli.command_line import Flag, FreeText, JsonFlag
from vyry.cli.operator import CURRENT_OPERATOR, Operator, run_in_database
from vyry.cli.push_text import push_json, push_lines
from vyry.clock import SystemClock
from vyry.composition.push import build_pools
from vyry.devices.push import PushTarget
from vyry.devices.push_wakeups import TRY_SECONDS, Pusher, PushOutcome, PushResult
from vyry.errors import CommandError, OperationRefused
from vyry.operator.audit import record_action
from vyry.operator.mailboxes import DeviceRecord
from vyry.operator.push_details import PushDetails, load_push_details, load_push_target
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.database import transaction


app = App(name="push")
_ADVICE = {
    PushResult.GONE: "the push service does not know the device any more; the node deletes the target at its next push",
    PushResult.REFUSED: "the push service refuses it, or is not configured on this machine: check the settings VYRY_FCM_..., VYRY_APNS_... or the VAPID key",
    PushResult.LATER: "the push service asks to retry later, or cannot be reached from this machine",
}


@app.command
def explain(device: FreeText, *, ids: Flag = False, as_json: JsonFlag = False) -> int:
    """Show the push service of a device, its planned wake-up, and what the push service said last.

    Args:
        device: The device: ACCOUNT/NUMBER, or a mailbox id.
        ids: Show the mailbox id; otherwise a pseudonym of it.
        as_json: Print one JSON object.
    """
    settings = load_settings(Role.TOOL)

    async def work() -> tuple[DeviceRecord, PushDetails]:
        found = await find_named_device(device, settings)
        return found, await load_push_details(found.device)

    found, push = run_in_database(settings, work)
    name = str(found.mailbox_id) if ids else pseudonym(found.mailbox_id)
    if as_json:
        print(json.dumps({"mailboxId": name, "deviceId": found.number, **push_json(push)}, indent=2))
    else:
        print("\n".join(f"{title:<22} {text}" for title, text in [("mailbox", name), *push_lines(push)]))
    return 0


@app.command(name="test")
def send_test(device: FreeText, *, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Send a push to a device now, with the push settings of this machine, and show what the push service said.

    The push has no content: the device wakes and connects, as for new mail.

    Args:
        device: The device: ACCOUNT/NUMBER, or a mailbox id.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    settings = load_settings(Role.TOOL)
    outcome = run_in_database(settings, lambda: _send_test(device, settings, by))
    if as_json:
        print(json.dumps({"result": outcome.result.value, "status": outcome.status}))
    else:
        status = f" (status {outcome.status})" if outcome.status else ""
        print(f"{outcome.result.value}{status}: {_ADVICE.get(outcome.result, 'the push service took it')}.")
    return 0 if outcome.result is PushResult.SENT else 1


async def _send_test(device: str, settings: Settings, by: Operator) -> PushOutcome:
    found = await find_named_device(device, settings)
    target = await load_push_target(found.device)
    if target is None:
        raise OperationRefused("The device has no push target: it registers one when its app next connects.")
    async with transaction() as tx:
        await record_action(tx, by.audit_entry("pushTest", found.account_id, f"device {found.number}"))
    pools = build_pools(settings, SystemClock())
    try:
        pusher = next(pool.pusher for pool in pools if target.kind in pool.kinds)
        return await _push(pusher, target)
    finally:
        await asyncio.gather(*(pool.pusher.close() for pool in pools))


async def _push(pusher: Pusher, target: PushTarget) -> PushOutcome:
    try:
        async with asyncio.timeout(TRY_SECONDS):
            return await pusher.push(target, is_urgent=True)
    except TimeoutError:
        raise CommandError(f"The push service did not answer within {TRY_SECONDS:.0f} s.") from None
