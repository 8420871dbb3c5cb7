"""Contacts: the own contact link, and people who are added by theirs (docs/signal-protocol.md, section 12)."""

from uuid import UUID

from vyry.client.api.safety import Safety
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.errors import NotAContactLink
from vyry.client.store.remembered_names import RememberedNames, given_name
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol.contact_links import ContactLink
from vyry.signal_protocol.refusals import Malformed


class Contacts:
    """Contact links and the names that the user gives."""

    def __init__(self, store: Store, rest: RestClient, safety: Safety) -> None:
        self._store = store
        self._rest = rest
        self._safety = safety
        self._names = RememberedNames(store)

    def link(self) -> ContactLink:
        """The contact link of this account: show it, also as a QR code, to people who want to write to it. Raises NotRegistered."""
        me = LocalDevice.load(self._store)
        return ContactLink.of(self._rest.url, me.user_id, me.identity.public)

    async def add(self, link: str, name: str | None = None) -> UUID:
        """Add an account by its contact link: its key is stored and counts as verified, and the account gets the name, if there is one.

        Raises ContactDiffers when the node reports another key than the link; then nothing is stored. NotAContactLink, BadName, TextTooLong, Refused, Unreachable.
        """
        contact = read_contact_link(link)
        given = None if name is None else given_name(name)
        await self._safety.verify_link(contact)
        if given is not None:
            self._names.give(contact.user_id, given)
        return contact.user_id

    def rename(self, user_id: UUID, name: str) -> None:
        """Call this account so from now on; "" removes the name. Raises BadName, TextTooLong."""
        self._names.give(user_id, name)


def read_contact_link(text: str) -> ContactLink:
    """The contact of a link. Raises NotAContactLink."""
    try:
        return ContactLink.read(text)
    except Malformed:
        raise NotAContactLink from None
