"""Fake of the link store, in dictionaries. No method awaits, so each one is atomic."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tests.fakes.accounts import AccountState
from tests.fakes.prekeys import MemoryDevice, MemoryKeyAccounts, publish_keys
from vyry.accounts.account import Caller
from vyry.devices.links import (
    Approval,
    Completion,
    LinkedDevice,
    LinkRecord,
    LinkState,
    LinkStatus,
    NewLink,
    Scan,
    ScannedLink,
    next_device_id,
    step_error,
    visible_status,
)
from vyry.errors import AlreadyUsed, DeviceLimit, InvalidToken
from vyry.kernel.ids import UserId


@dataclass(slots=True)
class _Link:
    request: NewLink
    status: LinkStatus = LinkStatus.WAITING
    by: Caller | None = None
    public_key: bytes | None = None
    provisioning: bytes | None = None
    token_hash: str | None = None


class MemoryLinks:
    """LinkStore over the accounts of a ledger and the keys of its people."""

    def __init__(self, ledger: AccountState, people: MemoryKeyAccounts) -> None:
        self._ledger = ledger
        self._people = people
        self._links: dict[UUID, _Link] = {}

    async def create(self, link: NewLink) -> None:
        self._links[link.link_id] = _Link(link)

    async def load_states(self, links: Collection[UUID], now: datetime) -> Mapping[UUID, LinkState]:
        found = {link_id: self._links[link_id] for link_id in links if link_id in self._links}
        return {
            link_id: LinkState(
                self._current_status(link, now),
                link.by.user_id if link.by else None,
                link.request.secret_hash,
                link.public_key,
                link.token_hash is not None,
            )
            for link_id, link in found.items()
        }

    async def claim_provisioning(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        link = self._links[link_id]
        if self._current_status(link, now) is not LinkStatus.APPROVED or link.token_hash is not None:
            return None
        link.token_hash, given, link.provisioning = token_hash, link.provisioning, None
        return given

    async def scan(self, scan: Scan) -> ScannedLink:
        link = self._links.get(scan.link_id)
        if link is None or self._current_status(link, scan.now) is not LinkStatus.WAITING:
            raise step_error(_refusal_state(link), scan.caller, scan.now)
        link.status, link.by, link.public_key = LinkStatus.SCANNED, scan.caller, scan.public_key
        asked = link.request
        return ScannedLink(asked.public_key, asked.name, asked.platform, asked.requested_from, asked.expires_at)

    async def approve(self, approval: Approval) -> None:
        link, by = self._links.get(approval.link_id), approval.caller
        is_theirs = link is not None and link.by is not None and link.by.device == by.device
        if link is None or not is_theirs or self._current_status(link, approval.now) is not LinkStatus.SCANNED:
            raise step_error(_refusal_state(link), by, approval.now, only_scanner=True)
        self._live_device_ids(by.user_id, approval.max_devices)
        link.status, link.provisioning = LinkStatus.APPROVED, approval.provisioning

    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        link = self._links.get(link_id)
        found = _refusal_state(link)
        can = {LinkStatus.SCANNED, LinkStatus.APPROVED, LinkStatus.REJECTED}
        if (
            link is None
            or found is None
            or found.user_id != by.user_id
            or link.status not in can
            or found.expires_at <= now
        ):
            raise step_error(found, by, now)
        link.status, link.provisioning, link.token_hash = LinkStatus.REJECTED, None, None

    async def find_account(self, token_hash: str, now: datetime) -> UserId:
        by = self._by_token(token_hash, now).by
        assert by is not None
        return by.user_id

    async def complete(self, completion: Completion) -> LinkedDevice:
        link = self._by_token(completion.token_hash, completion.now)
        assert link.by is not None
        user_id = link.by.user_id
        live = self._live_device_ids(user_id, completion.max_devices)
        number = next_device_id(self._ledger.last_numbers[user_id], live)
        new = completion.new_device(link.request.name, link.request.platform)
        before = self._ledger.last_numbers[user_id]
        caller = self._ledger.add(user_id, number, new, completion.now)
        self._people[user_id].devices.append(MemoryDevice(number, caller.mailbox))
        try:
            publish_keys(self._people, caller, completion.upload, completion.now)
        except Exception:
            self._ledger.end([caller.device])
            self._people[user_id].devices.pop()
            self._ledger.last_numbers[user_id] = before
            raise
        link.status = LinkStatus.COMPLETED
        return LinkedDevice(user_id, number, self._ledger.accounts[user_id].display_name is not None)

    def _by_token(self, token_hash: str, now: datetime) -> _Link:
        for link in self._links.values():
            if link.token_hash == token_hash:
                status = self._current_status(link, now)
                if status is LinkStatus.COMPLETED:
                    raise AlreadyUsed
                if status is LinkStatus.APPROVED:
                    return link
        raise InvalidToken

    def _current_status(self, link: _Link, now: datetime) -> LinkStatus:
        scanner = self._ledger.devices.get(link.by.device) if link.by else None
        stands = scanner is not None and link.by is not None and scanner.generation == link.by.generation
        return visible_status(link.status, link.request.expires_at, now, is_session_live=stands)

    def _live_device_ids(self, user_id: UserId, most: int) -> set[int]:
        live = {int(device.shown.device_id) for device in self._ledger.live_devices(user_id)}
        if len(live) >= most:
            raise DeviceLimit
        return live


def _refusal_state(link: _Link | None) -> LinkRecord | None:
    if link is None:
        return None
    by = link.by
    return LinkRecord(link.status, by.user_id if by else None, by.device if by else None, link.request.expires_at)
