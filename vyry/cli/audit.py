"""`vyry audit`: what operators did."""

import json
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from vyry.cli.client.terminal_text import sanitize_line
from vyry.cli.operator import run_in_database
from vyry.operator.audit import read_acts
from vyry.settings import Role, load_settings


def audit(
    *, since: datetime | None = None, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> int:
    """Read the log of what operators did, oldest first. The database lets nobody change or delete a line of it.

    Args:
        since: Only from this moment on (2026-01-31 or 2026-01-31T12:00:00, UTC unless it says otherwise).
        as_json: A JSON object a line.
    """
    begin = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since

    async def work() -> None:
        async for act in read_acts(begin):
            subject = str(act.subject) if act.subject else None
            if as_json:
                row = {"at": act.at.isoformat(), "operator": act.operator, "act": act.action, "subject": subject}
                print(json.dumps({**row, "reason": act.reason}))
            else:
                print(
                    f"{act.at:%Y-%m-%d %H:%M:%S}Z  {sanitize_line(act.operator)}  {act.action}  {subject or '-'}  {sanitize_line(act.reason, 500)}"
                )

    run_in_database(load_settings(Role.TOOL), work)
    return 0
