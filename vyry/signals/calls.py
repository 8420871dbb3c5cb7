"""Call signals: passed on to sockets that are there, on whichever node. What is stored of a call is who took it, while it rings and shortly after."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.clock import Clock
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotFound
from vyry.ids import DeviceId, MailboxKey, UserId
from vyry.limits import CALL, Limiter
from vyry.signals.passage import Passage, mailboxes_of, pass_on
from vyry.signals.ringing import Call, CallKey, CallStore


class Acquaintance(Protocol):
    """Knows who shares a conversation with whom."""

    async def share_one(self, one: UserId, other: UserId) -> bool:
        """Whether these two are members of a common conversation."""
        ...


class Rings(Protocol):
    """Wakes devices that have no socket."""

    async def ring(self, mailboxes: Collection[MailboxKey]) -> None:
        """Wake these at once; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class _Signal:
    """A signal and whose it is."""

    user_id: UserId
    device_id: DeviceId
    call_id: UUID
    kind: str
    content: bytes

    def payload(self) -> dict[str, object]:
        """As the frame has it."""
        whose = {"userId": str(self.user_id), "deviceId": self.device_id, "callId": str(self.call_id)}
        return {**whose, "kind": self.kind, "content": self.content}


class Calls:
    """Passes call signals on between people who know each other; has one device take a call, and the others stop ringing."""

    def __init__(
        self,
        acquaintance: Acquaintance,
        lists: CachedDeviceLists,
        ways: tuple[Passage, Rings],
        kept: tuple[CallStore, Limiter],
        clock: Clock,
    ) -> None:
        self._acquaintance = acquaintance
        self._lists = lists
        self._passage, self._rings = ways
        self._store, self._limiter = kept
        self._clock = clock

    async def signal(
        self, caller: Caller, to: tuple[UserId, DeviceId | None], call_id: UUID, kind: str, content: bytes
    ) -> None:
        """Pass call set-up on to one device, or to all of an account.

        Raises NotFound for people out of reach and for unknown devices, RateLimited for more calls than anybody makes.
        """
        user_id, device_id = to
        if user_id != caller.user_id and not await self._acquaintance.share_one(caller.user_id, user_id):
            raise NotFound
        # Nothing guards what is passed on by an epoch, as posts are: a call to a device that is no more would ring nowhere.
        self._lists.forget({user_id})
        if device_id is not None and not await mailboxes_of(self._lists, {user_id}, device_id):
            raise NotFound
        signal = _Signal(caller.user_id, caller.device_id, call_id, kind, content)
        if user_id == caller.user_id or kind == "candidate":
            await self._pass_on(signal, to, caller.mailbox)
        elif kind == "offer":
            await self._offer(signal, to)
        elif kind == "answer":
            await self._answer(signal, to, caller.mailbox)
        else:
            await self._end(signal, to, caller.mailbox)

    async def lapse(self, limit: int) -> int:
        """Have those stop whose call nobody took, and tell them that they missed it; answers how many calls."""
        calls = await self._store.lapse(self._clock.now(), limit)
        for call in calls:
            key = call.key
            over = _Signal(key.caller, call.device_id, key.call_id, "end", b"")
            await self._pass_on(over, (key.callee, None))
        return len(calls)

    async def forget(self, limit: int) -> int:
        """Forget calls that are long over."""
        return await self._store.forget(self._clock.now(), limit)

    async def _offer(self, signal: _Signal, to: tuple[UserId, DeviceId | None]) -> None:
        user_id, device_id = to
        key = CallKey(signal.call_id, signal.user_id, user_id)
        known = await self._store.find(key) or await self._store.find(key.back())
        if known is None:
            # Each may leave a notice in the mailbox of who is called, after a moment: so many at once are not enough.
            await self._limiter.take(CALL, str(signal.user_id))
            await self._store.ring(Call(key, signal.device_id), self._clock.now())
        elif known.is_over:
            return
        elif known.taken_by is not None and device_id is None and known.key == key:
            device_id = known.taken_by
        asleep = await self._pass_on(signal, (user_id, device_id))
        if known is None and asleep:
            await self._rings.ring(asleep)

    async def _answer(self, signal: _Signal, to: tuple[UserId, DeviceId | None], own: MailboxKey) -> None:
        key = CallKey(signal.call_id, to[0], signal.user_id)
        has_won = await self._store.take(key, signal.device_id)
        call = await self._store.find(key)
        if call is not None and call.taken_by != signal.device_id:
            # Too late: this device hears what the others of its account heard.
            ender = key.caller if call.is_over else key.callee
            device = call.device_id if call.is_over else call.taken_by or call.device_id
            over = _Signal(ender, device, key.call_id, "end", b"")
            await pass_on(self._passage, "signal", over.payload(), {own})
            return
        await self._pass_on(signal, to)
        if has_won:
            await self._stop_others(signal, own)

    async def _end(self, signal: _Signal, to: tuple[UserId, DeviceId | None], own: MailboxKey) -> None:
        key, now = CallKey(signal.call_id, signal.user_id, to[0]), self._clock.now()
        if await self._store.end(key, now, is_missed=True):
            # Whomever the caller names: all of them rang.
            await self._pass_on(signal, (to[0], None))
            return
        if await self._store.end(key.back(), now, is_missed=False):
            await self._pass_on(signal, to)
            await self._stop_others(signal, own)
            return
        call = await self._store.find(key) or await self._store.find(key.back())
        # A device that neither made nor took the call must not end it for the one that did.
        if call is None or call.is_over or signal.device_id == (call.device_id if call.key == key else call.taken_by):
            await self._pass_on(signal, to)

    async def _stop_others(self, signal: _Signal, own: MailboxKey) -> None:
        over = _Signal(signal.user_id, signal.device_id, signal.call_id, "end", b"")
        self._lists.forget({signal.user_id})
        await self._pass_on(over, (signal.user_id, None), own)

    async def _pass_on(
        self, signal: _Signal, to: tuple[UserId, DeviceId | None], without: MailboxKey | None = None
    ) -> set[MailboxKey]:
        """Pass it on; answers the mailboxes that no socket is known of."""
        user_id, device_id = to
        mailboxes = await mailboxes_of(self._lists, {user_id}, device_id) - {without}
        return mailboxes - await pass_on(self._passage, "signal", signal.payload(), mailboxes)
