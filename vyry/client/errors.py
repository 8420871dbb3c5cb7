"""What can go wrong for a client, each said once and clearly."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from vyry.kernel.display_text import clean_line, truncate
from vyry.signal_protocol.refusals import BadContent, TooLarge


#: Seconds: what a node asks to wait beyond this is not listened to.
MAX_RETRY_AFTER: Final = 3_600
_LONGEST_REASON: Final = 1_000
_MOST_FIELDS: Final = 20


class ClientError(Exception):
    """Something did not work; the text says what to do."""


class Refused(ClientError):
    """The node said no, and nothing happened. `code` is the error_code of docs/protocol.md; the text is one line, and names each field that is wrong and why."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        reason = _wrong_fields(body.get("fields")) or body.get("error", "the node gave no reason")
        # The node says it, and may say anything.
        super().__init__(truncate(clean_line(f"{body.get('error_code', status)}: {reason}"), _LONGEST_REASON))
        self.status = status
        self.code = str(body.get("error_code", ""))
        self.body = body


class Unreachable(ClientError):
    """No answer came, or one that decides nothing: the same may be tried again under the same ids, after so many seconds if the node said."""

    def __init__(self, text: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        # The node says it, and may say anything.
        is_wait = isinstance(retry_after_seconds, int | float) and 0 <= retry_after_seconds <= MAX_RETRY_AFTER
        self.retry_after_seconds = retry_after_seconds if is_wait else None


class StoreLocked(ClientError):
    """Another process works with this profile, or the key does not open it."""


class InClear(ClientError):
    """The node is beyond this machine and would be spoken to without TLS, which nobody has asked for."""


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
            f"The node now reports another account for {name}: {told} instead of {held}. The profile still uses {held}; "
            f"check with the person in another way, and only if {told} is right run: vyry client whois {name} --take {told}"
        )
        self.name = name
        self.held = held
        self.told = told


class TextTooLong(ClientError, TooLarge):
    """A name, a title or words about oneself are too long; the text says which, the limit in characters as people count them, and how many there are."""

    def __init__(self, field: str, problem: object) -> None:
        Exception.__init__(self, f"{field}: {problem}.")


class NothingToSee(ClientError, BadContent):
    """A name or a title of which nothing could be seen; the text says which."""

    def __init__(self, field: str) -> None:
        Exception.__init__(self, f"{field}: has no visible characters.")


class NotCompared(ClientError):
    """The digits fit no key that was shown: show the safety number again and compare it."""


class LinkEnded(ClientError):
    """The link was rejected, has expired, or was used before: begin a new one."""


class CodeNotShown(ClientError):
    """The six digits of this link were not shown: show `await attempt.code()` to the user for comparison first."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class LinkCode(ClientError):
    """This is a device link code: it links a device to your account. Use it with `approve`, and only if the device is yours."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class FileFailed(ClientError):
    """A file of this machine cannot be read or written."""


class FileAlreadyExists(FileFailed):
    """A file of that name is there already: nothing is overwritten."""


def _wrong_fields(fields: object) -> str:
    """What the node says is wrong with each field; empty for what is no such list."""
    found = fields[:_MOST_FIELDS] if isinstance(fields, list) else []
    return "; ".join(f"{each.get('field')}: {each.get('problem')}" for each in found if isinstance(each, dict))
