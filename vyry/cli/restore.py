"""`vyry restore`: put a backup in the place of a node's data, while no node runs."""

import json

from vyry.cli.backup import (
    ASK_PASSPHRASE,
    DEFAULT_CONTENTS,
    BackupContents,
    Opening,
    own_settings,
    run_with_progress,
)
from vyry.cli.command_line import FilePath, Flag, JsonFlag
from vyry.cli.operator import CURRENT_OPERATOR, Operator
from vyry.cli.prompts import confirm_operation
from vyry.kernel.time import format_moment
from vyry.operator.backup.restoring import Restored, check_restore, restore_backup
from vyry.operator.backup.verifying import Contents


def restore(
    from_: FilePath,
    *,
    opening: Opening = ASK_PASSPHRASE,
    contents: BackupContents = DEFAULT_CONTENTS,
    force: Flag = False,
    yes: Flag = False,
    as_json: JsonFlag = False,
    by: Operator = CURRENT_OPERATOR,
) -> int:
    """Restore a backup while no node runs.

    It reads the whole backup first, and keeps what was there under another name. The first node detects the restore and deletes all one-time prekeys.

    Args:
        from_: The backup.
        opening: What opens it.
        contents: What is restored.
        force: Replace a database that is not empty, and secrets that differ. Both are kept under another name.
        yes: Skip the confirmation prompt.
        as_json: Print one JSON object.
        by: The operator and the reason.
    """
    target, unseal = contents.installation(own_settings()), opening.unseal()
    with from_.open("rb") as file:
        found = run_with_progress(lambda report: check_restore(file, unseal, target, replaces=force, report=report))
        moment = format_moment(found.about.created_at)
        if not confirm_operation(f"This restores the state of {moment} (Vyry {found.about.version})", yes=yes):
            return 1
        act = by.audit_entry("restore", details=f"backup of {moment}")

        done = run_with_progress(lambda report: restore_backup(file, unseal, target, act=act, report=report))
    _print_restored(found, done, as_json=as_json)
    return 0


def _print_restored(found: Contents, done: Restored, *, as_json: bool) -> None:
    created_at = found.about.created_at
    if as_json:
        print(json.dumps({"createdAt": created_at.isoformat(), "kept": done.kept}))
        return
    print(f"Restored the state of {format_moment(created_at)}.")
    for name in done.kept:
        print(f"Kept: {name}. Delete it when the restored node works.")
    print("Next: `vyry migrate`, `vyry check`, then start the nodes. They detect the restore by themselves.")
