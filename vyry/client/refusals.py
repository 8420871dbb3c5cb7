"""What can go wrong for a client, each said once and clearly."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID


#: Seconds: what a node asks to wait beyond this is not listened to.
LONGEST_WAIT: Final = 3_600


class ClientError(Exception):
    """Something did not work; the text says what to do."""


class Refused(ClientError):
    """The node said no, and nothing happened. `code` is the error_code of docs/protocol.md."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{body.get('error_code', status)}: {body.get('error', 'the node gave no reason')}")
        self.status = status
        self.code = str(body.get("error_code", ""))
        self.body = body


class Unreachable(ClientError):
    """No answer came, or one that decides nothing: the same may be tried again under the same ids, after so many seconds if the node said."""

    def __init__(self, text: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        # The node says it, and may say anything.
        is_wait = isinstance(retry_after_seconds, int | float) and 0 <= retry_after_seconds <= LONGEST_WAIT
        self.retry_after_seconds = retry_after_seconds if is_wait else None


class StoreLocked(ClientError):
    """Another process works with this profile, or the key does not open it."""


class StoreFull(ClientError):
    """The disk is full: what is kept is whole, but nothing more can be kept."""


class StoreFailed(ClientError):
    """The file of this profile cannot be read or written."""


class ChainBroken(ClientError):
    """The node showed a mailbox that does not follow from what it showed before: it has lost or changed something without saying so."""


class NotRegistered(ClientError):
    """This profile has no account yet: register first."""


class SessionEnded(ClientError):
    """This device was ended: logged out, removed, or another one took the account over."""


class NobodyFound(ClientError):
    """No account with this telephone number can be found."""


class BadNumber(ClientError):
    """That is no telephone number with its country; the text says what is wrong with it, with an example."""


class NameChanged(ClientError):
    """A name is another account now than the one remembered. A person decides which one is meant; until then it stays the one remembered.

    `name` as it is remembered, `held`: the account remembered, `told`: the account that the node says.
    """

    def __init__(self, name: str, held: UUID, told: UUID) -> None:
        super().__init__(
            f"{name} is another account now: it was {held}, the node says {told}. It still means the first; "
            f"ask the person over another way, and only if the second is right: vyry client whois {name} --take {told}"
        )
        self.name = name
        self.held = held
        self.told = told


class NotCompared(ClientError):
    """The digits fit no key that was shown: show the safety number again and compare it."""


class LinkEnded(ClientError):
    """The link was rejected, has expired, or was used before: begin a new one."""


class CodeNotShown(ClientError):
    """The six digits of this link were not asked for: show `await attempt.code()` to a person first, who compares them."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class LinkCode(ClientError):
    """That is the link code of a device, nothing else: it lets that device into your account. Give it to `approve` only if the device is yours."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class FileFailed(ClientError):
    """A file of this machine cannot be read or written."""


class FileThere(FileFailed):
    """A file of that name is there already: nothing is overwritten."""
