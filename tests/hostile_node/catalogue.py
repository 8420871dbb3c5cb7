"""All lies by name, and those that cannot be told apart from the truth yet."""

from typing import Final

from tests.hostile_node.lie import Lie
from tests.hostile_node.lies_devices import (
    HiddenDeviceLie,
    OwnDeviceHidden,
    OwnGhostDevice,
    OwnGhostListed,
    OwnGhostSpeaks,
    PeerGhostDevice,
    PeerGhostListed,
    PeerIdentityListed,
)
from tests.hostile_node.lies_keys import (
    KeySwapped,
    KeySwappedLater,
    OldSessionRevived,
    PinRefusedOnce,
    RetryAfterAccept,
    StaleBundle,
    UsernameReassigned,
)
from tests.hostile_node.lies_mailbox import (
    EntryRepeated,
    Garbage,
    GarbageTwice,
    HeadForged,
    HeadsCut,
    LossBelowNothing,
    LossOfNothing,
    MessageMoved,
    Replayed,
    SyncReplayed,
    WelcomeOfAnother,
)
from tests.hostile_node.lies_members import (
    DirectBecomesGroup,
    GhostMember,
    GhostMemberGroup,
    GroupKeyOfAnOutsider,
    KeyOfAnOutsider,
)


LIES: Final[dict[str, type[Lie]]] = {
    lie.name: lie
    for lie in (
        *(OwnGhostDevice, OwnGhostListed, OwnGhostSpeaks, OwnDeviceHidden),
        *(PeerGhostDevice, PeerGhostListed, PeerIdentityListed, HiddenDeviceLie),
        *(GhostMember, DirectBecomesGroup, GhostMemberGroup, KeyOfAnOutsider, GroupKeyOfAnOutsider),
        *(KeySwapped, KeySwappedLater, StaleBundle, OldSessionRevived, RetryAfterAccept),
        *(UsernameReassigned, PinRefusedOnce),
        *(HeadForged, HeadsCut, LossOfNothing, LossBelowNothing, EntryRepeated),
        *(MessageMoved, SyncReplayed, Replayed, Garbage, GarbageTwice, WelcomeOfAnother),
    )
}
_ROSTERS: Final = "needs signed rosters of groups"
#: What is not here yet, and why.
UNDETECTED_LIES: Final[dict[str, str]] = {
    "envelope-left-out": "needs the common field `after`: what is left out before it is numbered leaves no trace",
    "title-rolled-back": "needs rosters, which name the hash of the sealed title",
    "roster-withheld": _ROSTERS,
    "roster-rolled-back": _ROSTERS,
    "roster-forked": _ROSTERS,
    "roster-by-former-admin": _ROSTERS,
    "two-rosters-of-one-version": _ROSTERS,
    "join-proof-replayed": _ROSTERS,
    "removal-withheld-from-half": _ROSTERS,
    "admin-registered-anew": _ROSTERS,
    "gone-member-brought-back": _ROSTERS,
    "device-linked-without-proof": "needs `linkProof`: a new own device is told, but not yet who approved it",
}
