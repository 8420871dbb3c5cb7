"""Call signals, relayed to the sockets of the called account on any node, and TURN credentials for calls. The call itself is in call_store.py."""

import base64
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """The conversations that accounts share."""

    async def share_conversation(self, one: UserId, other: UserId) -> bool:
        """Whether these two are members of the same conversation."""
        ...


class CallWaker(Protocol):
    """Wakes devices that have no socket."""

    async def wake_for_call(self, mailboxes: Collection[MailboxKey]) -> None:
        """Wake these at once; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class _Signal:
    """A signal and the device that sent it."""

    user_id: UserId
    device_id: DeviceId
    call_id: UUID
    kind: str
    content: bytes

    def payload(self) -> dict[str, object]:
        """The payload of the frame."""
        origin = {"userId": str(self.user_id), "deviceId": self.device_id, "callId": str(self.call_id)}
        return {**origin, "kind": self.kind, "content": self.content}


class Calls:
    """Relays call signals between accounts that share a conversation. One device answers a call, and the others stop ringing."""

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
        """Relay a signal to one device of an account, or to all.

        Raises NotFound for accounts without a shared conversation and for unknown devices, RateLimited for too many calls.
        """
        user_id, device_id = target
        if user_id != caller.user_id and not await self._conversations.share_conversation(caller.user_id, user_id):
            raise NotFound
        # Signals have no check of the epoch as posts have: with an outdated device list a call would ring on no device.
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
        """End calls that rang too long as missed and stop the ringing devices; returns how many calls."""
        calls = await self._store.expire_unanswered(self._clock.now(), limit)
        for call in calls:
            key = call.key
            over = _Signal(key.caller, call.device_id, key.call_id, "end", b"")
            await self._relay_signal(over, (key.callee, None))
        return len(calls)

    async def delete_finished(self, limit: int) -> int:
        """Delete old calls."""
        return await self._store.delete_finished(self._clock.now(), limit)

    async def _offer(self, signal: _Signal, target: tuple[UserId, DeviceId | None]) -> None:
        user_id, device_id = target
        key = CallKey(signal.call_id, signal.user_id, user_id)
        known = await self._store.find(key) or await self._store.find(key.reversed_key())
        if known is None:
            # Each call may leave a notice in the mailbox of the callee, so the number at once is not the only limit.
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
            # Too late: this device gets the signal that the others of its account got.
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
            # Whichever device the caller names: all of them rang.
            await self._relay_signal(signal, (target[0], None))
            return
        if await self._store.end(key.reversed_key(), now, is_missed=False):
            await self._relay_signal(signal, target)
            await self._end_on_other_devices(signal, own)
            return
        call = await self._store.find(key) or await self._store.find(key.reversed_key())
        # A device that neither made nor answered the call must not end it for the one that did.
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
        """Relay the signal; returns the mailboxes without a known socket."""
        user_id, device_id = target
        mailboxes = await mailboxes_of(self._device_lists, {user_id}, device_id) - {except_mailbox}
        return mailboxes - await relay_frame(self._notifier, "signal", signal.payload(), mailboxes)


@dataclass(frozen=True, slots=True)
class IceServer:
    """A TURN server as the RTCIceServer of WebRTC."""

    urls: tuple[str, ...]
    username: str
    credential: str


class TurnCredentials:
    """Credentials for the operator's TURN server, which relays calls between networks that allow no other way.

    The scheme is `use-auth-secret` of coturn (draft-uberti-behave-turn-rest-00, section 2.2): the server checks credentials with the same secret.
    """

    def __init__(self, urls: Sequence[str], secret: bytes, seconds: int) -> None:
        self._urls = tuple(urls)
        self._secret = secret
        self._seconds = seconds

    def ice_servers(self, user_id: UserId, now: datetime) -> list[IceServer]:
        """Credentials for this account, valid for `seconds`; empty without a TURN server.

        The username has no user id: a relay must not learn the account. With the secret one can check whether a username is that of an account.
        """
        if not self._urls:
            return []
        ends = str(round(now.timestamp()) + self._seconds)
        whose = hmac.digest(self._secret, f"{ends}:{user_id}".encode(), "sha256").hex()[:16]
        username = f"{ends}:{whose}"
        # SHA-1 is what TURN's REST scheme is defined with; as a MAC it is unbroken.
        credential = base64.b64encode(hmac.digest(self._secret, username.encode(), "sha1")).decode()
        return [IceServer(self._urls, username, credential)]
