"""A second device joins an account: it asks, a device of the account scans, both show six digits, the owner approves, the new device completes.

What can go wrong is that the owner approves somebody else's device, so all of it is bound: the link to the account that scanned it first, the approval to
the device that scanned (it alone has the key that the digits were made of) and to the PIN, the token to the one device that holds the link's secret. Who
is not part of it hears what is said of a link that does not exist. Everything ends after 120 s, and with the sessions of the device that scanned.
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


#: A request that waits looks this often whether its client is still there.
CONNECTION_CHECK_SECONDS: Final = 1.0
#: So many links are remembered with what was said of them last.
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """What the new device gets: the secret is for it alone."""

    link_id: UUID
    secret: str = field(repr=False)
    expires_at: datetime
    grant: Grant


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """The new device asks how its link stands. `is_there` says whether it can still hear the answer."""

    link_id: UUID
    secret: str = field(repr=False)
    wait_seconds: float = 0
    is_connected: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class LinkUpdate:
    """How the link stands; `provisioning` and `token` are said once."""

    status: LinkStatus
    approver_public_key: bytes | None = field(repr=False)
    provisioning: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


class Linking:
    """The steps of linking, in the hands of the new device (open, follow, complete) and of the owner (scan, approve, reject)."""

    def __init__(self, store: LinkStore, pins: PinGuard, limiter: Limiter, tokens: Tokens, max_devices: int) -> None:
        self._store = store
        self._pins = pins
        self._limiter = limiter
        self._tokens = tokens
        self._max_devices = max_devices
        self._watcher = LinkWatcher(store, tokens.clock)
        self._last_reported: LruCache[UUID, LinkStatus] = LruCache(_REMEMBERED)

    async def run(self) -> None:
        """Look for those who wait, until cancelled."""
        await self._watcher.run()

    async def open(self, public_key: bytes, name: str, platform: Platform, address: str) -> OpenedLink:
        """A new link for a device at this address. Raises RateLimited, Unavailable."""
        grant = await self._limiter.consume(LINK_SESSIONS, network_key(address))
        secret, expires_at = secrets.token_urlsafe(32), self._now() + LINK_LIFETIME
        link = NewLink(new_id(), hash_token(secret), public_key, name, platform, network_prefix(address), expires_at)
        await self._store.create(link)
        return OpenedLink(link.link_id, secret, expires_at, grant)

    async def wait_for_update(self, question: StatusRequest) -> LinkUpdate:
        """How the link stands: at once when that is news, else within the time asked for. A wrong secret is NotFound, as an unknown link.

        What is given once is given to the newest question of a client that is still there: not to one that hung up or has asked again.
        """
        state = await self._load_authorized(question)
        with self._watcher.subscribe(question.link_id, state) as waiting:
            await self._wait(question, waiting)
            if waiting.state is None:
                raise NotFound
            news = await self._build_update(
                question, waiting.state, can_take=question.is_connected() and not waiting.is_displaced
            )
        self._last_reported.put(question.link_id, news.status)
        return news

    async def scan(self, caller: Caller, link_id: UUID, public_key: bytes) -> ScannedLink:
        """Take the link for the caller's account. Raises NotFound, AlreadyUsed."""
        found = await self._store.scan(Scan(link_id, caller, public_key, self._now()))
        self._watcher.poll_now()
        return found

    async def approve(self, caller: Caller, link_id: UUID, provisioning: bytes, pin: str | None) -> None:
        """Let the new device in. Raises NotFound, Forbidden, InvalidPin, PinLocked, AlreadyUsed, DeviceLimit."""
        state = await self._load_state(link_id)
        if state is None or state.status is LinkStatus.EXPIRED or state.user_id not in (None, caller.user_id):
            raise NotFound
        await self._pins.require(caller, pin)
        await self._store.approve(Approval(link_id, caller, provisioning, self._max_devices, self._now()))
        self._watcher.poll_now()

    async def reject(self, caller: Caller, link_id: UUID) -> None:
        """Keep the new device out. Raises NotFound, AlreadyUsed."""
        await self._store.reject(link_id, caller, self._now())
        self._watcher.poll_now()

    async def complete(self, token: str, upload: KeyUpload) -> NewSession:
        """A session of the new device. Raises InvalidToken, AlreadyUsed, RateLimited, InvalidKeys, DeviceLimit, IdentityMismatch; the token stays good with the last four."""
        token_hash = hash_token(token)
        # Signatures are costly, and anybody may ask; the account pays for them as for any other upload of keys.
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

    async def _load_authorized(self, question: StatusRequest) -> LinkState:
        """The link, for who knows its secret."""
        state = await self._load_state(question.link_id)
        # An unknown link is compared with something too: it takes as long as a known one.
        secret_hash = state.secret_hash if state else hash_token("")
        if not hmac.compare_digest(secret_hash, hash_token(question.secret)) or state is None:
            raise NotFound
        return state

    async def _wait(self, question: StatusRequest, waiting: LinkSubscription) -> None:
        """Until there is news, nobody waits any more, or the time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + question.wait_seconds
        said = self._last_reported.get(question.link_id) or LinkStatus.WAITING
        while (state := waiting.state) is not None and state.status is said and state.status in PENDING:
            left = until - loop.time()
            if left <= 0 or waiting.is_displaced or not question.is_connected():
                return
            await waiting.wait_for_change(min(left, CONNECTION_CHECK_SECONDS))

    async def _build_update(self, question: StatusRequest, state: LinkState, *, can_take: bool) -> LinkUpdate:
        if state.status is LinkStatus.COMPLETED:
            return LinkUpdate(LinkStatus.APPROVED, state.approver_public_key)
        if state.status is not LinkStatus.APPROVED or state.is_delivered:
            return LinkUpdate(state.status, state.approver_public_key)
        token = secrets.token_urlsafe(32)
        provisioning = (
            await self._store.claim_provisioning(question.link_id, hash_token(token), self._now()) if can_take else None
        )
        if provisioning is None:
            # Told as news only with what belongs to it: whoever asks next gets both, or hears that the link has ended.
            return LinkUpdate(LinkStatus.SCANNED, state.approver_public_key)
        return LinkUpdate(LinkStatus.APPROVED, state.approver_public_key, provisioning, token)

    def _now(self) -> datetime:
        return self._tokens.clock.now()
