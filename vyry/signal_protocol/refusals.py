"""What the protocol refuses, by name (docs/signal-protocol.md, "Refusals"). A refusal changes no state and carries neither secret nor plaintext."""


class Refusal(Exception):
    """Something of another device was refused; `name` is the same in every language."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])

    @property
    def name(self) -> str:
        """The name in the protocol."""
        return type(self).__name__


class UnknownVersion(Refusal):
    """It is of a version that this one does not know."""


class UnknownType(Refusal):
    """It is of a type that this version does not know."""


class Malformed(Refusal):
    """Its structure is wrong."""


class TooLarge(Refusal):
    """It is larger than the protocol allows."""


class BadPadding(Refusal):
    """What was opened is not padded as it must be."""


class BadContent(Refusal):
    """What was opened is no content."""


class ContextMismatch(Refusal):
    """It was written for another conversation."""


class BadKey(Refusal):
    """A public key is none, or one of the few that make every secret known."""


class BadSignature(Refusal):
    """A signature does not fit."""


class IdentityChanged(Refusal):
    """The identity key is another one than the one held."""


class IdentityForged(Refusal):
    """It is shown as of one's own account, and one's own identity key did not sign it."""


class ConversationForged(Refusal):
    """A direct conversation has other people than its two, or a conversation another kind than it had."""


class MemberForged(Refusal):
    """It is for a group in which its sender is no member."""


class PrekeyUnknown(Refusal):
    """It was made for a prekey that is not held (any more)."""


class PrekeyReplayed(Refusal):
    """This handshake was answered before."""


class SessionUnknown(Refusal):
    """It belongs to no session held."""


class BadMessage(Refusal):
    """It does not open."""


class JumpTooFar(Refusal):
    """Too many messages before it are missing."""


class DuplicateMessage(Refusal):
    """It was opened before."""


class SenderRewound(Refusal):
    """Its sender used a key twice: its state was copied or restored, or the node changed the message."""


class SenderKeyUnknown(Refusal):
    """It was written under a sender key that is not held."""


class SenderKeyConflict(Refusal):
    """A known sender key came again with another signing key."""


class AttachmentTruncated(Refusal):
    """The attachment ends too early."""


class AttachmentBroken(Refusal):
    """The attachment is not what was sealed."""


class LinkMismatch(Refusal):
    """The other side of the link is not the one whose code was scanned."""
