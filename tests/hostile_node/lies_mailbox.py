"""Lies about the mailbox: heads that do not follow, losses that are none, envelopes that come again, elsewhere, or from nowhere."""

from typing import TYPE_CHECKING, ClassVar

from tests.hostile_node.ghosts import fresh_id
from tests.hostile_node.lie import Lie
from tests.hostile_node.mailbox import Entries, MailboxPoint, VerbatimEntry, chain_entry
from tests.hostile_node.wire import Body
from tests.support.chain_checker import to_bytes
from tests.support.device_keys import base64_text


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy


class HeadForged(Lie):
    """An entry comes with a head that does not follow from what was told before."""

    name = "head-forged"
    detected_by = ("ChainBroken",)

    async def begin(self, proxy: "Proxy") -> None:
        """At once, with a notice."""
        entry = chain_entry(proxy.notice("prekeysLow", oneTimeRemaining=50, pqRemaining=50), proxy.mailbox.shown_point)
        self.was_seen = True
        await proxy.insert(VerbatimEntry({**entry, "head": base64_text(proxy.random.randbytes(32))}))


class HeadsCut(Lie):
    """An entry is left out, and the next one keeps its number."""

    name = "heads-cut"
    detected_by = ("ChainBroken",)

    async def begin(self, proxy: "Proxy") -> None:
        """At once, with two notices of which one comes."""
        first, second = (proxy.notice("prekeysLow", oneTimeRemaining=each, pqRemaining=50) for each in (50, 51))
        here = chain_entry(first, proxy.mailbox.shown_point)
        behind = chain_entry(second, MailboxPoint(here["seq"], to_bytes(here["head"])))
        self.was_seen = True
        await proxy.insert(VerbatimEntry(behind))


class LossOfNothing(Lie):
    """A loss of no entries: the chain would go on from any head."""

    name = "loss-of-nothing"
    detected_by = ("ChainBroken",)
    count = 0

    async def begin(self, proxy: "Proxy") -> None:
        """At once."""
        seq = proxy.mailbox.shown_point.seq + 1
        head = base64_text(proxy.random.randbytes(32))
        tombstone = {"reason": "expired", "count": self.count}
        self.was_seen = True
        await proxy.insert(
            VerbatimEntry({"seq": seq, "throughSeq": seq + self.count - 1, "head": head, "tombstone": tombstone})
        )


class LossBelowNothing(LossOfNothing):
    """A loss of fewer than no entries: numbers go back."""

    name = "loss-below-nothing"
    count = -1


class EntryRepeated(Lie):
    """Each envelope comes twice, the second time under the next number."""

    name = "entry-repeated"
    detected_by = ("nothing",)

    def entries(self, proxy: "Proxy", entry: Body) -> Entries:
        """Bit for bit."""
        if "content" not in entry:
            return [entry]
        self.was_seen = True
        return [entry, {**entry, "messageId": fresh_id()}]


class MessageMoved(Lie):
    """Each message comes in another conversation first, and then in its own."""

    name = "message-moved"
    detected_by = ("unreadable",)

    def entries(self, proxy: "Proxy", entry: Body) -> Entries:
        """The group and the direct conversation change places."""
        if "content" not in entry or entry["lane"] != "mail":
            return [entry]
        self.was_seen = True
        elsewhere = proxy.known.group if entry["conversationId"] != proxy.known.group else proxy.known.direct
        moved = {**entry, "conversationId": elsewhere or fresh_id(), "messageId": fresh_id()}
        return [moved, entry]


class SyncReplayed(Lie):
    """An old envelope of another own device comes again."""

    name = "sync-replayed"
    detected_by = ("nothing", "unreadable")

    async def begin(self, proxy: "Proxy") -> None:
        """The oldest there is, and the newest."""
        own = [each for each in proxy.known.envelopes if each["senderId"] == proxy.known.user_id]
        self.was_seen = bool(own)
        await proxy.insert(*({**each, "messageId": fresh_id()} for each in (own[:1] + own[-1:])))


class Replayed(Lie):
    """The oldest envelope of a peer comes again, against the session that is in use."""

    name = "replayed"
    detected_by = ("nothing", "unreadable")

    async def begin(self, proxy: "Proxy") -> None:
        """Once under its own messageId, and once under another."""
        theirs = [each for each in proxy.known.envelopes if each["senderId"] == proxy.known.peer]
        self.was_seen = bool(theirs)
        await proxy.insert(*theirs[:1], *({**each, "messageId": fresh_id()} for each in theirs[:1]))


class Garbage(Lie):
    """Bytes that mean nothing come in the name of a peer's device, against the session that is in use."""

    name = "garbage"
    detected_by: ClassVar[tuple[str, ...]] = ("unreadable",)

    async def begin(self, proxy: "Proxy") -> None:
        """Once."""
        self.was_seen = True
        for content in self.contents(proxy):
            await proxy.insert(proxy.envelope(proxy.known.peer_address(), proxy.known.direct, content))

    def contents(self, proxy: "Proxy") -> list[bytes]:
        """A message of the session in use, spoiled."""
        theirs = [each for each in proxy.known.envelopes if each["senderId"] == proxy.known.peer]
        spoiled = bytearray(to_bytes(theirs[-1]["content"])) if theirs else bytearray(_noise(proxy))
        spoiled[-1] ^= 1
        return [bytes(spoiled)]


class GarbageTwice(Garbage):
    """Bytes that mean nothing come twice within an hour: the session in use ends, once, and nothing else does."""

    name = "garbage-twice"

    def contents(self, proxy: "Proxy") -> list[bytes]:
        """The second one is of a session that nobody has."""
        return [*super().contents(proxy), _noise(proxy)]


class WelcomeOfAnother(Lie):
    """The node's `welcome` names a last message that this device never posted."""

    name = "welcome-of-another"
    detected_by = ("lost",)

    def frame(self, proxy: "Proxy", frame: Body) -> Body:
        """At the next greeting."""
        if frame["type"] != "welcome":
            return frame
        self.was_seen = True
        return {**frame, "payload": {**frame["payload"], "lastMessageId": fresh_id()}}


def _noise(proxy: "Proxy") -> bytes:
    return b"\1\2" + proxy.random.randbytes(130)
