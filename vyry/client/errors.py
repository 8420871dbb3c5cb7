"""The errors that the SDK raises."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from vyry.kernel.display_text import clean_line, truncate
from vyry.signal_protocol.refusals import BadContent, TooLarge


#: Seconds; a longer wait that the node asks for is ignored.
MAX_RETRY_AFTER: Final = 3_600
_LONGEST_REASON: Final = 1_000
_MOST_FIELDS: Final = 20


class ClientError(Exception):
    """Base of all errors; the text says what to do."""


class Refused(ClientError):
    """The node refused the request, and nothing changed. `code` is the error_code of docs/protocol.md; the text is one line and names each invalid field and why."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        reason = _wrong_fields(body.get("fields")) or body.get("error", "the node gave no reason")
        # The value comes from the node, which may send anything.
        super().__init__(truncate(clean_line(f"{body.get('error_code', status)}: {reason}"), _LONGEST_REASON))
        self.status = status
        self.code = str(body.get("error_code", ""))
        self.body = body


class Unreachable(ClientError):
    """No response, or one that decides nothing: retry under the same ids, after `retry_after_seconds` if the node gave them."""

    def __init__(self, text: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        # The value comes from the node, which may send anything.
        is_wait = isinstance(retry_after_seconds, int | float) and 0 <= retry_after_seconds <= MAX_RETRY_AFTER
        self.retry_after_seconds = retry_after_seconds if is_wait else None


class StoreLocked(ClientError):
    """Another process uses this profile, or the key does not open it."""


class InClear(ClientError):
    """The node is remote and has no TLS, which was not allowed."""


class StoreFull(ClientError):
    """The disk is full: stored data is intact, but nothing more can be stored."""


class StoreFailed(ClientError):
    """The file of this profile cannot be read or written."""


class ChainBroken(ClientError):
    """The node showed a mailbox that does not follow from what it showed before: it lost or changed entries without saying so."""


class NotRegistered(ClientError):
    """This profile has no account yet: run `vyry client register` or `vyry client link`."""


class SessionEnded(ClientError):
    """This device was revoked: it logged out or was removed, or another device took over the account."""


class NobodyFound(ClientError):
    """No account with this phone number can be found."""


class BadNumber(ClientError):
    """Not a phone number with a country; the text says what is wrong, with an example."""


class BadName(ClientError):
    """A name that the user gives to an account reads like a username, a number, an id or a link."""

    def __init__(self, name: str) -> None:
        super().__init__(f"name: {name!r} reads like a username, a number, an id or a link; give a name such as Bo.")


class NotAnInvitation(ClientError):
    """A text is not an invitation link or its token."""

    def __init__(self) -> None:
        super().__init__("Not an invitation: copy all of the link (https://HOST/#invite=TOKEN).")


class MistypedRecoveryCode(ClientError):
    """A text is not a recovery code, or a character of it is mistyped. Nothing was sent."""

    def __init__(self, problem: object) -> None:
        super().__init__(f"Recovery code: {problem}. Check it and type it again.")


class AmbiguousName(ClientError):
    """A name means several accounts: `candidates`, each with its distinguishing text."""

    def __init__(self, word: str, candidates: Mapping[UUID, str]) -> None:
        listed = ", ".join(f"{text} {user_id}" for user_id, text in candidates.items())
        super().__init__(
            f"{word} means {len(candidates)} users: {listed}. Use the user id of one of them, or give one another name with `vyry client add`."
        )
        self.candidates = candidates


class NotAContactLink(ClientError):
    """A text is not a contact link; the text of the error says what one looks like."""

    def __init__(self) -> None:
        super().__init__(
            "Not a contact link: copy all of it, as `vyry client contact` prints it (https://HOST/#contact=USERID.KEYHASH)."
        )


class ContactDiffers(ClientError):
    """The node reports another identity key for an account than its contact link. Nothing was stored.

    `user_id`: the account of the link.
    """

    def __init__(self, user_id: UUID, text: str) -> None:
        super().__init__(text)
        self.user_id = user_id


class NameChanged(ClientError):
    """The node reports another account for a name than the remembered one. The user decides which one is meant; until then the remembered one counts.

    `name`: the name as remembered; `held`: the remembered account; `told`: the account that the node reports.
    """

    def __init__(self, name: str, held: UUID, told: UUID) -> None:
        super().__init__(
            f"The node now reports another account for {name}: {told} instead of {held}. The profile still uses {held}; "
            f"ask the person over another channel. If {told} is correct, run: vyry client whois {name} --take {told}"
        )
        self.name = name
        self.held = held
        self.told = told


class TextTooLong(ClientError, TooLarge):
    """A name, a title or a profile text is too long; the text says which, the limit in characters as people count them, and the length."""

    def __init__(self, field: str, problem: object) -> None:
        Exception.__init__(self, f"{field}: {problem}.")


class NothingToSee(ClientError, BadContent):
    """A name or a title has no visible characters; the text says which."""

    def __init__(self, field: str) -> None:
        Exception.__init__(self, f"{field}: has no visible characters.")


class NotCompared(ClientError):
    """The digits match no key that was shown: show the safety number again and compare it."""


class HistoryPending(ClientError):
    """The history is still being sent to another new device."""

    def __init__(self) -> None:
        super().__init__("Your history is still being sent to another device: run `vyry client devices history` first.")


class LinkEnded(ClientError):
    """The link was rejected, has expired, or was used before: start a new one."""


class CodeNotShown(ClientError):
    """The six digits of this link were not shown: show `await attempt.code()` to the user for comparison first."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class LinkCode(ClientError):
    """This is a device link code: it links a device to your account. Use it with `approve`, and only if the device is yours."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class FileFailed(ClientError):
    """A local file cannot be read or written."""


class FileAlreadyExists(FileFailed):
    """A file of that name already exists: nothing is overwritten."""


def _wrong_fields(fields: object) -> str:
    """The field errors that the node reports, as one line; empty without a valid list."""
    found = fields[:_MOST_FIELDS] if isinstance(fields, list) else []
    return "; ".join(f"{each.get('field')}: {each.get('problem')}" for each in found if isinstance(each, dict))
