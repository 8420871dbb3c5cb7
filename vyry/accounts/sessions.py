"""Who is calling: access tokens, socket tickets and refresh tokens of one device."""

from vyry.accounts.account import Caller


class Sessions:
    """Recognises callers."""

    async def recognise(self, token: str) -> Caller:
        """Who this access token speaks for. Raises InvalidToken, Unavailable."""
        raise NotImplementedError

    async def redeem(self, ticket: str) -> Caller:
        """Who this socket ticket speaks for; a ticket is good once. Raises InvalidToken, Unavailable."""
        raise NotImplementedError
