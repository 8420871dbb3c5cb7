"""Linking a device to an account: it opens a link, a device of the account scans it, both show six digits, the owner approves, the new device completes.

The risk is that the owner approves another person's device. So the link is bound to the account that scanned it first, the approval to the device that
scanned (only it has the key that the digits are derived from) and to the PIN, and the token to the device with the secret of the link. Other callers get
the same responses as for an unknown link. A link ends after 120 s, and with the sessions of the device that scanned it.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from vyry.accounts.account import Caller, Platform
from vyry.accounts.pin import PinGuard
from vyry.accounts.signup import FIRST_GENERATION, NewSession
from vyry.accounts.tokens import Tokens, hash_token
from vyry.devices.key_validation import check_upload
from vyry.devices.keyset import KeyUpload
from vyry.devices.link_watcher import LinkSubscription, LinkWatcher
from vyry.devices.links import (
    LINK_LIFETIME,
    PENDING,
    Approval,
    Completion,
    LinkState,
    LinkStatus,
    LinkStore,
    NewLink,
    Scan,
    ScannedLink,
)
from vyry.errors import NotFound
from vyry.kernel.ids import MailboxId, new_id
from vyry.kernel.lru_cache import LruCache
from vyry.limits import KEYS, LINK_SESSIONS, Grant, Limiter, network_key, network_prefix


#: How often a waiting request checks that its client is still connected.
CONNECTION_CHECK_SECONDS: Final = 1.0
#: For how many links the last reported status is cached.
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """A new link; the secret is for the new device only."""

    link_id: UUID
    secret: str = field(repr=False)
    expires_at: datetime
    grant: Grant


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """A request of the new device for the status of its link. `is_connected` tells whether it can still receive the response."""

    link_id: UUID
    secret: str = field(repr=False)
    wait_seconds: float = 0
    is_connected: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class LinkUpdate:
    """The status of a link; `provisioning` and `token` are returned once."""

    status: LinkStatus
    approver_public_key: bytes | None = field(repr=False)
    provisioning: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


class Linking:
    """The steps of the new device (open, wait_for_update, complete) and of the owner (scan, approve, reject)."""

    def __init__(self, store: LinkStore, pins: PinGuard, limiter: Limiter, tokens: Tokens, max_devices: int) -> None:
        self._store = store
        self._pins = pins
        self._limiter = limiter
        self._tokens = tokens
        self._max_devices = max_devices
        self._watcher = LinkWatcher(store, tokens.clock)
        self._last_reported: LruCache[UUID, LinkStatus] = LruCache(_REMEMBERED)

    async def run(self) -> None:
        """Poll for waiting requests, until cancelled."""
        await self._watcher.run()

    async def open(self, public_key: bytes, name: str, platform: Platform, address: str) -> OpenedLink:
        """Open a link for a device at this address. Raises RateLimited, Unavailable."""
        grant = await self._limiter.consume(LINK_SESSIONS, network_key(address))
        secret, expires_at = secrets.token_urlsafe(32), self._now() + LINK_LIFETIME
        link = NewLink(new_id(), hash_token(secret), public_key, name, platform, network_prefix(address), expires_at)
        await self._store.create(link)
        return OpenedLink(link.link_id, secret, expires_at, grant)

    async def wait_for_update(self, request: StatusRequest) -> LinkUpdate:
        """The status of a link: at once if it differs from the last reported one, else within the requested wait. Raises NotFound, also for a wrong secret.

        `provisioning` and `token` are returned to the newest request of a connected client only.
        """
        state = await self._load_authorized(request)
        with self._watcher.subscribe(request.link_id, state) as subscription:
            await self._wait(request, subscription)
            if subscription.state is None:
                raise NotFound
            update = await self._build_update(
                request, subscription.state, can_take=request.is_connected() and not subscription.is_displaced
            )
        self._last_reported.put(request.link_id, update.status)
        return update

    async def scan(self, caller: Caller, link_id: UUID, public_key: bytes) -> ScannedLink:
        """Bind the link to the caller's account. Raises NotFound, AlreadyUsed."""
        found = await self._store.scan(Scan(link_id, caller, public_key, self._now()))
        self._watcher.poll_now()
        return found

    async def approve(self, caller: Caller, link_id: UUID, provisioning: bytes, pin: str | None) -> None:
        """Approve the new device. Raises NotFound, Forbidden, InvalidPin, PinLocked, AlreadyUsed, DeviceLimit."""
        state = await self._load_state(link_id)
        if state is None or state.status is LinkStatus.EXPIRED or state.user_id not in (None, caller.user_id):
            raise NotFound
        await self._pins.require(caller, pin)
        await self._store.approve(Approval(link_id, caller, provisioning, self._max_devices, self._now()))
        self._watcher.poll_now()

    async def reject(self, caller: Caller, link_id: UUID) -> None:
        """Reject the new device. Raises NotFound, AlreadyUsed."""
        await self._store.reject(link_id, caller, self._now())
        self._watcher.poll_now()

    async def complete(self, token: str, upload: KeyUpload) -> NewSession:
        """Create the new device and its session.

        Raises InvalidToken, AlreadyUsed; RateLimited, InvalidKeys, DeviceLimit and IdentityMismatch do not consume the token.
        """
        token_hash = hash_token(token)
        # Verifying signatures is costly, so it is charged to the account like any upload of keys.
        user_id = await self._store.find_account(token_hash, self._now())
        await self._limiter.consume(KEYS, str(user_id))
        await asyncio.to_thread(check_upload, upload)
        refresh, device = self._tokens.new_refresh_token(), new_id()
        made = await self._store.complete(
            Completion(token_hash, upload, device, MailboxId(new_id()), refresh, self._max_devices, self._now())
        )
        pair = self._tokens.issue_pair(made.user_id, device, FIRST_GENERATION, refresh.text, refresh.expires_at)
        return NewSession(
            pair, made.user_id, made.device_id, is_new_user=False, requires_profile_setup=not made.has_display_name
        )

    async def _load_state(self, link_id: UUID) -> LinkState | None:
        return (await self._store.load_states([link_id], self._now())).get(link_id)

    async def _load_authorized(self, request: StatusRequest) -> LinkState:
        """The state of a link. Raises NotFound, also for a wrong secret."""
        state = await self._load_state(request.link_id)
        # An unknown link needs a comparison, too: it must take as long as a known one.
        secret_hash = state.secret_hash if state else hash_token("")
        if not hmac.compare_digest(secret_hash, hash_token(request.secret)) or state is None:
            raise NotFound
        return state

    async def _wait(self, request: StatusRequest, subscription: LinkSubscription) -> None:
        """Wait until the status changes, the request is displaced, its client has disconnected or its wait is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + request.wait_seconds
        reported = self._last_reported.get(request.link_id) or LinkStatus.WAITING
        while (state := subscription.state) is not None and state.status is reported and state.status in PENDING:
            left = until - loop.time()
            if left <= 0 or subscription.is_displaced or not request.is_connected():
                return
            await subscription.wait_for_change(min(left, CONNECTION_CHECK_SECONDS))

    async def _build_update(self, request: StatusRequest, state: LinkState, *, can_take: bool) -> LinkUpdate:
        if state.status is LinkStatus.COMPLETED:
            return LinkUpdate(LinkStatus.APPROVED, state.approver_public_key)
        if state.status is not LinkStatus.APPROVED or state.is_delivered:
            return LinkUpdate(state.status, state.approver_public_key)
        token = secrets.token_urlsafe(32)
        provisioning = (
            await self._store.claim_provisioning(request.link_id, hash_token(token), self._now()) if can_take else None
        )
        if provisioning is None:
            # Approved is reported only with its provisioning: the next request gets both, or learns that the link has ended.
            return LinkUpdate(LinkStatus.SCANNED, state.approver_public_key)
        return LinkUpdate(LinkStatus.APPROVED, state.approver_public_key, provisioning, token)

    def _now(self) -> datetime:
        return self._tokens.clock.now()
