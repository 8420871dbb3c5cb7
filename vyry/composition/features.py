"""The wiring of signals, contacts and attachments, part of vyry/composition/services.py."""

from dataclasses import dataclass

from vyry.attachments.service import Attachments, AttachmentUpkeep
from vyry.clock import SteadyClock
from vyry.composition.shared import (
    SharedServices,
    attachment_limits,
    build_part_store,
)
from vyry.contacts.blocks import Blocks
from vyry.contacts.discovery import ContactDiscovery
from vyry.contacts.friends import Friends
from vyry.conversations.conversations import CachedConversations
from vyry.conversations.groups import Groups
from vyry.conversations.invitations import Invitations
from vyry.conversations.invite_links import InviteLinks
from vyry.devices.push_wakeups import WakeupSender
from vyry.mail.receipts import Receipts
from vyry.signals.calls import Calls, TurnCredentials
from vyry.signals.presence import Presence
from vyry.signals.typing_indicators import TypingIndicators
from vyry.storage.attachments import TortoiseAttachments, TortoiseAttachmentUpkeep
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.calls import TortoiseCalls
from vyry.storage.discovery import TortoiseDiscovery
from vyry.storage.friends import TortoiseFriends
from vyry.storage.groups import TortoiseGroups
from vyry.storage.invitations import TortoiseInvitations, TortoiseInviteLinks
from vyry.storage.privacy import TortoiseTypingPrivacy


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalServices:
    """Typing indicators, calls and presence: relayed to sockets, never stored."""

    typing: TypingIndicators
    calls: Calls
    turn: TurnCredentials
    presence: Presence
    #: The cache of conversations, for typing indicators and other frames.
    conversations: CachedConversations


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactServices:
    """Contacts, groups and receipts."""

    discovery: ContactDiscovery
    friends: Friends
    blocks: Blocks
    groups: Groups
    invites: InviteLinks
    invitations: Invitations
    receipts: Receipts


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentServices:
    """Attachments and their upkeep."""

    service: Attachments
    upkeep: AttachmentUpkeep


def build_signals(shared: SharedServices, waker: WakeupSender) -> SignalServices:
    """Wire typing indicators, calls, TURN and presence."""
    notifier = shared.infrastructure.notifier
    return SignalServices(
        typing=TypingIndicators(
            shared.conversations,
            device_lists=shared.device_lists,
            notifier=notifier,
            privacy=TortoiseTypingPrivacy(),
            clock=SteadyClock(),
        ),
        calls=Calls(
            TortoiseCalls(),
            conversations=shared.stores.conversations,
            device_lists=shared.device_lists,
            notifier=notifier,
            waker=waker,
            limiter=shared.limiter,
            clock=shared.clock,
        ),
        turn=TurnCredentials(shared.settings.turn_urls, shared.settings.turn_secret, shared.settings.turn_seconds),
        presence=shared.infrastructure.presence,
        conversations=shared.conversations,
    )


def build_contacts(shared: SharedServices) -> ContactServices:
    """Wire contacts, groups and receipts."""
    return ContactServices(
        discovery=ContactDiscovery(TortoiseDiscovery(), shared.pepper, shared.limiter),
        friends=Friends(TortoiseFriends(), shared.limiter, shared.clock, shared.cache_invalidation),
        blocks=Blocks(TortoiseBlocks(), shared.clock, shared.cache_invalidation),
        groups=Groups(TortoiseGroups(), shared.cache_invalidation, shared.limiter, shared.clock),
        invites=InviteLinks(TortoiseInviteLinks(), shared.cache_invalidation, shared.clock),
        invitations=Invitations(TortoiseInvitations(), shared.cache_invalidation, shared.clock),
        receipts=Receipts(shared.infrastructure.mail_store.upkeep, shared.stores.receipts),
    )


def build_attachments(shared: SharedServices) -> AttachmentServices:
    """Wire attachments."""
    parts, limits = build_part_store(shared.settings), attachment_limits(shared.settings)
    return AttachmentServices(
        service=Attachments(TortoiseAttachments(), parts, limits=limits, limiter=shared.limiter, clock=shared.clock),
        upkeep=AttachmentUpkeep(TortoiseAttachmentUpkeep(), parts, shared.clock),
    )
