"""The refusals of the protocol, by name (docs/signal-protocol.md, "Refusals"). A refusal changes no state and contains neither secret nor plaintext."""


class Refusal(Exception):
    """Something of another device was refused; `name` is the same in every language."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])

    @property
    def name(self) -> str:
        """Its name in the protocol."""
        return type(self).__name__


class UnknownVersion(Refusal):
    """The version is not known."""


class UnknownType(Refusal):
    """The type is not known in this version."""


class Malformed(Refusal):
    """The structure is wrong."""


class TooLarge(Refusal):
    """It is larger than the protocol allows."""


class BadPadding(Refusal):
    """The padding of the plaintext is invalid."""


class BadContent(Refusal):
    """The plaintext is not a valid content."""


class ContextMismatch(Refusal):
    """It was written for another conversation."""


class BadKey(Refusal):
    """A public key is invalid, or of small order."""


class BadSignature(Refusal):
    """A signature is invalid."""


class IdentityChanged(Refusal):
    """The identity key differs from the stored one."""


class IdentityForged(Refusal):
    """It claims to be of the own account, and the own identity key did not sign it."""


class ConversationForged(Refusal):
    """A direct conversation has other members than its two, or a conversation has changed its kind."""


class MemberForged(Refusal):
    """Its sender is not a member of the group."""


class PrekeyUnknown(Refusal):
    """It was made for a prekey that is not stored (any more)."""


class PrekeyReplayed(Refusal):
    """This handshake was answered before."""


class SessionUnknown(Refusal):
    """Its session is not known."""


class BadMessage(Refusal):
    """It does not open."""


class JumpTooFar(Refusal):
    """Too many messages before it are missing."""


class DuplicateMessage(Refusal):
    """It was opened before."""


class SenderRewound(Refusal):
    """Its sender used a key twice: its state was copied or restored, or the node changed the message."""


class SenderKeyUnknown(Refusal):
    """Its sender key is not known."""


class SenderKeyConflict(Refusal):
    """A known sender key arrived with another signing key."""


class AttachmentTruncated(Refusal):
    """The attachment ends too early."""


class AttachmentBroken(Refusal):
    """The attachment differs from what was sealed."""


class LinkMismatch(Refusal):
    """The other side of the link is not the one whose code was scanned."""
