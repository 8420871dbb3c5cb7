"""An account without a phone number: joining by an invitation, and the invitations of members (docs/protocol.md, "Joining", "Invitations to the node")."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote
from uuid import UUID, uuid4

from vyry.client.api.contacts import Contacts
from vyry.client.api.sign_up import Proofs, canonical_recovery_code, recover_account
from vyry.client.errors import NotAnInvitation
from vyry.client.store import kinds
from vyry.client.store.store import Store
from vyry.client.transport.rest import Body, RestClient
from vyry.client.transport.validation import read_text
from vyry.signal_protocol.contact_links import CONTACT, ContactLink, fragment_values, is_link, node_url
from vyry.signal_protocol.refusals import Malformed


ShowCode = Callable[[str], None]
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_MAX_CODE: Final = 128


@dataclass(frozen=True, slots=True)
class InvitationLink:
    """An invitation: its token, and from a link the node, and the contact and name of the member who made it."""

    token: str
    url: str | None = None
    contact: ContactLink | None = None
    name: str | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a link `URL/#invite=TOKEN`, with the contact of the inviter where it has one, or the token alone. Raises NotAnInvitation."""
        text = text.strip()
        try:
            values = fragment_values(text) if is_link(text) else {"invite": text}
            url = node_url(text) if is_link(text) else None
            contact = ContactLink.from_value(url, values[CONTACT]) if url is not None and CONTACT in values else None
        except Malformed:
            raise NotAnInvitation from None
        token = values.get("invite", "")
        if not _TOKEN.fullmatch(token):
            raise NotAnInvitation
        return cls(token, url, contact, values.get("name"))


async def join_node(
    store: Store, rest: RestClient, invitation: InvitationLink, device_name: str, username: str | None
) -> Body:
    """The session of a new account with its `recoveryCode`. The attempt is stored first: a repetition after a lost answer uses the same place and gives the same account. Raises Refused, Unreachable."""
    with store.transaction():
        packed = store.get(kinds.JOIN_ATTEMPT, invitation.token) or uuid4().bytes
        store.put(kinds.JOIN_ATTEMPT, invitation.token, packed)
    fields: dict[str, Any] = {"inviteToken": invitation.token, "attemptId": str(UUID(bytes=packed))}
    fields |= {"username": username} if username else {}
    device = {"name": device_name, "platform": "cli"}
    return await rest.call_unauthenticated("POST", "/auth/join", {**fields, "device": device})


def read_recovery_code(rest: RestClient, session: Body) -> str:
    """The recovery code of a response."""
    with rest.validated_response():
        return read_text(session["recoveryCode"], _MAX_CODE)


class Joining:
    """An account by an invitation, and what its owner does with a recovery code."""

    def __init__(
        self, store: Store, rest: RestClient, adopt: Callable[[Body], None], publish: Callable[[], Awaitable[UUID]]
    ) -> None:
        """`adopt` makes the profile the device of a session; `publish` publishes its keys and returns the account."""
        self._store = store
        self._rest = rest
        self._adopt = adopt
        self._publish = publish

    async def join(
        self, invitation: str, show_code: ShowCode, *, username: str | None = None, name: str = "vyry"
    ) -> UUID:
        """Make an account without a phone number by an invitation (link or token). `show_code` gets the recovery code, once, as soon as the account exists: without it the account is lost with its devices.

        A repetition after a lost answer, within 10 minutes, gives the same account. Raises NotAnInvitation, Refused, Unreachable.
        """
        session = await join_node(self._store, self._rest, InvitationLink.read(invitation), name, username)
        return await self._start(session, show_code)

    async def recover(self, account: str | UUID, proofs: Proofs, show_code: ShowCode, *, name: str = "vyry") -> UUID:
        """Take over an account, by username or user id, with its recovery code (`proofs.code`): a new primary device; all other devices end. `show_code` gets the next recovery code.

        Raises Refused, MistypedRecoveryCode, Unreachable.
        """
        named = {"userId": str(account)} if isinstance(account, UUID) else {"username": account.removeprefix("@")}
        return await self._start(await recover_account(self._rest, named, name, proofs), show_code)

    async def renew_recovery_code(self, pin: str | None = None) -> str:
        """A new recovery code in place of any other, shown this once. Needs the PIN if one is set. Raises Refused, Unreachable."""
        return read_recovery_code(
            self._rest, await self._rest.call("POST", "/account/recovery-code", {"pin": pin} if pin else {})
        )

    async def delete_account(self, *, recovery_code: str | None = None, pin: str | None = None) -> None:
        """Delete the account and everything that the node stores about it. An account with a PIN needs the PIN, too; one without a number the code or the PIN. Raises MistypedRecoveryCode, Refused, Unreachable."""
        proof = {"recoveryCode": canonical_recovery_code(recovery_code)} if recovery_code else {}
        await self._rest.call("POST", "/account/delete", {**proof, **({"pin": pin} if pin else {})})

    async def _start(self, session: Body, show_code: ShowCode) -> UUID:
        self._adopt(session)
        show_code(read_recovery_code(self._rest, session))
        return await self._publish()

    async def reset_pin(self, new_pin: str, recovery_code: str) -> Body:
        """Set a new PIN by the recovery code, which stays valid; lifts a lock. Also raises MistypedRecoveryCode."""
        proof = {"recoveryCode": canonical_recovery_code(recovery_code)}
        return await self._rest.call("POST", "/account/pin/reset", {**proof, "newPin": new_pin})


class NodeInvitations:
    """The invitations to the node that this account made. Every method raises Refused, Unreachable."""

    def __init__(self, rest: RestClient, contacts: Contacts) -> None:
        self._rest = rest
        self._contacts = contacts

    async def create(self, *, uses: int = 1, days: int = 7, label: str | None = None) -> Body:
        """A new invitation: `id`, `token`, `url`, `uses`, `expiresAt`. The token is in no later response."""
        fields = {"uses": uses, "days": days, **({"label": label} if label else {})}
        return await self._rest.call("POST", "/invitations", fields)

    async def list(self) -> list[Body]:
        """The invitations that are neither expired nor revoked."""
        return await self._rest.list_all("/invitations", "invitations")

    async def revoke(self, invitation_id: UUID) -> None:
        """End an invitation. Accounts made with it stay."""
        await self._rest.call("DELETE", f"/invitations/{invitation_id}")

    def link(self, token: str, name: str | None = None) -> str:
        """The link of an invitation with the own contact: an account that joins by it has this account as a verified contact of this name."""
        own = self._contacts.link()
        named = f"&name={quote(name, safe='')}" if name else ""
        return f"{own.url}/#invite={token}&{CONTACT}={own.value}{named}"
