"""`vyry check` on stored telephone numbers: accounts that one number has twice, and accounts that no spelling of their number finds any more."""

from vyry.cli.findings import Finding
from vyry.cli.peppers import load_pepper
from vyry.errors import Unavailable
from vyry.operator.stored_numbers import NumberScan, scan_numbers
from vyry.settings import Settings
from vyry.storage.database import open_database


_MAX_SHOWN = 5


async def check_phone_numbers(settings: Settings) -> list[Finding]:
    """Look at every stored number. Nothing where this machine has no pepper: without it a number cannot be read."""
    pepper = load_pepper(settings)
    if pepper is None:
        return []
    try:
        async with open_database(settings.database_url.get_secret_value()):
            found = await scan_numbers(pepper)
    except Unavailable as problem:
        return [Finding("numbers", "warning", f"They could not be looked at: {problem.problem}")]
    return _to_findings(found) or [Finding("numbers", "ok", "Each is stored once, in canonical form.")]


def _to_findings(found: NumberScan) -> list[Finding]:
    lines = []
    if found.duplicated:
        groups = "; ".join(" and ".join(map(str, group)) for group in found.duplicated[:_MAX_SHOWN])
        more = f" (and {len(found.duplicated) - _MAX_SHOWN} more numbers)" if len(found.duplicated) > _MAX_SHOWN else ""
        ask = "Look at them with `vyry user show`, and delete the one that its owner does not use with `vyry user delete`."
        lines.append(f"One number has two accounts: {groups}{more}. {ask}")
    if found.outdated:
        count = len(found.outdated)
        lines.append(
            f"{count} stored in an old form, so that their owners cannot sign in: run `vyry user canonical-numbers`."
        )
    if found.unreadable:
        lines.append(f"{found.unreadable} cannot be read, or are none by today's rules: see `vyry user show`.")
    return [Finding("numbers", "warning", line) for line in lines]
