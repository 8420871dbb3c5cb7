"""`vyry invite`: invitations to sign up. Every change is written to the audit log (`vyry audit`)."""

import io
import json
import re
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import segno
from cyclopts import App, Parameter
from cyclopts.validators import Number

from vyry.accounts.signup_invitations import (
    MAX_LIFETIME,
    MAX_USES,
    InvitationTerms,
    SignupInvitation,
    invitation_link,
)
from vyry.cli.client.terminal_text import quote_name
from vyry.cli.command_line import FreeText, JsonFlag
from vyry.cli.errors import UsageError
from vyry.cli.operator import CURRENT_OPERATOR, Operator, require_pepper, run_in_database
from vyry.clock import SystemClock
from vyry.errors import CommandError, ConfigurationError, NotFound
from vyry.kernel.display_text import InvalidText, validate_line
from vyry.operator.secret_files import read_peppers
from vyry.operator.signup_invitations import create_invitation, list_invitations, revoke_invitation
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.raw_sql import to_datetime


_MAX_DAYS: Final = MAX_LIFETIME.days
_LONGEST_LABEL: Final = 100
Uses = Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_USES))]
Days = Annotated[int, Parameter(validator=Number(gte=1, lte=_MAX_DAYS))]

app = App(name="invite")


@app.default
def invite(
    *,
    uses: Uses = 1,
    days: Days = 7,
    label: FreeText = "",
    url: FreeText = "",
    by: Operator = CURRENT_OPERATOR,
    as_json: JsonFlag = False,
) -> int:
    """Invite people to this node: print a link, and its QR code in a terminal. Who has the link makes an account without a phone number.

    Args:
        uses: How many people may use the link.
        days: For how many days it is valid.
        label: A note for `vyry invite list`.
        url: The address of the node for its users, such as https://chat.example.org (default: the address it listens on).
        by: The operator and the reason.
        as_json: Print one JSON object, with the token.
    """
    settings = load_settings(Role.TOOL)
    if "invitation" not in settings.sign_up:
        raise ConfigurationError(["VYRY_SIGN_UP has no `invitation`: add it, and restart the nodes."])
    origin = _read_origin(url) if url else listening_origin(settings, settings.server_port)
    terms = InvitationTerms(uses, timedelta(days=days), _read_label(label))
    require_pepper(settings)
    peppers = read_peppers(settings.pepper.get_secret_value())
    made, token = run_in_database(settings, lambda: create_invitation(peppers, terms, by.audit_entry("invite")))
    link = invitation_link(origin, token)
    print(json.dumps(_json_of_new(made, token, link)) if as_json else _text_of_new(made, link))
    return 0


@app.command(name="list")
def list_all(*, as_json: JsonFlag = False) -> int:
    """List the invitations, newest first: those of operators and of members. No link is shown again.

    Args:
        as_json: Print one JSON object per line.
    """
    found = run_in_database(load_settings(Role.TOOL), list_invitations)
    for each in found:
        print(json.dumps(_json_of_stored(each)) if as_json else _text_of_stored(each))
    if not (found or as_json):
        print("No invitations. `vyry invite` makes one.")
    return 0


@app.command
def revoke(invitation_id: UUID, /, *, by: Operator = CURRENT_OPERATOR) -> int:
    """Revoke an invitation: no one can use its link any more. Accounts made with it stay.

    Args:
        invitation_id: The id that `vyry invite list` shows.
        by: The operator and the reason.
    """
    act = by.audit_entry("inviteRevoke", details=str(invitation_id))
    try:
        run_in_database(load_settings(Role.TOOL), lambda: revoke_invitation(invitation_id, act))
    except NotFound:
        raise CommandError("No such invitation, or it is revoked already. `vyry invite list` shows the ids.") from None
    print(f"{invitation_id}: revoked")
    return 0


def listening_origin(settings: Settings, port: int) -> str:
    """The address at which this machine reaches the node."""
    host = "localhost" if settings.server_host in ("127.0.0.1", "0.0.0.0", "::1", "::") else settings.server_host  # noqa: S104  compared only
    return f"{'https' if settings.tls_cert_file else 'http'}://{host}:{port}"


def qr_text(link: str) -> str:
    """The QR code of a link, for a terminal."""
    drawn = io.StringIO()
    segno.make(link, error="l", micro=False).terminal(drawn, compact=True, border=2)
    return drawn.getvalue()


def _read_origin(url: str) -> str:
    found = re.fullmatch(r"(https?://[^/?#@\s]+)/?", url)
    try:
        is_address = found is not None and bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        is_address = False
    if found is None or not is_address:
        raise UsageError("--url must be an address without a path, such as https://chat.example.org.")
    return found[1]


def _read_label(label: str) -> str | None:
    try:
        return validate_line(label, _LONGEST_LABEL, 1) if label else None
    except InvalidText as problem:
        raise UsageError(f"--label {problem}.") from None


def _json_of_new(made: SignupInvitation, token: str, link: str) -> dict[str, Any]:
    return {
        "id": str(made.invitation_id),
        "token": token,
        "url": link,
        "uses": made.max_uses,
        "expiresAt": made.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _text_of_new(made: SignupInvitation, link: str) -> str:
    people = "one person" if made.max_uses == 1 else f"{made.max_uses} people"
    return "\n".join(
        [
            qr_text(link),
            link,
            "",
            f"For {people}, until {made.expires_at:%Y-%m-%d %H:%M} UTC. It is shown this once; id {made.invitation_id}.",
        ]
    )


def _json_of_stored(each: SignupInvitation) -> dict[str, Any]:
    return {
        "id": str(each.invitation_id),
        "state": each.state(SystemClock().now()),
        "uses": each.max_uses,
        "used": each.uses,
        "label": each.label,
        "userId": each.user_id and str(each.user_id),
        "createdAt": to_datetime(each.created_at).isoformat(),
        "expiresAt": to_datetime(each.expires_at).isoformat(),
    }


def _text_of_stored(each: SignupInvitation) -> str:
    maker = "operator" if each.user_id is None else f"member {each.user_id}"
    label = "" if each.label is None else f"  {quote_name(each.label)}"
    state = each.state(SystemClock().now())
    return f"{each.invitation_id}  {state:<8} used {each.uses} of {each.max_uses}  until {each.expires_at:%Y-%m-%d %H:%M}  {maker}{label}"
