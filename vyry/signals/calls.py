"""Call signals: passed on to sockets that are there, on whichever node. What is stored of a call is who took it, while it rings and shortly after."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.clock import Clock
from vyry.devices.device_lists import CachedDeviceLists
from vyry.errors import NotFound
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.limits import CALL, Limiter
from vyry.mail.routing import Notifier
from vyry.signals.call_store import Call, CallKey, CallStore
from vyry.signals.relay import mailboxes_of, relay_frame


class SharedConversations(Protocol):
    """Knows who shares a conversation with whom."""

    async def share_conversation(self, one: UserId, other: UserId) -> bool:
        """Whether these two are members of a common conversation."""
        ...


class CallWaker(Protocol):
    """Wakes devices that have no socket."""

    async def wake_for_call(self, mailboxes: Collection[MailboxKey]) -> None:
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
        store: CallStore,
        *,
        conversations: SharedConversations,
        device_lists: CachedDeviceLists,
        notifier: Notifier,
        waker: CallWaker,
        limiter: Limiter,
        clock: Clock,
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._device_lists = device_lists
        self._notifier = notifier
        self._waker = waker
        self._limiter = limiter
        self._clock = clock

    async def signal(
        self, caller: Caller, target: tuple[UserId, DeviceId | None], call_id: UUID, kind: str, content: bytes
    ) -> None:
        """Pass call set-up on to one device, or to all of an account.

        Raises NotFound for people out of reach and for unknown devices, RateLimited for more calls than anybody makes.
        """
        user_id, device_id = target
        if user_id != caller.user_id and not await self._conversations.share_conversation(caller.user_id, user_id):
            raise NotFound
        # Nothing guards what is passed on by an epoch, as posts are: a call to a device that is no more would ring nowhere.
        self._device_lists.invalidate({user_id})
        if device_id is not None and not await mailboxes_of(self._device_lists, {user_id}, device_id):
            raise NotFound
        signal = _Signal(caller.user_id, caller.device_id, call_id, kind, content)
        if user_id == caller.user_id or kind == "candidate":
            await self._relay_signal(signal, target, caller.mailbox)
        elif kind == "offer":
            await self._offer(signal, target)
        elif kind == "answer":
            await self._answer(signal, target, caller.mailbox)
        else:
            await self._end(signal, target, caller.mailbox)

    async def expire_unanswered(self, limit: int) -> int:
        """Have those stop whose call nobody took, and tell them that they missed it; answers how many calls."""
        calls = await self._store.expire_unanswered(self._clock.now(), limit)
        for call in calls:
            key = call.key
            over = _Signal(key.caller, call.device_id, key.call_id, "end", b"")
            await self._relay_signal(over, (key.callee, None))
        return len(calls)

    async def delete_finished(self, limit: int) -> int:
        """Forget calls that are long over."""
        return await self._store.delete_finished(self._clock.now(), limit)

    async def _offer(self, signal: _Signal, target: tuple[UserId, DeviceId | None]) -> None:
        user_id, device_id = target
        key = CallKey(signal.call_id, signal.user_id, user_id)
        known = await self._store.find(key) or await self._store.find(key.reversed_key())
        if known is None:
            # Each may leave a notice in the mailbox of who is called, after a moment: so many at once are not enough.
            await self._limiter.consume(CALL, str(signal.user_id))
            await self._store.start_ringing(Call(key, signal.device_id), self._clock.now())
        elif known.is_over:
            return
        elif known.answered_by is not None and device_id is None and known.key == key:
            device_id = known.answered_by
        asleep = await self._relay_signal(signal, (user_id, device_id))
        if known is None and asleep:
            await self._waker.wake_for_call(asleep)

    async def _answer(self, signal: _Signal, target: tuple[UserId, DeviceId | None], own: MailboxKey) -> None:
        key = CallKey(signal.call_id, target[0], signal.user_id)
        has_won = await self._store.claim(key, signal.device_id)
        call = await self._store.find(key)
        if call is not None and call.answered_by != signal.device_id:
            # Too late: this device hears what the others of its account heard.
            ender = key.caller if call.is_over else key.callee
            device = call.device_id if call.is_over else call.answered_by or call.device_id
            over = _Signal(ender, device, key.call_id, "end", b"")
            await relay_frame(self._notifier, "signal", over.payload(), {own})
            return
        await self._relay_signal(signal, target)
        if has_won:
            await self._end_on_other_devices(signal, own)

    async def _end(self, signal: _Signal, target: tuple[UserId, DeviceId | None], own: MailboxKey) -> None:
        key, now = CallKey(signal.call_id, signal.user_id, target[0]), self._clock.now()
        if await self._store.end(key, now, is_missed=True):
            # Whomever the caller names: all of them rang.
            await self._relay_signal(signal, (target[0], None))
            return
        if await self._store.end(key.reversed_key(), now, is_missed=False):
            await self._relay_signal(signal, target)
            await self._end_on_other_devices(signal, own)
            return
        call = await self._store.find(key) or await self._store.find(key.reversed_key())
        # A device that neither made nor took the call must not end it for the one that did.
        if (
            call is None
            or call.is_over
            or signal.device_id == (call.device_id if call.key == key else call.answered_by)
        ):
            await self._relay_signal(signal, target)

    async def _end_on_other_devices(self, signal: _Signal, own: MailboxKey) -> None:
        over = _Signal(signal.user_id, signal.device_id, signal.call_id, "end", b"")
        self._device_lists.invalidate({signal.user_id})
        await self._relay_signal(over, (signal.user_id, None), own)

    async def _relay_signal(
        self, signal: _Signal, target: tuple[UserId, DeviceId | None], except_mailbox: MailboxKey | None = None
    ) -> set[MailboxKey]:
        """Pass it on; answers the mailboxes that no socket is known of."""
        user_id, device_id = target
        mailboxes = await mailboxes_of(self._device_lists, {user_id}, device_id) - {except_mailbox}
        return mailboxes - await relay_frame(self._notifier, "signal", signal.payload(), mailboxes)
