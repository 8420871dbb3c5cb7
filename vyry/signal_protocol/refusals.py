"""The refusals of the protocol, by name (docs/signal-protocol.md, "Refusals"). A refusal changes no state and contains neither secret nor plaintext."""


class Refusal(Exception):
    """Data from another device was refused; `name` is the same in every language."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])

    @property
    def name(self) -> str:
        """The name of the refusal in the protocol."""
        return type(self).__name__


class UnknownVersion(Refusal):
    """The version is not known."""


class UnknownType(Refusal):
    """The type is not known in this version."""


class Malformed(Refusal):
    """The structure is wrong."""


class TooLarge(Refusal):
    """The data is larger than the protocol allows."""


class BadPadding(Refusal):
    """The padding of the plaintext is invalid."""


class BadContent(Refusal):
    """The plaintext is not valid content."""


class ContextMismatch(Refusal):
    """The message was written for another conversation."""


class BadKey(Refusal):
    """A public key is invalid, or of small order."""


class BadSignature(Refusal):
    """A signature is invalid."""


class IdentityChanged(Refusal):
    """The identity key differs from the stored one."""


class IdentityForged(Refusal):
    """A message or a key claims to come from this account, but this account's identity key did not sign it."""


class ConversationForged(Refusal):
    """A direct conversation has other members than its two, or a conversation has changed its kind."""


class MemberForged(Refusal):
    """The sender is not a member of the group."""


class PrekeyUnknown(Refusal):
    """The message was made for a prekey that is not stored (any more)."""


class PrekeyReplayed(Refusal):
    """This handshake was answered before."""


class SessionUnknown(Refusal):
    """The session of the message is not known."""


class BadMessage(Refusal):
    """Decryption failed."""


class JumpTooFar(Refusal):
    """Too many messages before this one are missing."""


class DuplicateMessage(Refusal):
    """The message was opened before."""


class SenderRewound(Refusal):
    """The sender used a message key twice: the sender's state was copied or restored, or the node changed the message."""


class SenderKeyUnknown(Refusal):
    """The sender key of the message is not known."""


class SenderKeyConflict(Refusal):
    """A known sender key arrived with another signing key."""


class AttachmentTruncated(Refusal):
    """The attachment ends too early."""


class AttachmentBroken(Refusal):
    """The attachment differs from the file that was sealed."""


class LinkMismatch(Refusal):
    """The other side of the link is not the one whose code was scanned."""
