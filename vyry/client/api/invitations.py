"""Invitations into groups by people whom one does not know (docs/protocol.md, "Groups"). All of it raises Refused, Unreachable."""

from uuid import UUID

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.transport.rest import Body, RestClient


class Invitations:
    """What waits for one's word."""

    def __init__(self, rest: RestClient, circles: MemberDirectory) -> None:
        self._rest = rest
        self._directory = circles

    async def list(self) -> list[Body]:
        """The groups into which one is invited: `conversationId`, `userId` of who invites, `username`, `displayName`, `invitedAt`."""
        return await self._rest.list_all("/conversations/invitations", "invitations")

    async def accept(self, conversation_id: UUID) -> None:
        """Come in. The title is told by the device that sealed it, once that is there."""
        said = await self._rest.call("POST", f"/conversations/invitations/{conversation_id}/accept")
        self._directory.record(said, conversation_id)

    async def decline(self, conversation_id: UUID) -> None:
        """Say no; nobody is told."""
        await self._rest.call("DELETE", f"/conversations/invitations/{conversation_id}")
